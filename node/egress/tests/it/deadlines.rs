//! Every step ends in time, and says which one it was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use egress::port::{Sent, Stage, Wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

#[tokio::test]
async fn a_provider_that_takes_the_request_and_says_nothing() {
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
    let mut request = request(&server.url(), "{}");
    request.deadlines.first_byte = millis(120);
    let start = Instant::now();
    let fault = fault(&egress(), request).await;
    assert_eq!((fault.stage, fault.sent), (Stage::FirstByte, Sent::Maybe), "{fault}");
    assert!((millis(110)..millis(3000)).contains(&start.elapsed()), "{:?}", start.elapsed());
    until("the close", || closed.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_provider_that_does_not_read() {
    let server = serve(|stream, _| async move {
        tokio::time::sleep(millis(10_000)).await;
        drop(stream);
    })
    .await;
    let mut request = request(&server.url(), "");
    request.body = vec![Bytes::from(vec![b'x'; 1 << 20]); 64];
    request.deadlines.first_byte = millis(200);
    let fault = fault(&egress(), request).await;
    assert_eq!((fault.stage, fault.sent), (Stage::Write, Sent::Maybe), "{fault}");
}

#[tokio::test]
async fn a_slow_upload_is_not_a_slow_answer() {
    let server = serve(|mut stream, _| async move {
        let mut left = 40 << 20;
        let mut buffer = vec![0; 4 << 20];
        while left > 0 {
            tokio::time::sleep(millis(60)).await;
            let mut batch = buffer.len().min(left);
            while batch > 0 {
                let read = stream.read(&mut buffer[..batch]).await.unwrap();
                assert!(read > 0);
                batch -= read;
                left -= read;
            }
        }
        stream.write_all(ok("all").as_bytes()).await.unwrap();
        tokio::time::sleep(millis(500)).await;
    })
    .await;
    let mut request = request(&server.url(), "");
    request.body = vec![Bytes::from(vec![b'x'; 4 << 20]); 10];
    request.deadlines.first_byte = millis(350);
    let start = Instant::now();
    let answer = egress().send(request).await.unwrap();
    assert!(start.elapsed() > millis(500), "it took longer than the deadline, writing all the time: {:?}", start.elapsed());
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_stream_that_falls_silent() {
    let server = serve(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await.unwrap();
        tokio::time::sleep(millis(10_000)).await;
        drop(stream);
    })
    .await;
    let mut request = request(&server.url(), "{}");
    request.deadlines.silence = millis(150);
    let mut answer = egress().send(request).await.unwrap();
    assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), "hi");
    let start = Instant::now();
    let fault = next(&mut answer.body).await.unwrap().unwrap_err();
    assert_eq!((fault.stage, fault.sent), (Stage::Silence, Sent::Maybe), "{fault}");
    assert!((millis(140)..millis(3000)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert!(next(&mut answer.body).await.is_none());
}

#[tokio::test]
async fn a_paced_stream_may_last_longer_than_any_silence() {
    let server = serve(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        for _ in 0..12 {
            tokio::time::sleep(millis(50)).await;
            stream.write_all(b"2\r\nhi\r\n").await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    })
    .await;
    let mut request = request(&server.url(), "{}");
    request.deadlines.first_byte = millis(300);
    request.deadlines.silence = millis(300);
    let start = Instant::now();
    assert_eq!(collect(egress().send(request).await.unwrap()).await.unwrap(), "hi".repeat(12));
    assert!(start.elapsed() > millis(550));
}

#[tokio::test]
async fn a_caller_who_is_slow_is_not_a_silent_provider() {
    let server = serve(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi").await.unwrap();
        tokio::time::sleep(millis(50)).await;
        stream.write_all(b"ho").await.unwrap();
        tokio::time::sleep(millis(1000)).await;
    })
    .await;
    let mut request = request(&server.url(), "{}");
    request.deadlines.silence = millis(150);
    let mut answer = egress().send(request).await.unwrap();
    assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), "hi");
    tokio::time::sleep(millis(400)).await;
    assert_eq!(collect(answer).await.unwrap(), "ho");
}

#[tokio::test]
async fn a_handshake_that_never_ends() {
    let server = serve(|stream, _| async move {
        tokio::time::sleep(millis(10_000)).await;
        drop(stream);
    })
    .await;
    let mut request = request(&format!("https://{}", server.address), "{}");
    request.deadlines.connect = millis(150);
    let start = Instant::now();
    let fault = fault(&egress(), request).await;
    assert_eq!((fault.stage, fault.sent), (Stage::Tls, Sent::No), "{fault}");
    assert!((millis(140)..millis(3000)).contains(&start.elapsed()), "{:?}", start.elapsed());
}
