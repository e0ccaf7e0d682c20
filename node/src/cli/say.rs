//! How verbs speak: results on standard output, the rest on standard error; quietly if asked, in colour on a terminal only.

use clap::{Args, ValueEnum};
use serde_json::Value;
use std::{
    io::{IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Nothing but results and errors; set once, at the start.
static QUIET: AtomicBool = AtomicBool::new(false);

pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// What helps, and is neither result nor error.
pub fn notice(text: &str) {
    if !is_quiet() {
        drop(writeln!(std::io::stderr(), "{text}")); // nobody hears it: nothing is lost
    }
}

/// What was made, or has a new secret: that alone goes to standard output, for scripts.
pub fn secret(made: &Value, form: &Output, done: &str) {
    if form.is_json() {
        println!("{made:#}");
        return;
    }
    let text = |name: &str| made[name].as_str().unwrap_or_default();
    notice(&format!("{} {} ({}) {done}; its secret, shown once:", text("object"), text("name"), text("id")));
    println!("{}", text("secret"));
}

/// For people or for scripts.
#[derive(Args)]
pub struct Output {
    #[arg(short, long, value_enum, default_value_t = Shape::Text)]
    output: Shape,
    /// The same as `-o json`.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    #[value(alias = "table")]
    Text,
    Json,
}

impl Output {
    pub fn is_json(&self) -> bool {
        self.json || self.output == Shape::Json
    }
}

/// Colours of a terminal.
#[derive(Clone, Copy)]
pub enum Colour {
    Green,
    Yellow,
    Red,
}

/// The text in a colour, if standard output is a terminal and `NO_COLOR` is not set.
pub fn coloured(colour: Colour, text: &str) -> String {
    let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) && std::io::stdout().is_terminal();
    if is_wanted { painted(colour, text) } else { text.to_owned() }
}

fn painted(colour: Colour, text: &str) -> String {
    let code = match colour {
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Red => 31,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// What a shell says of a process that SIGPIPE ended.
pub const READER_GONE: u8 = 141;

/// A reader that has gone, as `head` does: the process ends without a word, as SIGPIPE would end it. What cannot be printed otherwise is told
/// in one line.
pub fn end_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        match panic.payload().downcast_ref::<String>().filter(|said| said.starts_with("failed printing to stdout")) {
            Some(said) if said.contains("Broken pipe") => std::process::exit(READER_GONE.into()),
            Some(said) => {
                drop(writeln!(std::io::stderr(), "tollgate: {said}")); // nobody hears it: the code says it
                std::process::exit(1);
            }
            None => usual(panic),
        }
    }));
}

/// Whether a verb failed for want of a reader only.
pub fn is_reader_gone(failure: &super::Failure) -> bool {
    failure.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_end_where_the_text_ends() {
        assert_eq!(painted(Colour::Red, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
