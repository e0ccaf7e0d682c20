//! What the mock provider and the load generator share: epoll and as much of HTTP/1.1 as they need. One thread, no HTTP library: both
//! ends must cost far less a call than any gateway between them, or the bench measures itself.

pub mod epoll;
pub mod http;

use std::str::FromStr;
use std::time::Instant;

/// Nanoseconds since `start`.
pub fn since_ns(start: Instant) -> u64 {
    start.elapsed().as_nanos() as u64
}

/// The value after a flag. A missing or wrong one ends the program with a message.
pub fn value<T: FromStr>(flag: &str, args: &mut impl Iterator<Item = String>) -> T {
    let text = args.next();
    match text.as_deref().map(str::parse) {
        Some(Ok(value)) => value,
        _ => fail(&format!("{flag}: expected a value, got {text:?}")),
    }
}

/// Ends the program with a message.
pub fn fail(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(2);
}
