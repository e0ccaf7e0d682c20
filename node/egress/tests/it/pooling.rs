//! Connections: kept, used again, given up.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use egress::port::{Sent, Stage, UpstreamAddress, Wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned();
    let server = serve(move |mut stream, _| {
        let chunked = chunked.clone();
        async move {
            let mut n = 0;
            while read_request(&mut stream).await.is_some() {
                n += 1;
                let answer = if n % 2 == 0 { chunked.clone() } else { ok("hi") };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let egress = egress();
    for _ in 0..20 {
        assert_eq!(post(&egress, &server.url()).await, "hi");
    }
    assert_eq!((server.accepted(), egress.idle_connections()), (1, 1));
}

#[tokio::test]
async fn many_at_once_each_have_their_own_and_share_them_later() {
    let server = serve(|mut stream, _| async move {
        while read_request(&mut stream).await.is_some() {
            tokio::time::sleep(millis(50)).await;
            stream.write_all(ok("hi").as_bytes()).await.unwrap();
        }
    })
    .await;
    let egress = egress();
    for _ in 0..2 {
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let (egress, url) = (egress.clone(), server.url());
                tokio::spawn(async move { post(&egress, &url).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), "hi");
        }
    }
    assert_eq!((server.accepted(), egress.idle_connections()), (50, 50));
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced_in_silence() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let server = serve(move |mut stream, _| {
        let counted = counted.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            stream.write_all(ok("hi").as_bytes()).await.unwrap();
            tokio::time::sleep(millis(20)).await;
            // Closes without a word.
        }
    })
    .await;
    let egress = egress();
    for n in 1..=5 {
        assert_eq!(post(&egress, &server.url()).await, "hi");
        assert_eq!((server.accepted(), requests.load(Ordering::SeqCst)), (n, n));
        // Long enough for the close, short and long against the time for which a connection is trusted.
        tokio::time::sleep(millis(if n % 2 == 0 { 60 } else { 300 })).await;
    }
}

#[tokio::test]
async fn all_stale_at_once_still_go_through() {
    let server = serve(|mut stream, n| async move {
        while read_request(&mut stream).await.is_some() {
            tokio::time::sleep(millis(50)).await;
            stream.write_all(ok("hi").as_bytes()).await.unwrap();
            if n <= 20 {
                tokio::time::sleep(millis(50)).await;
                return;
            }
        }
    })
    .await;
    let egress = egress();
    for _ in 0..2 {
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let (egress, url) = (egress.clone(), server.url());
                tokio::spawn(async move { post(&egress, &url).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), "hi");
        }
        tokio::time::sleep(millis(250)).await;
    }
    assert_eq!(server.accepted(), 40);
}

#[tokio::test]
async fn a_body_dropped_before_its_end_closes_the_connection() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counted = closed.clone();
    let server = serve(move |mut stream, _| {
        let counted = counted.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let egress = egress();
    for n in 1..=2 {
        let mut answer = send(&egress, &server.url()).await.unwrap();
        assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), "hi");
        drop(answer);
        until("the close", || closed.load(Ordering::SeqCst) == n).await;
        assert_eq!((server.accepted(), egress.idle_connections()), (n, 0));
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counted = closed.clone();
    let server = serve(move |mut stream, _| {
        let counted = counted.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let egress = egress();
    let waiting = egress.send(request(&server.url(), "{}"));
    assert!(tokio::time::timeout(millis(100), waiting).await.is_err());
    until("the close", || closed.load(Ordering::SeqCst) == 1).await;
    assert_eq!(egress.idle_connections(), 0);
}

#[tokio::test]
async fn a_prepared_connection_is_used() {
    let server = serve_bytes(ok("hi")).await;
    let egress = egress();
    let address = UpstreamAddress { id: 7, base_url: server.url(), tenant_set: false };
    for _ in 0..3 {
        egress.prepare(&address, millis(1000)).await.unwrap();
    }
    assert_eq!((server.accepted(), egress.idle_connections()), (1, 1));
    assert_eq!(post(&egress, &server.url()).await, "hi");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_operators_connection_does_not_serve_a_tenants_url() {
    let server = serve_bytes(ok("hi")).await;
    let outbound = egress::Outbound { hosts: hosts("inside.example", "127.0.0.1"), ..Default::default() };
    let egress = egress_with(outbound);
    let url = format!("http://inside.example:{}", server.address.port());
    assert_eq!(post(&egress, &url).await, "hi");
    assert_eq!(egress.idle_connections(), 1);
    let mut theirs = request(&url, "{}");
    theirs.upstream = Arc::new(UpstreamAddress { id: 7, base_url: url.clone(), tenant_set: true });
    let fault = fault(&egress, theirs).await;
    assert_eq!((fault.stage, fault.sent), (Stage::Refused, Sent::No), "{fault}");
    assert_eq!(server.accepted(), 1);
}

/// `cargo test -p tollgate-egress --release -- --ignored --nocapture price`: what one exchange costs against a server in the same thread.
#[tokio::test]
#[ignore = "a measurement"]
async fn the_price_of_an_exchange() {
    let server = serve(|mut stream, _| async move {
        let answer = ok(&"x".repeat(1024));
        let mut buffer = vec![0; 64 << 10];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let egress = egress();
    for round in 0..4 {
        let start = std::time::Instant::now();
        for _ in 0..20_000 {
            post(&egress, &server.url()).await;
        }
        println!("round {round}: {:.1} µs an exchange, server included", start.elapsed().as_secs_f64() * 1e6 / 20_000.0);
    }
    assert_eq!(server.accepted(), 1);
}
