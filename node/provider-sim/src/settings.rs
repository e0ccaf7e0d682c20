//! What can be asked of the simulator, and the one place where a wish is read from text.

use std::str::FromStr;

/// Most tokens that one choice of an answer may have; more is taken down to this.
pub(crate) const OUTPUT_MAX: u64 = 1_000_000;
/// Longest pause that can be asked for, in milliseconds.
const PAUSE_MS_MAX: u64 = 3_600_000;

/// What holds for every request.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How answers are made where the request says nothing else.
    pub answers: Wishes,
    /// The key that callers must show; `None` lets everybody in.
    pub api_key: Option<String>,
    /// Requests a minute over all callers; `None` sets no limit.
    pub rpm: Option<u32>,
    /// What `GET /v1/models` lists. Any other name is answered too.
    pub models: Vec<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { answers: Wishes::default(), api_key: None, rpm: None, models: vec!["sim".into(), "sim-embedding".into()] }
    }
}

/// How many tokens an answer has.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// So many, or as many as the request allows, if fewer.
    Tokens(u64),
    /// As many as the request allows; `Wishes::output_max` where it sets no limit.
    Max,
}

/// Where an answer breaks off.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// After so many frames of a stream; an answer in one piece breaks off in its middle.
    Frames(u64),
    /// After so many bytes of the body.
    Bytes(u64),
}

/// Where an answer stops coming, the connection staying open.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Hang {
    /// No status line ever comes.
    Head,
    /// After the first frame of a stream; after half of an answer in one piece.
    Body,
}

/// What the answer says about its usage.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum UsageFault {
    Right,
    Missing,
    Null,
    /// Half of what was used.
    Wrong,
    Zero,
    Negative,
    Huge,
    /// In a stream, a second after the end of the text; else right.
    Late,
}

/// What one request may ask for: by flag, by the model's suffix, by the body's `x_sim`, by header; the later one wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Wishes {
    /// Before the first byte of the answer.
    pub latency_ms: u64,
    /// Before each frame of a stream but the first.
    pub chunk_ms: u64,
    /// Tokens of text in one frame of a stream.
    pub chunk_tokens: u64,
    pub output: Output,
    /// Tokens of `Output::Max` where the request sets no limit.
    pub output_max: u64,
    /// Input tokens to claim instead of those counted.
    pub input_tokens: Option<u64>,
    /// Of the input, read from a cache.
    pub cached: u64,
    /// Of the input, written to a cache.
    pub cache_write: u64,
    /// Of the output, thought and not said.
    pub reasoning: u64,
    /// Answer this error.
    pub status: Option<u16>,
    /// The error's code instead of the usual one.
    pub code: Option<String>,
    /// Share of requests that get the error, 0 to 1; spread evenly, not drawn.
    pub error_rate: f64,
    /// So many first requests of a call (without an id: of a model) get the error.
    pub fail_first: u64,
    pub retry_after: Option<String>,
    pub cut: Option<Cut>,
    pub hang: Option<Hang>,
    /// Close the connection without a byte of answer.
    pub reset: bool,
    pub usage: UsageFault,
    /// Output tokens billed on top of what was said.
    pub overrun: u64,
    /// Compress the answer though nobody asked.
    pub gzip: bool,
    /// An error event in place of the rest of the stream, after so many frames.
    pub error_event: Option<u64>,
    /// 200 with a body that is not JSON, or a frame that is not.
    pub garbage: bool,
    /// Hand the body over in pieces of so many bytes, wherever they fall.
    pub split: Option<u64>,
    /// Tool calls to answer with, if the request offers tools.
    pub tools: Option<u64>,
    /// Finish reason instead of the due one, in the dialect's own words.
    pub finish: Option<String>,
    /// Say the caller's last text again instead of words of ours.
    pub echo: bool,
    /// Numbers in an embedding where the request names none.
    pub dimensions: u64,
}

impl Default for Wishes {
    fn default() -> Wishes {
        Wishes {
            latency_ms: 0,
            chunk_ms: 0,
            chunk_tokens: 1,
            output: Output::Tokens(16),
            output_max: 4_096,
            input_tokens: None,
            cached: 0,
            cache_write: 0,
            reasoning: 0,
            status: None,
            code: None,
            error_rate: 0.0,
            fail_first: 0,
            retry_after: None,
            cut: None,
            hang: None,
            reset: false,
            usage: UsageFault::Right,
            overrun: 0,
            gzip: false,
            error_event: None,
            garbage: false,
            split: None,
            tools: None,
            finish: None,
            echo: false,
            dimensions: 256,
        }
    }
}

impl Wishes {
    /// Sets one wish by its name; dashes and underscores are alike. The error says what is wrong with name or value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = name.trim().to_ascii_lowercase().replace('-', "_");
        let value = value.trim();
        self.set_known(&name, value).map_err(|why| format!("x-sim {name}={value}: {why}"))
    }

    fn set_known(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "latency_ms" => self.latency_ms = number::<u64>(value)?.min(PAUSE_MS_MAX),
            "chunk_ms" => self.chunk_ms = number::<u64>(value)?.min(PAUSE_MS_MAX),
            "chunk_tokens" => self.chunk_tokens = number::<u64>(value)?.max(1),
            "output" => self.output = output(value)?,
            "output_max" => self.output_max = number(value)?,
            "input_tokens" => self.input_tokens = optional(value)?,
            "cached" => self.cached = number(value)?,
            "cache_write" => self.cache_write = number(value)?,
            "reasoning" => self.reasoning = number(value)?,
            "error_rate" => self.error_rate = rate(value)?,
            "fail_first" => self.fail_first = number(value)?,
            "overrun" => self.overrun = number(value)?,
            "split" => self.split = optional(value)?.filter(|bytes| *bytes > 0),
            "tools" => self.tools = optional(value)?,
            "dimensions" => self.dimensions = number::<u64>(value)?.clamp(1, 4_096),
            "echo" => self.echo = truth(value)?,
            _ => return self.set_fault(name, value),
        }
        Ok(())
    }

    fn set_fault(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "status" => self.status = status(value)?,
            "code" => self.code = word(value),
            "retry_after" => self.retry_after = word(value),
            "finish" => self.finish = word(value),
            "cut" => self.cut = cut(value)?,
            "hang" => self.hang = hang(value)?,
            "reset" => self.reset = truth(value)?,
            "usage" => self.usage = usage(value)?,
            "gzip" => self.gzip = truth(value)?,
            "error_event" => self.error_event = optional(value)?,
            "garbage" => self.garbage = truth(value)?,
            _ => return Err("no such setting".into()),
        }
        Ok(())
    }
}

fn number<T: FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| "expected a whole number".to_string())
}

/// `off` and the empty value take a wish back that an earlier layer made.
fn is_off(value: &str) -> bool {
    matches!(value, "" | "off" | "none" | "false")
}

fn word(value: &str) -> Option<String> {
    (!is_off(value)).then(|| value.to_string())
}

fn optional(value: &str) -> Result<Option<u64>, String> {
    if is_off(value) { Ok(None) } else { number(value).map(Some) }
}

fn truth(value: &str) -> Result<bool, String> {
    match value {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "no" => Ok(false),
        _ if is_off(value) => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

fn rate(value: &str) -> Result<f64, String> {
    value.parse::<f64>().ok().filter(|rate| (0.0..=1.0).contains(rate)).ok_or_else(|| "expected a share between 0 and 1".into())
}

fn output(value: &str) -> Result<Output, String> {
    if value == "max" { Ok(Output::Max) } else { number(value).map(Output::Tokens) }
}

fn status(value: &str) -> Result<Option<u16>, String> {
    if is_off(value) || value == "200" {
        return Ok(None);
    }
    number::<u16>(value).ok().filter(|code| (300..=599).contains(code)).map(Some).ok_or_else(|| "expected a status of 300 to 599".into())
}

fn cut(value: &str) -> Result<Option<Cut>, String> {
    if is_off(value) {
        return Ok(None);
    }
    match value.strip_suffix("bytes").or_else(|| value.strip_suffix('b')) {
        Some(bytes) => number(bytes.trim()).map(|n| Some(Cut::Bytes(n))),
        None => number(value).map(|n| Some(Cut::Frames(n))),
    }
}

fn hang(value: &str) -> Result<Option<Hang>, String> {
    match value {
        "head" => Ok(Some(Hang::Head)),
        "body" => Ok(Some(Hang::Body)),
        _ if is_off(value) => Ok(None),
        _ => Err("expected head or body".into()),
    }
}

fn usage(value: &str) -> Result<UsageFault, String> {
    Ok(match value {
        "right" => UsageFault::Right,
        "missing" => UsageFault::Missing,
        "null" => UsageFault::Null,
        "wrong" => UsageFault::Wrong,
        "zero" => UsageFault::Zero,
        "negative" => UsageFault::Negative,
        "huge" => UsageFault::Huge,
        "late" => UsageFault::Late,
        _ => return Err("expected right, missing, null, wrong, zero, negative, huge or late".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_by_name_with_dashes_or_underscores() {
        let mut wishes = Wishes::default();
        for (name, value) in
            [("latency-ms", "5"), ("output", "max"), ("Cut", "10b"), ("hang", "body"), ("usage", "late"), ("status", "429")]
        {
            wishes.set(name, value).expect(name);
        }
        let expected = Wishes {
            latency_ms: 5,
            output: Output::Max,
            cut: Some(Cut::Bytes(10)),
            hang: Some(Hang::Body),
            usage: UsageFault::Late,
            status: Some(429),
            ..Wishes::default()
        };
        assert_eq!(wishes, expected);
    }

    #[test]
    fn a_later_layer_takes_a_wish_back() {
        let mut wishes = Wishes { status: Some(500), cut: Some(Cut::Frames(3)), reset: true, ..Wishes::default() };
        for name in ["status", "cut", "reset"] {
            wishes.set(name, "off").expect(name);
        }
        assert_eq!(wishes, Wishes::default());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let mut wishes = Wishes::default();
        for (name, value) in
            [("colour", "red"), ("output", "many"), ("status", "99"), ("error_rate", "2"), ("hang", "tail"), ("usage", "odd")]
        {
            let why = wishes.set(name, value).expect_err(name);
            assert!(why.contains(name) && why.contains(value), "{why}");
        }
        assert_eq!(wishes, Wishes::default());
    }
}
