//! The command line of `tollgate provider-sim`.

use std::net::SocketAddr;

use crate::Settings;

/// Flags of the verb. Each is the default for all requests; a request may ask for something else.
#[derive(clap::Args, Clone, Debug)]
pub struct Flags {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:4010")]
    pub listen: SocketAddr,
    /// Milliseconds before the first byte of an answer
    #[arg(long, value_name = "MS")]
    pub latency_ms: Option<u64>,
    /// Milliseconds between the frames of a stream
    #[arg(long, value_name = "MS")]
    pub chunk_ms: Option<u64>,
    /// Tokens of an answer: a number, or `max` for as many as the request allows
    #[arg(long, value_name = "N|max")]
    pub output: Option<String>,
    /// Answer this error status, always or as often as --error-rate says
    #[arg(long)]
    pub status: Option<u16>,
    /// Share of requests that fail, 0 to 1
    #[arg(long, value_name = "SHARE")]
    pub error_rate: Option<f64>,
    /// Requests a minute; more get 429
    #[arg(long)]
    pub rpm: Option<u32>,
    /// Break answers off after N frames, or after Nb bytes
    #[arg(long, value_name = "N|Nb")]
    pub cut: Option<String>,
    /// Stop in front of the head or within the body, keeping the connection
    #[arg(long, value_name = "head|body")]
    pub hang: Option<String>,
    /// right, missing, null, wrong, zero, negative, huge or late
    #[arg(long, value_name = "HOW")]
    pub usage: Option<String>,
    /// Output tokens billed above what was said
    #[arg(long, value_name = "N")]
    pub overrun: Option<u64>,
    /// The key that callers must show
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Models that are listed, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub models: Vec<String>,
    /// Any other setting of the README, as NAME=VALUE; may be given more than once
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

impl Flags {
    /// The settings that the flags ask for. The error names the flag's value that makes no sense.
    pub fn settings(&self) -> Result<Settings, String> {
        let mut settings = Settings { api_key: self.api_key.clone(), rpm: self.rpm, ..Settings::default() };
        if !self.models.is_empty() {
            settings.models.clone_from(&self.models);
        }
        let named = [
            ("latency_ms", self.latency_ms.map(|ms| ms.to_string())),
            ("chunk_ms", self.chunk_ms.map(|ms| ms.to_string())),
            ("output", self.output.clone()),
            ("status", self.status.map(|code| code.to_string())),
            ("error_rate", self.error_rate.map(|share| share.to_string())),
            ("cut", self.cut.clone()),
            ("hang", self.hang.clone()),
            ("usage", self.usage.clone()),
            ("overrun", self.overrun.map(|n| n.to_string())),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                settings.answers.set(name, &value)?;
            }
        }
        for pair in &self.set {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("--set {pair}: expected NAME=VALUE"))?;
            settings.answers.set(name, value)?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{Output, UsageFault};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn settings(line: &[&str]) -> Result<Settings, String> {
        Line::try_parse_from([&["sim"], line].concat()).map_err(|e| e.to_string())?.flags.settings()
    }

    #[test]
    fn flags_become_defaults() {
        let line = ["--output", "max", "--usage", "missing", "--rpm", "60", "--set", "split=3", "--set", "gzip=true", "--models", "a,b"];
        let got = settings(&line).expect("valid flags");
        assert_eq!((got.answers.output, got.answers.usage, got.rpm), (Output::Max, UsageFault::Missing, Some(60)));
        assert_eq!((got.answers.split, got.answers.gzip, got.models.join(" ")), (Some(3), true, "a b".to_string()));
    }

    #[test]
    fn a_wrong_flag_is_named() {
        assert!(settings(&["--set", "colour=red"]).expect_err("unknown").contains("colour"));
        assert!(settings(&["--set", "gzip"]).expect_err("no value").contains("NAME=VALUE"));
        assert!(settings(&["--usage", "odd"]).expect_err("unknown").contains("usage=odd"));
    }
}
