//! `Sent::No` is money: it may never be said of a request of which a byte arrived.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use egress::port::{Sent, Stage, UpstreamAddress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

#[tokio::test]
async fn a_refused_connection_cost_nothing() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fault = fault(&egress(), request(&format!("http://{closed}"), "{}")).await;
    assert_eq!((fault.stage, fault.sent), (Stage::Connect, Sent::No), "{fault}");
}

#[tokio::test]
async fn a_url_that_the_rule_forbids_is_never_dialled() {
    let server = serve_bytes(ok("inside")).await;
    let outbound = egress::Outbound { hosts: hosts("rebind.example", "127.0.0.1"), ..Default::default() };
    let egress = egress_with(outbound);
    let port = server.address.port();
    for url in [format!("http://rebind.example:{port}"), format!("http://127.0.0.1:{port}"), format!("http://[::ffff:127.0.0.1]:{port}")] {
        let mut theirs = request(&url, "{}");
        theirs.upstream = Arc::new(UpstreamAddress { id: 1, base_url: url.clone(), tenant_set: true });
        let fault = fault(&egress, theirs).await;
        assert_eq!((fault.stage, fault.sent), (Stage::Refused, Sent::No), "{url}: {fault}");
    }
    let metadata = fault(&egress, request("http://169.254.169.254/latest", "{}")).await;
    assert_eq!((metadata.stage, metadata.sent), (Stage::Refused, Sent::No));
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_connection_that_ends_after_it_took_the_request() {
    let server = serve(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
    })
    .await;
    let fault = fault(&egress(), request(&server.url(), "{}")).await;
    assert_eq!((fault.stage, fault.sent), (Stage::Closed, Sent::Maybe), "{fault}");
}

#[tokio::test]
async fn a_kept_connection_that_took_the_request_is_not_tried_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let server = serve(move |mut stream, _| {
        let counted = counted.clone();
        async move {
            let mut first = true;
            while read_request(&mut stream).await.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
                if !first {
                    return;
                }
                stream.write_all(ok("hi").as_bytes()).await.unwrap();
                first = false;
            }
        }
    })
    .await;
    let egress = egress();
    assert_eq!(post(&egress, &server.url()).await, "hi");
    let fault = fault(&egress, request(&server.url(), "{}")).await;
    assert_eq!((fault.stage, fault.sent), (Stage::Closed, Sent::Maybe), "{fault}");
    assert_eq!((server.accepted(), requests.load(Ordering::SeqCst)), (1, 2));
}

/// A server that misbehaves in every way it can, by a fixed sequence; what it read is counted.
async fn hostile(received: Arc<AtomicU64>) -> Server {
    serve(move |mut stream, n| {
        let received = received.clone();
        async move {
            let mut dice = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut buffer = vec![0; 16 << 10];
            loop {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let choice = (dice >> 33) % 8;
                if choice == 0 {
                    return; // closes before it reads
                }
                let take = if choice == 1 { 10 } else { buffer.len() };
                let Ok(read) = stream.read(&mut buffer[..take]).await else { return };
                received.fetch_add(read as u64, Ordering::SeqCst);
                if read == 0 || choice <= 2 {
                    return; // closes, or resets, with the request half read
                }
                if stream.write_all(ok("hi").as_bytes()).await.is_err() || choice == 3 {
                    return; // answers and closes
                }
                if choice == 4 {
                    tokio::time::sleep(millis(1)).await;
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn never_said_of_a_request_of_which_a_byte_arrived() {
    let received = Arc::new(AtomicU64::new(0));
    let server = hostile(received.clone()).await;
    let egress = egress();
    let (mut answered, mut maybe, mut surely_not) = (0, 0, 0);
    for n in 0..600 {
        let before = received.load(Ordering::SeqCst);
        let outcome = match send(&egress, &server.url()).await {
            Ok(answer) => collect(answer).await.map(drop),
            Err(fault) => Err(fault),
        };
        match outcome {
            Ok(()) => answered += 1,
            Err(fault) if fault.sent == Sent::Maybe => maybe += 1,
            Err(fault) => {
                surely_not += 1;
                tokio::time::sleep(millis(3)).await;
                assert_eq!(received.load(Ordering::SeqCst), before, "call {n}: {fault}");
            }
        }
        if n % 3 == 0 {
            tokio::time::sleep(millis(2)).await;
        }
    }
    println!("answered {answered}, maybe {maybe}, surely not {surely_not}");
    assert!(answered > 200 && maybe > 20, "answered {answered}, maybe {maybe}, surely not {surely_not}");
}
