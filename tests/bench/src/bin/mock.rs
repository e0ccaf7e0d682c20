//! A provider with fixed answers. One thread, raw epoll.
//!
//! The request body says what comes back:
//!   "stream":true            SSE, 100 content chunks, each its own HTTP chunk and its own write
//!   model has "paced"        … one chunk every --pace-ms (20)
//!   model has "60ms"         the answer, or the first chunk, waits 60 ms
//!   model has "claude"       Anthropic's forms instead of OpenAI's
//!   otherwise                at once

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::time::Instant;

use bench::epoll::{self, Epoll, READ, WRITE, read_into, write_some};
use bench::http::{Dechunk, Framing, parse_head};
use bench::{fail, since_ns, value};

const HEADERS: &str = "date: Sat, 01 Aug 2026 00:00:00 GMT\r\nopenai-processing-ms: 1\r\nopenai-version: 2020-10-01\r\n\
x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\nx-ratelimit-limit-tokens: 2000000\r\n\
x-ratelimit-remaining-tokens: 1999000\r\nx-request-id: req_0123456789abcdef0123456789abcdef\r\n";
const CHUNKS: usize = 100;
const DELAY_NS: u64 = 60_000_000;
/// The listener among the tokens; connections are numbered from 0.
const LISTENER: u64 = u64::MAX;
/// Everything that steers the mock stands near one of the body's ends, so long prompts are not searched.
const STEERING: usize = 400;

fn prose() -> String {
    let mut text = String::from("BENCHMARK-OK ");
    while text.len() < 560 {
        text.push_str("the quick brown fox jumps over the lazy dog and ");
    }
    text
}

fn json_message() -> Vec<u8> {
    let body = format!(
        "{{\"id\":\"msg_00000000000000000000000000\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-mock\",\
\"content\":[{{\"type\":\"text\",\"text\":\"{}\"}}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{{\"input_tokens\":42,\
\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":128,\"service_tier\":\"standard\"}}}}",
        prose()
    );
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{HEADERS}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn sse_message() -> Sse {
    let frame = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
    let content = |n: usize| {
        let delta = format!(",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\" tok{n:03}\"}}");
        let mut text = String::new();
        if n == 0 {
            text += &frame(
                "message_start",
                ",\"message\":{\"id\":\"msg_0\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-mock\",\"content\":[],\
\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":42,\"output_tokens\":1}}",
            );
            text += &frame("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
        }
        http_chunk(&(text + &frame("content_block_delta", &delta)))
    };
    let last = frame("content_block_stop", ",\"index\":0")
        + &frame("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":100}")
        + &frame("message_stop", "");
    let head = sse_answer().head;
    Sse { head, parts: (0..CHUNKS).map(content).chain([http_chunk(&last)]).collect(), usage: Vec::new(), done: b"0\r\n\r\n".to_vec() }
}

fn json_answer() -> Vec<u8> {
    let text = prose();
    let body = format!(
        "{{\"id\":\"chatcmpl-Bm0000000000000000000000000000\",\"object\":\"chat.completion\",\"created\":1785500000,\
\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\",\
\"refusal\":null,\"annotations\":[]}},\"logprobs\":null,\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":42,\
\"completion_tokens\":128,\"total_tokens\":170,\"prompt_tokens_details\":{{\"cached_tokens\":0,\"audio_tokens\":0}},\
\"completion_tokens_details\":{{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\
\"rejected_prediction_tokens\":0}}}},\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\"}}"
    );
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{HEADERS}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn http_chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// A stream's pieces, ready to be written.
struct Sse {
    head: Vec<u8>,
    /// Content chunks, then the one with the finish reason.
    parts: Vec<Vec<u8>>,
    usage: Vec<u8>,
    done: Vec<u8>,
}

fn sse_event(choices: &str, usage: &str) -> Vec<u8> {
    http_chunk(&format!(
        "data: {{\"id\":\"chatcmpl-Bm0000000000000000000000000000\",\"object\":\"chat.completion.chunk\",\"created\":1785500000,\
\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{choices}],\
\"usage\":{usage}}}\n\n"
    ))
}

fn sse_answer() -> Sse {
    let content = |n: usize| {
        let role = if n == 0 { "\"role\":\"assistant\"," } else { "" };
        sse_event(
            &format!("{{\"index\":0,\"delta\":{{{role}\"content\":\" tok{n:03}\"}},\"logprobs\":null,\"finish_reason\":null}}"),
            "null",
        )
    };
    let finish = sse_event("{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}", "null");
    let kind = "content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache";
    Sse {
        head: format!("HTTP/1.1 200 OK\r\n{kind}\r\n{HEADERS}transfer-encoding: chunked\r\n\r\n").into_bytes(),
        parts: (0..CHUNKS).map(content).chain([finish]).collect(),
        usage: sse_event("", "{\"prompt_tokens\":42,\"completion_tokens\":100,\"total_tokens\":142}"),
        done: [http_chunk("data: [DONE]\n\n"), b"0\r\n\r\n".to_vec()].concat(),
    }
}

#[derive(Default)]
struct Conn {
    fd: RawFd,
    /// Tells a timer of this connection from one of an earlier one in the same slot.
    generation: u32,
    open: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    wants_write: bool,
    /// An answer is in progress.
    busy: bool,
    body: Vec<u8>,
    dechunk: Option<Dechunk>,
    close_after: bool,
    streaming: bool,
    next_part: usize,
    pace_ns: u64,
    usage: bool,
    /// Which forms: 0 OpenAI's, 1 Anthropic's.
    forms: usize,
}

/// The connection is broken or was to be closed.
struct Closed;

struct Mock {
    epoll: Epoll,
    listener: TcpListener,
    start: Instant,
    pace_ns: u64,
    json: [Vec<u8>; 2],
    sse: [Sse; 2],
    conns: Vec<Conn>,
    free: Vec<usize>,
    timers: BinaryHeap<Reverse<(u64, usize, u32)>>,
}

fn main() {
    let (mut port, mut pace_ms) = (9100u16, 20u64);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        match flag.as_str() {
            "--port" => port = value(&flag, &mut args),
            "--pace-ms" => pace_ms = value(&flag, &mut args),
            _ => fail(&format!("unknown argument {flag}")),
        }
    }
    epoll::tight_timers();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap_or_else(|e| fail(&format!("port {port}: {e}")));
    listener.set_nonblocking(true).unwrap_or_else(|e| fail(&e.to_string()));
    let epoll = Epoll::new().unwrap_or_else(|e| fail(&e.to_string()));
    epoll.add(listener.as_raw_fd(), LISTENER, READ);
    Mock {
        epoll,
        listener,
        start: Instant::now(),
        pace_ns: pace_ms * 1_000_000,
        json: [json_answer(), json_message()],
        sse: [sse_answer(), sse_message()],
        conns: Vec::new(),
        free: Vec::new(),
        timers: BinaryHeap::new(),
    }
    .run();
}

impl Mock {
    fn run(&mut self) -> ! {
        let mut ready = Vec::new();
        loop {
            let wait = self.timers.peek().map(|Reverse((at, _, _))| at.saturating_sub(since_ns(self.start)));
            self.epoll.wait(wait, &mut ready);
            for (token, _) in &ready {
                if *token == LISTENER { self.accept() } else { self.on_ready(*token as usize) }
            }
            self.on_timers();
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let fd = stream.into_raw_fd();
            epoll::set_nodelay(fd);
            let slot = self.free.pop().unwrap_or_else(|| {
                self.conns.push(Conn::default());
                self.conns.len() - 1
            });
            let generation = self.conns[slot].generation.wrapping_add(1);
            self.conns[slot] = Conn { fd, generation, open: true, ..Conn::default() };
            self.epoll.add(fd, slot as u64, READ);
        }
    }

    fn on_ready(&mut self, slot: usize) {
        if !self.conns[slot].open {
            return;
        }
        let flushed = if self.conns[slot].wants_write { self.flush(slot) } else { Ok(()) };
        let conn = &mut self.conns[slot];
        let alive = flushed.is_ok() && read_into(conn.fd, &mut conn.input, 128 * 1024).unwrap_or(false);
        if !alive || self.advance(slot).is_err() {
            self.shut(slot);
        }
    }

    fn on_timers(&mut self) {
        let now = since_ns(self.start);
        while let Some(&Reverse((at, slot, generation))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            let conn = &self.conns[slot];
            if !conn.open || conn.generation != generation || !conn.busy {
                continue;
            }
            let stepped = if conn.streaming { self.step_stream(slot, at) } else { self.send_json(slot) };
            if stepped.and_then(|()| self.advance(slot)).is_err() {
                self.shut(slot);
            }
        }
    }

    fn shut(&mut self, slot: usize) {
        epoll::close(self.conns[slot].fd);
        self.conns[slot].open = false;
        self.free.push(slot);
    }

    fn flush(&mut self, slot: usize) -> Result<(), Closed> {
        let conn = &mut self.conns[slot];
        let count = write_some(conn.fd, &conn.output).map_err(|_| Closed)?;
        conn.output.drain(..count);
        let wants = !conn.output.is_empty();
        if wants != conn.wants_write {
            conn.wants_write = wants;
            self.epoll.modify(conn.fd, slot as u64, if wants { READ | WRITE } else { READ });
        }
        Ok(())
    }

    /// Takes whole requests off the input and answers them, until one is in progress.
    fn advance(&mut self, slot: usize) -> Result<(), Closed> {
        while !self.conns[slot].busy {
            let conn = &mut self.conns[slot];
            if conn.dechunk.is_none() {
                let Some(head) = parse_head(&conn.input) else { return Ok(()) };
                conn.close_after = head.close;
                match head.framing {
                    Framing::Length(length) if conn.input.len() < head.len + length => return Ok(()),
                    Framing::Length(length) => {
                        let input = std::mem::take(&mut conn.input);
                        let begun = self.begin(slot, &input[head.len..head.len + length]);
                        self.conns[slot].input = input;
                        self.conns[slot].input.drain(..head.len + length);
                        begun?;
                        continue;
                    }
                    _ => {
                        conn.input.drain(..head.len);
                        conn.body.clear();
                        conn.dechunk = Some(Dechunk::default());
                    }
                }
            }
            if !self.take_chunks(slot)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads on in a chunked request; true when it was complete and its answer began.
    fn take_chunks(&mut self, slot: usize) -> Result<bool, Closed> {
        let conn = &mut self.conns[slot];
        let Some(mut dechunk) = conn.dechunk.take() else { return Ok(false) };
        let body = &mut conn.body;
        let (used, done) = dechunk.feed(&conn.input, |bytes| body.extend_from_slice(bytes)).map_err(|_| Closed)?;
        conn.input.drain(..used);
        if !done {
            conn.dechunk = Some(dechunk);
            return Ok(false);
        }
        let body = std::mem::take(&mut conn.body);
        self.begin(slot, &body).map(|()| true)
    }

    fn begin(&mut self, slot: usize, body: &[u8]) -> Result<(), Closed> {
        let ends = body.len().min(STEERING);
        let has = |word: &str| {
            [&body[..ends], &body[body.len() - ends..]].into_iter().any(|part| memchr::memmem::find(part, word.as_bytes()).is_some())
        };
        let delay = if has("60ms") { DELAY_NS } else { 0 };
        let now = since_ns(self.start);
        let conn = &mut self.conns[slot];
        conn.busy = true;
        conn.streaming = has("\"stream\":true") || has("\"stream\": true");
        conn.next_part = 0;
        conn.pace_ns = if has("paced") { self.pace_ns } else { 0 };
        conn.usage = has("include_usage");
        conn.forms = usize::from(has("claude"));
        let (streaming, generation) = (conn.streaming, conn.generation);
        if streaming {
            let sse = &self.sse[self.conns[slot].forms];
            send(&mut self.conns[slot], &sse.head)?;
        }
        if delay > 0 {
            self.timers.push(Reverse((now + delay, slot, generation)));
            return self.flush_rest(slot);
        }
        if streaming { self.step_stream(slot, now) } else { self.send_json(slot) }
    }

    fn send_json(&mut self, slot: usize) -> Result<(), Closed> {
        let json = &self.json[self.conns[slot].forms];
        send(&mut self.conns[slot], json)?;
        self.end(slot)
    }

    fn step_stream(&mut self, slot: usize, now: u64) -> Result<(), Closed> {
        let conn = &mut self.conns[slot];
        let sse = &self.sse[conn.forms];
        while conn.next_part < sse.parts.len() {
            send(conn, &sse.parts[conn.next_part])?;
            conn.next_part += 1;
            if conn.pace_ns > 0 && conn.next_part < CHUNKS {
                self.timers.push(Reverse((now + conn.pace_ns, slot, conn.generation)));
                return self.flush_rest(slot);
            }
        }
        if conn.usage {
            send(conn, &sse.usage)?;
        }
        send(conn, &sse.done)?;
        self.end(slot)
    }

    fn end(&mut self, slot: usize) -> Result<(), Closed> {
        self.flush_rest(slot)?;
        let conn = &mut self.conns[slot];
        conn.busy = false;
        conn.streaming = false;
        if conn.close_after && conn.output.is_empty() { Err(Closed) } else { Ok(()) }
    }

    fn flush_rest(&mut self, slot: usize) -> Result<(), Closed> {
        if self.conns[slot].output.is_empty() { Ok(()) } else { self.flush(slot) }
    }
}

/// Writes at once what the socket takes and keeps the rest.
fn send(conn: &mut Conn, bytes: &[u8]) -> Result<(), Closed> {
    let sent = if conn.output.is_empty() { write_some(conn.fd, bytes).map_err(|_| Closed)? } else { 0 };
    conn.output.extend_from_slice(&bytes[sent..]);
    Ok(())
}
