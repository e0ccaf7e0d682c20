//! Load generator. One thread, raw epoll; a closed loop (--conc) or an open one (--rate: Poisson arrivals from a fixed seed, latency from
//! the moment a call was due). Checks every answer: 200 and a marker in JSON; in a stream all 100 tokens in order and `[DONE]`.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::{IntoRawFd, RawFd};
use std::time::Instant;

use bench::epoll::{self, Epoll, READ, WRITE, read_into, write_some};
use bench::http::{Dechunk, Framing, Head, parse_head};
use bench::{fail, since_ns, value};

const TOKENS: u32 = 100;
const SECOND: u64 = 1_000_000_000;
const TIMEOUT_NS: u64 = 20 * SECOND;
/// Calls that wait for a connection in the open loop; more are dropped and counted.
const BACKLOG_MAX: usize = 4_096;
/// Latencies kept for the percentiles: with more calls, every second one goes, again and again.
const SAMPLES_MAX: usize = 1 << 21;

struct Args {
    addr: String,
    path: String,
    model: String,
    headers: Vec<String>,
    conc: usize,
    max_conns: usize,
    rate: f64,
    secs: f64,
    drain: f64,
    stream: bool,
    prompt_bytes: usize,
    count: u64,
}

fn args() -> Args {
    let mut a = Args {
        addr: "127.0.0.1:9100".into(),
        path: "/v1/chat/completions".into(),
        model: "mock-0ms".into(),
        headers: Vec::new(),
        conc: 64,
        max_conns: 1_024,
        rate: 0.0,
        secs: 5.0,
        drain: 5.0,
        stream: false,
        prompt_bytes: 70,
        count: u64::MAX,
    };
    let mut it = std::env::args().skip(1);
    while let Some(flag) = it.next() {
        match flag.as_str() {
            "--addr" => a.addr = value(&flag, &mut it),
            "--path" => a.path = value(&flag, &mut it),
            "--model" => a.model = value(&flag, &mut it),
            "--header" => a.headers.push(value(&flag, &mut it)),
            "--conc" => a.conc = value(&flag, &mut it),
            "--max-conns" => a.max_conns = value(&flag, &mut it),
            "--rate" => a.rate = value(&flag, &mut it),
            "--secs" => a.secs = value(&flag, &mut it),
            "--drain" => a.drain = value(&flag, &mut it),
            "--stream" => a.stream = true,
            "--prompt-bytes" => a.prompt_bytes = value(&flag, &mut it),
            "--count" => a.count = value(&flag, &mut it),
            _ => fail(&format!("unknown argument {flag}")),
        }
    }
    a
}

/// The request, which is the same for all calls.
fn request(a: &Args) -> Vec<u8> {
    let prose = "Lorem ipsum dolor sit amet, \\\"consectetur\\\" adipiscing elit.\\n";
    let prompt: String = prose.chars().cycle().take(a.prompt_bytes).collect();
    let prompt = prompt.trim_end_matches('\\');
    let tail = if a.stream { ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" } else { "" };
    let body = format!(
        "{{\"model\":\"{}\",\"messages\":[{{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"}},\
{{\"role\":\"user\",\"content\":\"{prompt}\"}}],\"temperature\":0.7,\"max_tokens\":256{tail}}}",
        a.model
    );
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: */*\r\naccept-encoding: gzip\r\nuser-agent: bench/1\r\n",
        a.path, a.addr
    );
    for line in &a.headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Looks for the tokens of a stream.
#[derive(Default)]
struct Scan {
    buffer: Vec<u8>,
    next: u32,
    bad: bool,
    done: bool,
}

impl Scan {
    /// Counts the tokens that arrived; `bad` is set if one is out of order.
    fn feed(&mut self, data: &[u8]) -> u32 {
        self.buffer.extend_from_slice(data);
        let (mut at, mut seen) = (0, 0);
        while let Some(found) = memchr::memmem::find(&self.buffer[at..], b"tok") {
            let digits_at = at + found + 3;
            let Some(digits) = self.buffer.get(digits_at..digits_at + 3) else {
                at += found;
                break;
            };
            at = digits_at;
            if digits.iter().all(u8::is_ascii_digit) {
                let number = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
                self.bad |= number != self.next;
                self.next = number + 1;
                seen += 1;
                at += 3;
            }
        }
        self.done |= self.next >= TOKENS
            && [b"[DONE]".as_slice(), b"message_stop"].iter().any(|end| memchr::memmem::find(&self.buffer, end).is_some());
        let keep = at.max(self.buffer.len().saturating_sub(b"message_stop".len() - 1));
        self.buffer.drain(..keep);
        seen
    }
}

/// One call as it comes in.
#[derive(Default)]
struct Answer {
    head: Option<Head>,
    got: usize,
    dechunk: Dechunk,
    marker: bool,
    scan: Scan,
    /// Start of an answer that is no success, for the report.
    error: Vec<u8>,
    tokens: u32,
    over: bool,
    broken: bool,
}

impl Answer {
    /// Takes what it can off the input. `open`: more may come.
    fn take(&mut self, input: &mut Vec<u8>, open: bool, stream: bool) {
        while self.head.is_none() {
            let Some(head) = parse_head(input) else { return };
            input.drain(..head.len);
            self.head = Some(head).filter(|head| head.status != 100);
        }
        let Some((framing, status)) = self.head.as_ref().map(|head| (head.framing, head.status)) else { return };
        let mut dechunk = std::mem::take(&mut self.dechunk);
        match framing {
            Framing::Chunked => match dechunk.feed(input, |bytes| self.see(bytes, status, stream)) {
                Ok((used, over)) => {
                    input.drain(..used);
                    self.over = over;
                }
                Err(_) => self.broken = true,
            },
            Framing::Length(length) => {
                self.see(input, status, stream);
                input.clear();
                self.over = self.got >= length;
            }
            Framing::UntilClose => {
                self.see(input, status, stream);
                input.clear();
                self.over = !open;
            }
        }
        self.dechunk = dechunk;
    }

    fn see(&mut self, bytes: &[u8], status: u16, stream: bool) {
        self.got += bytes.len();
        if status != 200 {
            let room = 300usize.saturating_sub(self.error.len()).min(bytes.len());
            self.error.extend_from_slice(&bytes[..room]);
        } else if stream {
            self.tokens += self.scan.feed(bytes);
        } else {
            self.marker |= memchr::memmem::find(bytes, b"BENCHMARK-OK").is_some();
        }
    }

    fn is_good(&self, stream: bool) -> bool {
        if stream { self.scan.done && !self.scan.bad && self.scan.next == TOKENS } else { self.marker }
    }
}

struct Conn {
    fd: RawFd,
    input: Vec<u8>,
    sent: usize,
    busy: bool,
    due: u64,
    answer: Answer,
    first_token: u64,
    last_token: u64,
}

#[derive(Default)]
struct Stats {
    latencies: Samples,
    first_tokens: Samples,
    gaps: Samples,
    ok: u64,
    ok_in_time: u64,
    chunks: u64,
    chunks_in_time: u64,
    errors: u64,
    status_errors: u64,
    incomplete: u64,
    dropped: u64,
    reconnects: u64,
    first_error: String,
}

impl Stats {
    fn note(&mut self, why: impl FnOnce() -> String) {
        if self.first_error.is_empty() {
            self.first_error = why();
        }
    }
}

/// Durations in nanoseconds; thinned evenly when there are too many.
struct Samples {
    kept: Vec<u64>,
    every: u64,
    seen: u64,
}

impl Default for Samples {
    fn default() -> Samples {
        Samples { kept: Vec::new(), every: 1, seen: 0 }
    }
}

impl Samples {
    fn add(&mut self, ns: u64) {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.every) {
            return;
        }
        if self.kept.len() >= SAMPLES_MAX {
            let mut odd = false;
            self.kept.retain(|_| {
                odd = !odd;
                odd
            });
            self.every *= 2;
        }
        self.kept.push(ns);
    }

    /// The quantile in microseconds; -1 without samples.
    fn quantile(&mut self, q: f64) -> f64 {
        self.kept.sort_unstable();
        let last = self.kept.len().saturating_sub(1) as f64;
        self.kept.get((last * q).round() as usize).map_or(-1.0, |ns| *ns as f64 / 1_000.0)
    }
}

/// Exponential pauses from a fixed seed: every gateway sees the same arrivals.
struct Arrivals {
    state: u64,
    rate: f64,
    next: u64,
}

impl Arrivals {
    fn step(&mut self) {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let unit = ((self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        self.next += (-unit.ln() / self.rate * 1e9) as u64;
    }
}

struct Load {
    args: Args,
    request: Vec<u8>,
    epoll: Epoll,
    start: Instant,
    conns: Vec<Conn>,
    idle: Vec<usize>,
    stats: Stats,
    begin: u64,
    end: u64,
    issued: u64,
    open_calls: u64,
    backlog: VecDeque<u64>,
    arrivals: Arrivals,
}

fn main() {
    let args = args();
    epoll::tight_timers();
    let epoll = Epoll::new().unwrap_or_else(|e| fail(&e.to_string()));
    let arrivals = Arrivals { state: 0x9E37_79B9_7F4A_7C15, rate: args.rate, next: 0 };
    let mut load = Load {
        request: request(&args),
        epoll,
        start: Instant::now(),
        conns: Vec::new(),
        idle: Vec::new(),
        stats: Stats::default(),
        begin: 0,
        end: 0,
        issued: 0,
        open_calls: 0,
        backlog: VecDeque::new(),
        arrivals,
        args,
    };
    load.run();
    load.report();
}

impl Load {
    fn run(&mut self) {
        for _ in 0..self.args.conc {
            if let Some(slot) = self.connect(None) {
                self.idle.push(slot);
            }
        }
        self.begin = since_ns(self.start);
        self.end = self.begin + (self.args.secs * 1e9) as u64;
        self.arrivals.next = self.begin;
        let hard_end = self.end + (self.args.drain * 1e9) as u64;
        let (mut ready, mut sweep) = (Vec::new(), self.begin + SECOND);
        while !self.conns.is_empty() {
            let now = since_ns(self.start);
            let over = now >= self.end || self.issued >= self.args.count;
            if over && (self.open_calls == 0 || now >= hard_end) {
                break;
            }
            if !over {
                self.issue(now);
            }
            if now >= sweep {
                sweep = now + SECOND;
                self.sweep(now);
            }
            let mut until = sweep.min(if now < self.end { self.end } else { hard_end });
            if self.args.rate > 0.0 && !over {
                until = until.min(self.arrivals.next);
            }
            self.epoll.wait(Some(until.saturating_sub(since_ns(self.start))), &mut ready);
            for &(token, events) in &ready {
                self.on_ready(token as usize, events);
            }
        }
    }

    /// Starts the calls that are due.
    fn issue(&mut self, now: u64) {
        if self.args.rate <= 0.0 {
            while self.issued < self.args.count
                && let Some(slot) = self.idle.pop()
            {
                self.begin_call(slot, now);
            }
            return;
        }
        while self.arrivals.next <= now {
            if self.backlog.len() < BACKLOG_MAX {
                self.backlog.push_back(self.arrivals.next)
            } else {
                self.stats.dropped += 1
            }
            self.arrivals.step();
        }
        while let Some(&due) = self.backlog.front() {
            let more = self.conns.len() < self.args.max_conns;
            let Some(slot) = self.idle.pop().or_else(|| if more { self.connect(None) } else { None }) else { break };
            self.backlog.pop_front();
            self.begin_call(slot, due);
        }
    }

    /// Gives up on calls that take too long, and opens connections again that could not be opened.
    fn sweep(&mut self, now: u64) {
        for slot in 0..self.conns.len() {
            if self.conns[slot].busy && now > self.conns[slot].due + TIMEOUT_NS {
                self.fail_call(slot, "no answer within 20 s");
            } else if self.conns[slot].fd < 0 && self.connect(Some(slot)).is_some() {
                self.idle.push(slot);
            }
        }
    }

    fn connect(&mut self, slot: Option<usize>) -> Option<usize> {
        let stream = match TcpStream::connect(&self.args.addr) {
            Ok(stream) => stream,
            Err(why) => {
                self.stats.errors += 1;
                self.stats.note(|| format!("connect: {why}"));
                return None;
            }
        };
        let fd = stream.into_raw_fd();
        epoll::set_nodelay(fd);
        let input = Vec::with_capacity(16_384);
        let conn = Conn { fd, input, sent: 0, busy: false, due: 0, answer: Answer::default(), first_token: 0, last_token: 0 };
        let slot = match slot {
            Some(slot) => {
                self.conns[slot] = conn;
                slot
            }
            None => {
                self.conns.push(conn);
                self.conns.len() - 1
            }
        };
        self.epoll.add(fd, slot as u64, READ);
        Some(slot)
    }

    fn begin_call(&mut self, slot: usize, due: u64) {
        self.issued += 1;
        self.open_calls += 1;
        let conn = &mut self.conns[slot];
        *conn = Conn {
            busy: true,
            due,
            sent: 0,
            answer: Answer::default(),
            first_token: 0,
            last_token: 0,
            fd: conn.fd,
            input: std::mem::take(&mut conn.input),
        };
        self.push(slot);
    }

    /// Writes on.
    fn push(&mut self, slot: usize) {
        let conn = &mut self.conns[slot];
        match write_some(conn.fd, &self.request[conn.sent..]) {
            Ok(count) => {
                let began_before = conn.sent > 0;
                conn.sent += count;
                if conn.sent < self.request.len() {
                    self.epoll.modify(conn.fd, slot as u64, READ | WRITE);
                } else if began_before {
                    self.epoll.modify(conn.fd, slot as u64, READ);
                }
            }
            Err(why) => self.fail_call(slot, &format!("write: {why}")),
        }
    }

    fn fail_call(&mut self, slot: usize, why: &str) {
        self.stats.errors += 1;
        self.stats.note(|| why.to_string());
        self.open_calls -= 1;
        self.reopen(slot);
    }

    fn reopen(&mut self, slot: usize) {
        self.stats.reconnects += 1;
        epoll::close(self.conns[slot].fd);
        self.conns[slot].busy = false;
        self.conns[slot].fd = -1;
        if self.connect(Some(slot)).is_some() {
            self.idle.push(slot);
        }
    }

    fn on_ready(&mut self, slot: usize, events: u32) {
        if events & WRITE != 0 && self.conns[slot].busy && self.conns[slot].sent < self.request.len() {
            self.push(slot);
        }
        if events & !WRITE != 0 && self.conns[slot].fd >= 0 {
            self.on_readable(slot);
        }
    }

    fn on_readable(&mut self, slot: usize) {
        let conn = &mut self.conns[slot];
        let read = read_into(conn.fd, &mut conn.input, 128 * 1024);
        if !conn.busy {
            // Closed, or chattering, while idle.
            self.idle.retain(|&other| other != slot);
            self.reopen(slot);
            return;
        }
        let open = match read {
            Ok(open) => open,
            Err(why) => return self.fail_call(slot, &format!("read: {why}")),
        };
        let now = since_ns(self.start);
        conn.answer.take(&mut conn.input, open, self.args.stream);
        self.count_tokens(slot, now);
        let answer = &self.conns[slot].answer;
        if answer.broken {
            self.fail_call(slot, "bad chunked framing");
        } else if answer.over {
            self.finish(slot, now);
        } else if !open {
            self.fail_call(slot, "closed in mid answer");
        }
    }

    fn count_tokens(&mut self, slot: usize, now: u64) {
        let conn = &mut self.conns[slot];
        let tokens = u64::from(std::mem::take(&mut conn.answer.tokens));
        if tokens == 0 {
            return;
        }
        if conn.first_token == 0 {
            conn.first_token = now;
        } else {
            self.stats.gaps.add(now - conn.last_token);
        }
        conn.last_token = now;
        self.stats.chunks += tokens;
        if now <= self.end {
            self.stats.chunks_in_time += tokens;
        }
    }

    fn finish(&mut self, slot: usize, now: u64) {
        let conn = &mut self.conns[slot];
        let answer = &conn.answer;
        let (status, close) = answer.head.as_ref().map_or((0, true), |h| (h.status, h.close || h.framing == Framing::UntilClose));
        conn.busy = false;
        self.open_calls -= 1;
        if status != 200 {
            self.stats.status_errors += 1;
            self.stats.note(|| format!("status {status}: {}", String::from_utf8_lossy(&answer.error)));
        } else if answer.is_good(self.args.stream) {
            self.stats.ok += 1;
            self.stats.ok_in_time += u64::from(now <= self.end);
            self.stats.latencies.add(now - conn.due);
            if conn.first_token > 0 {
                self.stats.first_tokens.add(conn.first_token - conn.due);
            }
        } else {
            self.stats.incomplete += 1;
            let scan = &answer.scan;
            self.stats.note(|| format!("incomplete: {} bytes, {} tokens, bad {}, done {}", answer.got, scan.next, scan.bad, scan.done));
        }
        if close { self.reopen(slot) } else { self.idle.push(slot) }
    }

    fn report(&mut self) {
        let window = (since_ns(self.start).min(self.end) - self.begin).max(1) as f64 / 1e9;
        let s = &mut self.stats;
        let report = serde_json::json!({
            "ok": s.ok, "rps": s.ok_in_time as f64 / window, "window_s": window, "issued": self.issued, "errors": s.errors,
            "status_errors": s.status_errors, "incomplete": s.incomplete, "dropped": s.dropped + self.backlog.len() as u64,
            "unanswered": self.open_calls, "reconnects": s.reconnects, "p50_us": s.latencies.quantile(0.5), "p90_us": s.latencies.quantile(0.9),
            "p99_us": s.latencies.quantile(0.99), "p999_us": s.latencies.quantile(0.999), "max_us": s.latencies.quantile(1.0),
            "ttfc_p50_us": s.first_tokens.quantile(0.5), "ttfc_p99_us": s.first_tokens.quantile(0.99), "gap_p50_us": s.gaps.quantile(0.5),
            "gap_p99_us": s.gaps.quantile(0.99), "chunks": s.chunks, "chunks_per_s": s.chunks_in_time as f64 / window,
            "load_cpu_s": epoll::cpu_seconds(), "first_error": s.first_error,
        });
        println!("{report}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_wherever_the_pieces_break() {
        let text: String = (0..100).map(|n| format!("data: {{\"content\":\" tok{n:03}\"}}\n\n")).collect::<String>() + "data: [DONE]\n\n";
        for step in [1, 2, 5, 7, 33, 1_000, 10_000] {
            let mut scan = Scan::default();
            let seen: u32 = text.as_bytes().chunks(step).map(|piece| scan.feed(piece)).sum();
            assert_eq!((seen, scan.next, scan.bad, scan.done), (100, 100, false, true), "pieces of {step}");
        }
        let mut scan = Scan::default();
        scan.feed(b"tok000 tok002");
        assert!(scan.bad);
    }

    #[test]
    fn answers_are_good_or_not() {
        let mut answer = Answer::default();
        let mut input = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{BENCHMARK-OK  ".to_vec();
        answer.take(&mut input, true, false);
        assert!(answer.over && answer.is_good(false) && input.is_empty());
        let mut refused = Answer::default();
        refused.take(&mut b"HTTP/1.1 429 No\r\ncontent-length: 4\r\n\r\nstop".to_vec(), true, false);
        assert_eq!((refused.over, refused.error.as_slice(), refused.head.map(|h| h.status)), (true, &b"stop"[..], Some(429)));
    }

    #[test]
    fn samples_are_thinned_and_keep_their_quantiles() {
        let mut samples = Samples::default();
        (0..3 * SAMPLES_MAX as u64).for_each(|n| samples.add(n * 1_000));
        assert!(samples.kept.len() <= SAMPLES_MAX);
        let middle = samples.quantile(0.5) / (1.5 * SAMPLES_MAX as f64);
        assert!((0.95..1.05).contains(&middle), "{middle}");
    }
}
