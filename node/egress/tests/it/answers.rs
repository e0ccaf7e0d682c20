//! What goes out and what comes back.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use egress::port::{Sent, Stage, Wire};
use flate2::{Compression, write::GzEncoder};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

#[tokio::test]
async fn the_request_goes_out_whole_and_the_answer_comes_back() {
    let seen = Arc::new(Mutex::new(None));
    let saw = seen.clone();
    let server = serve(move |mut stream, _| {
        let saw = saw.clone();
        async move {
            *saw.lock().unwrap() = read_request(&mut stream).await;
            let answer = "HTTP/1.1 429 Too Many\r\nretry-after: 3\r\nx-request-id: r1\r\ncontent-length: 4\r\n\r\nslow";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let mut request = request(&server.url(), "");
    request.body = ["{\"a\":", "", "1", "}"].map(|text| Bytes::from_static(text.as_bytes())).into();
    let answer = egress().send(request).await.unwrap();
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers["retry-after"], "3");
    assert_eq!(answer.headers["x-request-id"], "r1");
    assert_eq!(collect(answer).await.unwrap(), "slow");
    let (head, body) = seen.lock().unwrap().take().unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "host"), Some(server.address.to_string().as_str()));
    assert_eq!(header(&head, "authorization"), Some("Bearer sk-test"));
    assert_eq!(header(&head, "content-length"), Some("7"));
    assert_eq!(head.lines().count(), 5, "nothing else is added: {head}");
    assert_eq!(body, b"{\"a\":1}");
}

#[tokio::test]
async fn large_bodies_in_many_slices_arrive_unchanged() {
    let server = serve(|mut stream, _| async move {
        let (_, body) = read_request(&mut stream).await.unwrap();
        let sum: u64 = body.iter().enumerate().map(|(at, byte)| at as u64 * u64::from(*byte)).sum();
        stream.write_all(ok(&format!("{} {sum}", body.len())).as_bytes()).await.unwrap();
    })
    .await;
    let whole: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sum: u64 = whole.iter().enumerate().map(|(at, byte)| at as u64 * u64::from(*byte)).sum();
    let whole = Bytes::from(whole);
    let mut request = request(&server.url(), "");
    request.body = vec![whole.slice(..17), whole.slice(17..1_000_000), whole.slice(1_000_000..1_000_001), whole.slice(1_000_001..)];
    assert_eq!(collect(egress().send(request).await.unwrap()).await.unwrap(), format!("3000000 {sum}"));
}

#[tokio::test]
async fn chunks_come_as_they_are_sent() {
    let server = serve(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        for text in ["data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"] {
            stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await.unwrap();
            tokio::time::sleep(millis(30)).await;
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        tokio::time::sleep(millis(1000)).await;
    })
    .await;
    let mut answer = send(&egress(), &server.url()).await.unwrap();
    for text in ["data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"] {
        assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), text);
    }
    assert!(next(&mut answer.body).await.is_none());
}

#[tokio::test]
async fn bodies_without_a_length_end_with_the_connection() {
    for head in ["HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        let server = serve(move |mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(format!("{head}until the end").as_bytes()).await.unwrap();
        })
        .await;
        let egress = egress();
        assert_eq!(post(&egress, &server.url()).await, "until the end");
        assert_eq!(post(&egress, &server.url()).await, "until the end");
        assert_eq!(server.accepted(), 2);
    }
}

#[tokio::test]
async fn answers_without_a_body_and_words_in_between() {
    let server =
        serve_bytes("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").await;
    let egress = egress();
    for _ in 0..3 {
        let answer = send(&egress, &server.url()).await.unwrap();
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert_eq!(collect(answer).await.unwrap(), "");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_fault_and_not_an_end() {
    for cut in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive.",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive.\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive.\r\nnot a length\r\n",
    ] {
        let server = serve(move |mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(cut.as_bytes()).await.unwrap();
        })
        .await;
        let fault = collect(send(&egress(), &server.url()).await.unwrap()).await.unwrap_err();
        assert_eq!((fault.stage, fault.sent), (Stage::Body, Sent::Maybe), "{cut}: {fault}");
    }
}

#[tokio::test]
async fn what_is_not_http_as_we_take_it_is_a_fault() {
    let many = (0..200).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    for answer in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(),
        "HTTP/1.1 2x0 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(100_000)),
        format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"),
        "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nxx".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-encoding: zstd\r\ncontent-length: 2\r\n\r\nxx".to_owned(),
    ] {
        let shown = answer.chars().take(60).collect::<String>();
        let server = serve_bytes(answer).await;
        let fault = fault(&egress(), request(&server.url(), "{}")).await;
        assert_eq!((fault.stage, fault.sent), (Stage::Protocol, Sent::Maybe), "{shown}: {fault}");
    }
}

#[tokio::test]
async fn a_compressed_answer_is_decoded_and_its_connection_kept() {
    let text = "{\"choices\":[{\"message\":{\"content\":\"hello\"}}]}".repeat(3000);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nx-kept: yes\r\ncontent-length: {}\r\n\r\n", packed.len());
    let server = serve_bytes([head.as_bytes(), &packed].concat()).await;
    let egress = egress();
    for _ in 0..3 {
        let answer = send(&egress, &server.url()).await.unwrap();
        assert!(!answer.headers.contains_key("content-encoding") && !answer.headers.contains_key("content-length"));
        assert_eq!(answer.headers["x-kept"], "yes");
        assert_eq!(collect(answer).await.unwrap(), text);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_compressed_stream_is_not_held_back_and_its_cut_is_seen() {
    let server = serve(|mut stream, n| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        for text in ["data: 1\n\n", "data: 2\n\n"] {
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.flush().unwrap();
            let piece = std::mem::take(encoder.get_mut());
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
            stream.write_all(&[&piece[..], b"\r\n"].concat()).await.unwrap();
            tokio::time::sleep(millis(30)).await;
        }
        // The first connection ends in order, the second leaves the check sum out.
        let tail = if n == 1 { encoder.finish().unwrap() } else { Vec::new() };
        let tail = if tail.is_empty() { Vec::new() } else { [format!("{:x}\r\n", tail.len()).as_bytes(), &tail, b"\r\n"].concat() };
        stream.write_all(&[&tail[..], b"0\r\n\r\n"].concat()).await.unwrap();
    })
    .await;
    let mut answer = send(&egress(), &server.url()).await.unwrap();
    for text in ["data: 1\n\n", "data: 2\n\n"] {
        assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), text);
    }
    assert!(next(&mut answer.body).await.is_none());
    let fault = collect(send(&egress(), &server.url()).await.unwrap()).await.unwrap_err();
    assert_eq!((fault.stage, fault.sent), (Stage::Body, Sent::Maybe));
}

#[tokio::test]
async fn an_early_answer_is_taken_although_the_request_was_not_read() {
    let server = serve(|mut stream, _| async move {
        let mut beginning = [0; 100];
        stream.read_exact(&mut beginning).await.unwrap();
        let answer = "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig";
        stream.write_all(answer.as_bytes()).await.unwrap();
        tokio::time::sleep(millis(3000)).await;
    })
    .await;
    let egress = egress();
    let mut request = request(&server.url(), "");
    request.body = vec![Bytes::from(vec![b'x'; 32 << 20])];
    let answer = egress.send(request).await.unwrap();
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(collect(answer).await.unwrap(), "big");
    assert_eq!(egress.idle_connections(), 0, "a half-written connection is not kept");
}
