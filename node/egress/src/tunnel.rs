//! CONNECT: a proxy is asked to join this stream to an origin.

use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    fault::unsent,
    port::{Stage, WireFault},
    stream::Stream,
};

/// Largest head that a proxy may answer with, in bytes: a status line and a few headers of its own.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// Asks for a tunnel to `authority`; afterwards the stream carries the origin's bytes.
pub(crate) async fn ask(stream: &mut Stream, authority: &str, authorization: Option<&HeaderValue>) -> Result<(), WireFault> {
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n").into_bytes();
    if let Some(value) = authorization {
        head.extend_from_slice(b"proxy-authorization: ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let broken = |error: std::io::Error| unsent(Stage::Connect, format!("proxy: {error}"));
    stream.write_all(&head).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let answer = read_head(stream).await?;
    match status(&answer) {
        Some(200..=299) => Ok(()),
        Some(407) => Err(unsent(Stage::Connect, "the proxy wants other credentials (407)")),
        Some(status) => Err(unsent(Stage::Connect, format!("the proxy opens no tunnel ({status})"))),
        None => Err(unsent(Stage::Connect, "the proxy does not answer in HTTP/1")),
    }
}

/// Reads to the end of the head and not a byte further than the proxy wrote it: behind the tunnel the client speaks first, so
/// whatever follows the head was put there by the proxy and is an error.
async fn read_head(stream: &mut Stream) -> Result<Vec<u8>, WireFault> {
    let mut head = Vec::with_capacity(512);
    loop {
        let old = head.len();
        let read = stream.read_buf(&mut head).await.map_err(|error| unsent(Stage::Connect, format!("proxy: {error}")))?;
        if read == 0 {
            return Err(unsent(Stage::Connect, "the proxy closed the connection"));
        }
        let from = old.saturating_sub(3);
        if let Some(at) = head[from..].windows(4).position(|four| four == b"\r\n\r\n") {
            let whole = from + at + 4 == head.len();
            return if whole { Ok(head) } else { Err(unsent(Stage::Connect, "the proxy sent bytes behind its answer")) };
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(unsent(Stage::Connect, "the proxy's answer is too long"));
        }
    }
}

/// The status of `HTTP/1.x NNN …`.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let (minor, rest) = rest.split_first()?;
    let digits = rest.strip_prefix(b" ")?.get(..3)?;
    let ended = matches!(rest.get(4), Some(b' ' | b'\r'));
    (minor.is_ascii_digit() && ended && digits.iter().all(u8::is_ascii_digit))
        .then(|| digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        for (head, expected) in [
            (&b"HTTP/1.1 200 Connection established\r\n\r\n"[..], Some(200)),
            (b"HTTP/1.0 200\r\n\r\n", Some(200)),
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n", Some(407)),
            (b"HTTP/1.1 2000 x\r\n", None),
            (b"HTTP/2 200\r\n", None),
            (b"HTTP/1.1 2x0 \r\n", None),
            (b"SSH-2.0-x\r\n", None),
            (b"HTTP/1.1", None),
        ] {
            assert_eq!(status(head), expected, "{}", String::from_utf8_lossy(head));
        }
    }
}
