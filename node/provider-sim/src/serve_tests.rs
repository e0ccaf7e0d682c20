//! Over a real socket, with hyper's own client.

use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::*;
use crate::tokens::count;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

async fn start(settings: Settings) -> Running {
    let sim = Sim::bind(([127, 0, 0, 1], 0).into(), settings).await.expect("a free port");
    let (stop, stopped) = oneshot::channel::<()>();
    let address = sim.address();
    let task = tokio::spawn(sim.run(async {
        let _ = stopped.await;
    }));
    Running { address, stop, task }
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (client, connection) = handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    client
}

struct Got {
    status: u16,
    headers: http::HeaderMap,
    frames: Vec<String>,
    broken: bool,
}

impl Got {
    fn text(&self) -> String {
        self.frames.concat()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text()).expect("JSON")
    }
}

async fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Result<Got, hyper::Error> {
    let mut request = Request::builder().method(method).uri(path).header("host", "sim");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).expect("a valid request");
    let response = connect(address).await.send_request(request).await?;
    let (head, mut body) = response.into_parts();
    let mut got = Got { status: head.status.as_u16(), headers: head.headers, frames: Vec::new(), broken: false };
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => got.frames.push(String::from_utf8_lossy(&frame.into_data().unwrap_or_default()).into_owned()),
            Err(_) => got.broken = true,
        }
    }
    Ok(got)
}

async fn post(address: SocketAddr, headers: &[(&str, &str)], body: Value) -> Result<Got, hyper::Error> {
    send(address, "POST", "/v1/chat/completions", headers, body.to_string()).await
}

async fn stats(address: SocketAddr) -> Value {
    send(address, "GET", "/stats", &[], String::new()).await.expect("stats").json()
}

fn chat() -> Value {
    json!({"model": "sim", "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 12})
}

fn streamed() -> Value {
    let mut body = chat();
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    body
}

#[tokio::test]
async fn books_agree_with_what_was_answered() {
    let sim = start(Settings::default()).await;
    let whole = post(sim.address, &[("x-call", "call_a"), ("x-sim-output", "max")], chat()).await.expect("an answer").json();
    let text = whole["choices"][0]["message"]["content"].as_str().expect("text");
    assert_eq!((count(text), &whole["choices"][0]["finish_reason"]), (12, &json!("length")));
    assert_eq!(whole["usage"]["prompt_tokens"], count("hello there"));
    let stream = post(sim.address, &[("x-call", "call_b"), ("x-sim-output", "5")], streamed()).await.expect("an answer");
    assert_eq!(stream.headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(stream.frames.len(), 9, "role, five words, finish, usage, done: {:?}", stream.frames);
    let expected = json!({"asked": 2, "finished": 2, "tokens": {"input": 4, "output": 17}, "calls": {
        "call_a": {"asked": 1, "status": 200, "input": 2, "output": 12, "finished": true},
        "call_b": {"asked": 1, "status": 200, "input": 2, "output": 5, "finished": true}}});
    assert_eq!(stats(sim.address).await, expected);
    sim.stop.send(()).expect("it runs");
    sim.task.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_cut_stream_breaks_the_connection_and_counts_what_was_sent() {
    let sim = start(Settings::default()).await;
    let got = post(sim.address, &[("x-call", "c"), ("x-sim-cut", "4")], streamed()).await.expect("a head");
    assert!(got.broken && got.frames.len() == 4, "{:?}", got.frames);
    let whole = post(sim.address, &[("x-call", "d"), ("x-sim-cut", "100b")], chat()).await.expect("a head");
    assert!(whole.broken && whole.text().len() == 100);
    let calls = stats(sim.address).await["calls"].take();
    assert_eq!(calls["c"], json!({"asked": 1, "status": 200, "input": 2, "output": 3, "finished": false}));
    assert_eq!(calls["d"]["finished"], false);
}

#[tokio::test]
async fn a_reset_gives_no_answer_and_a_hang_none_either() {
    let sim = start(Settings::default()).await;
    assert!(post(sim.address, &[("x-sim-reset", "1")], chat()).await.is_err());
    let hang = tokio::time::timeout(Duration::from_millis(100), post(sim.address, &[("x-sim-hang", "head")], chat()));
    assert!(hang.await.is_err(), "nothing comes");
    let stats = stats(sim.address).await;
    assert_eq!((&stats["asked"], &stats["finished"], &stats["calls"][""]["status"]), (&json!(2), &json!(0), &json!(0)));
}

#[tokio::test]
async fn a_caller_that_leaves_is_not_finished() {
    let sim = start(Settings::default()).await;
    let leave =
        tokio::time::timeout(Duration::from_millis(150), post(sim.address, &[("x-call", "gone"), ("x-sim-hang", "body")], streamed()));
    assert!(leave.await.is_err(), "the body hangs");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stats(sim.address).await["calls"]["gone"], json!({"asked": 1, "status": 200, "input": 2, "output": 0, "finished": false}));
}

#[tokio::test]
async fn pauses_are_kept() {
    let sim = start(Settings::default()).await;
    let began = std::time::Instant::now();
    let wishes = [("x-sim-latency-ms", "60"), ("x-sim-chunk-ms", "20"), ("x-sim-output", "3")];
    let got = post(sim.address, &wishes, streamed()).await.expect("an answer");
    assert!(got.text().ends_with("data: [DONE]\n\n"));
    assert!(began.elapsed() >= Duration::from_millis(60 + 6 * 20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn errors_limits_and_keys_over_the_wire() {
    let sim = start(Settings { api_key: Some("sk-sim".into()), rpm: Some(3), ..Settings::default() }).await;
    let key = ("authorization", "Bearer sk-sim");
    assert_eq!(post(sim.address, &[], chat()).await.expect("an answer").status, 401);
    let busy = post(sim.address, &[key, ("x-sim-status", "503"), ("x-sim-retry-after", "7")], chat()).await.expect("an answer");
    assert_eq!((busy.status, busy.headers["retry-after"].to_str().expect("text")), (503, "7"));
    for left in ["1", "0"] {
        let got = post(sim.address, &[key], chat()).await.expect("an answer");
        assert_eq!((got.status, got.headers["x-ratelimit-remaining-requests"].to_str().expect("text")), (200, left));
    }
    let over = post(sim.address, &[key], chat()).await.expect("an answer");
    assert_eq!(over.status, 429);
    assert!(over.headers.contains_key("retry-after"));
}
