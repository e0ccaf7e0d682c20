//! The small words of the file: limits, durations, addresses, names, secrets, shares. Each says what is wrong with it.

use crate::config::Secret;
use events::{Amount, Money, Unit, limits};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `"500 USD"`, `"200000 tokens"`, `"100 requests"`.
pub(crate) fn limit(text: &str) -> Result<(Unit, Amount), String> {
    let form = || "must be \"<decimal> USD\", \"<n> tokens\" or \"<n> requests\"".to_owned();
    let (figure, unit) = text.trim().split_once(char::is_whitespace).ok_or_else(form)?;
    let count = |unit: Unit| match figure.parse::<u64>() {
        Ok(count) if count <= limits::COUNT_MAX && figure.bytes().all(|byte| byte.is_ascii_digit()) => Ok((unit, Amount::from(count))),
        _ => Err(format!("must be a whole number of {} up to {}", unit.as_str(), limits::COUNT_MAX)),
    };
    match unit.trim() {
        "USD" => match Money::parse(figure).filter(|money| money.0 >= 0) {
            Some(money) => Ok((Unit::Usd, money.0)),
            None => Err(format!("must be a plain decimal of USD with at most 12 places, up to {}", Money(limits::MONEY_PICO_MAX))),
        },
        "tokens" | "token" => count(Unit::Tokens),
        "requests" | "request" => count(Unit::Requests),
        _ => Err(form()),
    }
}

/// A share such as `"0.8"`, in millionths.
pub(crate) fn share_ppm(text: &str) -> Option<u32> {
    let pico = Money::parse(text)?.0;
    let ppm = (pico % 1_000_000 == 0).then_some(pico / 1_000_000)?;
    u32::try_from(ppm).ok().filter(|ppm| (1..=1_000_000).contains(ppm))
}

/// `500ms`, `10s`, `2m`, in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).filter(|digits| *digits > 0)?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit_ms).filter(|ms| *ms > 0)
}

/// A span of which the administration speaks: as in the file, also in hours and days, and none at all (`0s`). In milliseconds.
pub fn span_ms(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).filter(|digits| *digits > 0)?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit_ms)
}

/// The name of a tenant, scope, key or provider: a slash stands between names, so none is in them.
pub(crate) fn name(text: &str) -> Result<(), String> {
    checked_name(text, ".-_:@+")
}

/// The name of a model: slashes are common in them, and one star is a wildcard.
pub(crate) fn model_name(text: &str) -> Result<(), String> {
    checked_name(text, ".-_:@+/*")?;
    wildcard(text)
}

/// Not more than one star.
pub(crate) fn wildcard(text: &str) -> Result<(), String> {
    match text.matches('*').count() {
        0 | 1 => Ok(()),
        stars => Err(format!("may hold one *, not {stars}")),
    }
}

fn checked_name(text: &str, besides: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > limits::NAME_BYTES_MAX {
        return Err(format!("must have 1 to {} bytes", limits::NAME_BYTES_MAX));
    }
    match text.chars().find(|letter| !letter.is_alphanumeric() && !besides.contains(*letter)) {
        Some(letter) => Err(format!("may not hold {letter:?}: letters, digits and {besides} only")),
        None => Ok(()),
    }
}

/// A virtual key's secret. The message never shows it.
pub fn secret(text: &str) -> Result<(), String> {
    let length = text.chars().count();
    if !(limits::SECRET_CHARS_MIN..=limits::SECRET_CHARS_MAX).contains(&length) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("must have {} to {} visible ASCII characters", limits::SECRET_CHARS_MIN, limits::SECRET_CHARS_MAX));
    }
    Ok(())
}

/// Longest secret of a provider, in bytes: a token in JWT form, with room.
const API_KEY_BYTES_MAX: usize = 4_096;

/// A provider's secret: it goes into a header. The message never shows it.
pub(crate) fn api_key(text: &str) -> Result<(), String> {
    if text == Secret::KEEP {
        return Err(format!("may not be {}, which is the word for the key that is there", Secret::KEEP));
    }
    if text.is_empty() || text.len() > API_KEY_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("must have 1 to {API_KEY_BYTES_MAX} visible ASCII characters"));
    }
    Ok(())
}

/// A tag to filter by, `key=value`.
pub(crate) fn tag(text: &str) -> Result<(), String> {
    let (key, value) = text.split_once('=').ok_or("must be key=value")?;
    let sized = |part: &str| !part.is_empty() && part.len() <= limits::TAG_BYTES_MAX;
    let plain = text.chars().all(|letter| !letter.is_whitespace() && !letter.is_control() && letter != ',');
    if sized(key) && sized(value) && plain {
        Ok(())
    } else {
        Err(format!("must be key=value, each of 1 to {} bytes without spaces and commas", limits::TAG_BYTES_MAX))
    }
}

/// Headers that are ours, the connection's, or a place for secrets, which belong into `api_key`, where they are sealed.
const HEADERS_KEPT: &[&str] = &[
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
];

/// A header that a provider is sent.
pub(crate) fn header(name: &str, value: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > limits::NAME_BYTES_MAX || !name.bytes().all(is_token) {
        return Err("is not the name of a header".into());
    }
    if HEADERS_KEPT.contains(&name.to_ascii_lowercase().as_str()) {
        return Err("is a header that the gateway sets itself; a secret goes into api_key".into());
    }
    let plain = value.len() <= 1_024 && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if plain { Ok(()) } else { Err("must have a value of at most 1024 visible ASCII characters".into()) }
}

/// Checks a base URL and takes the slash off its end.
pub(crate) fn base_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or("must begin with https:// or http://")?;
    if let Some(letter) = text.chars().find(|letter| !letter.is_ascii_graphic() || "\\\"<>^`{|}".contains(*letter)) {
        return Err(format!("may not hold {letter:?}"));
    }
    if text.contains(['?', '#']) {
        return Err("may have no query and no fragment".into());
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("may have no user and password; the secret goes into api_key".into());
    }
    if rest.split('/').skip(1).any(|part| part == "." || part == "..") {
        return Err("may not hold . or .. as a part of its path".into());
    }
    host(authority)?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// Where alerts are sent: `https://`, or `http://` to an address inside, which only the operator may name. A path is kept as it is.
pub(crate) fn webhook_url(text: &str, is_tenants: bool) -> Result<(), String> {
    base_url(text)?;
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_inside = is_inside(host.trim_end_matches('.'));
    if is_inside && is_tenants {
        return Err("may not lead inside: it is a tenant's".into());
    }
    if scheme == "http" && !is_inside {
        return Err("must begin with https://; http:// is for loopback and private addresses".into());
    }
    Ok(())
}

/// A loopback or private address, or the machine's own name. What other names lead to is seen when they are dialled.
fn is_inside(host: &str) -> bool {
    let v4 = |address: Ipv4Addr| {
        let [first, second, ..] = address.octets();
        address.is_private() || address.is_loopback() || (first == 100 && second & 0xc0 == 64)
    };
    match host.parse() {
        Ok(IpAddr::V4(address)) => v4(address),
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(mapped) => v4(mapped),
            None => address.is_loopback() || address.is_unique_local(),
        },
        Err(_) => {
            let host = host.to_ascii_lowercase();
            host == "localhost" || host.ends_with(".localhost")
        }
    }
}

/// What is written before a webhook's secret that is base64, as Standard Webhooks has it.
pub(crate) const WEBHOOK_SECRET_PREFIX: &str = "whsec_";

/// A webhook's secret: any text, or `whsec_` and base64 of the key. The message never shows it.
pub(crate) fn webhook_secret(text: &str) -> Result<(), String> {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !(limits::SECRET_CHARS_MIN..=limits::WEBHOOK_SECRET_BYTES_MAX).contains(&text.len()) || !is_visible {
        return Err(format!("must have {} to {} visible ASCII characters", limits::SECRET_CHARS_MIN, limits::WEBHOOK_SECRET_BYTES_MAX));
    }
    match webhook_key(text) {
        Some(_) => Ok(()),
        None => Err(format!("begins with {WEBHOOK_SECRET_PREFIX}, but what follows is no base64")),
    }
}

/// The key that deliveries are signed with: what `whsec_` stands before, decoded, else the text's own bytes.
pub fn webhook_key(secret: &str) -> Option<Vec<u8>> {
    match secret.strip_prefix(WEBHOOK_SECRET_PREFIX) {
        Some(text) => base64(text).filter(|key| !key.is_empty()),
        None => Some(secret.as_bytes().to_vec()),
    }
}

/// Standard base64; its padding may be missing.
fn base64(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.chunks(4) {
        if four.len() == 1 {
            return None;
        }
        let mut word = 0u32;
        for place in 0..4 {
            let digit = match four.get(place) {
                Some(letter) => LETTERS.iter().position(|known| known == letter)? as u32,
                None => 0,
            };
            word = (word << 6) | digit;
        }
        out.extend_from_slice(&word.to_be_bytes()[1..four.len()]);
    }
    Some(out)
}

fn host(authority: &str) -> Result<(), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']').ok_or("has an address without its ]")?;
            let address: Ipv6Addr = inside.parse().map_err(|_| format!("has no IPv6 address in {inside:?}"))?;
            reachable(IpAddr::V6(address))?;
            (inside, behind.strip_prefix(':').or(behind.is_empty().then_some("80")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("80")),
        },
    };
    if !port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Err("has a port that is none".into());
    }
    if authority.starts_with('[') { Ok(()) } else { named_host(host) }
}

fn named_host(host: &str) -> Result<(), String> {
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if host.len() > 253 || !host.trim_end_matches('.').split('.').all(label) {
        return Err(format!("has no host in {host:?}"));
    }
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.get(..2).is_some_and(|front| front.eq_ignore_ascii_case("0x"));
    if number {
        // resolvers read 2852039166 and 0xa9fea9fe as addresses: only the plain form is taken
        let address: Ipv4Addr = host.parse().map_err(|_| format!("has no IPv4 address in {host:?}"))?;
        return reachable(IpAddr::V4(address));
    }
    if host.trim_end_matches('.').eq_ignore_ascii_case("metadata.google.internal") { Err(METADATA.into()) } else { Ok(()) }
}

const METADATA: &str = "may not be an address of a cloud's metadata service or link-local";

/// What no provider is ever at (DESIGN §8); egress checks it again when it connects.
fn reachable(address: IpAddr) -> Result<(), String> {
    let v4 = |address: Ipv4Addr| {
        address.is_link_local() || address == Ipv4Addr::new(100, 100, 100, 200) || address.is_unspecified() || address.is_multicast()
    };
    let refused = match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => v4(mapped),
            None => {
                let aws = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
                address.is_unicast_link_local() || address == aws || address.is_unspecified() || address.is_multicast()
            }
        },
    };
    if refused { Err(METADATA.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::money::PICO;

    #[test]
    fn limits_are_exact() {
        assert_eq!(limit("500 USD"), Ok((Unit::Usd, 500 * PICO)));
        assert_eq!(limit("0.000001 USD"), Ok((Unit::Usd, 1_000_000)));
        assert_eq!(limit("1000 requests"), Ok((Unit::Requests, 1_000)));
        assert_eq!(limit("0 tokens"), Ok((Unit::Tokens, 0)));
        for bad in [
            "",
            "5",
            "5USD",
            "-5 USD",
            "5 EUR",
            "1.5 tokens",
            "+5 tokens",
            "9007199254740993 tokens",
            "1e3 USD",
            "100000000001 USD",
            "0.0000000000001 USD",
        ] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_and_durations() {
        assert_eq!((share_ppm("0.8"), share_ppm("1"), share_ppm("0.000001")), (Some(800_000), Some(1_000_000), Some(1)));
        assert!(["0", "1.1", "-0.5", "0.0000001", "80%", ""].iter().all(|bad| share_ppm(bad).is_none()));
        assert_eq!((duration_ms("10s"), duration_ms("250ms"), duration_ms("2m")), (Some(10_000), Some(250), Some(120_000)));
        assert!(
            ["", "s", "0s", "10", "1h", "1.5s", "-1s", "99999999999999999999s", "18446744073709551615m"]
                .iter()
                .all(|bad| duration_ms(bad).is_none())
        );
    }

    #[test]
    fn urls_are_plain_and_never_metadata() {
        for (text, clean) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("http://10.0.0.7:8000/v1/", "http://10.0.0.7:8000/v1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://localhost:4001/v1", "http://localhost:4001/v1"),
        ] {
            assert_eq!(base_url(text).as_deref(), Ok(clean));
        }
        for bad in [
            "",
            "api.openai.com",
            "ftp://x",
            "HTTPS//x",
            "https://",
            "https:///v1",
            "https://user:pass@x/v1",
            "https://x/v1?a=b",
            "https://x/v1#f",
            "https://x /v1",
            "https://x\\y",
            "https://x/../y",
            "https://ü.example",
            "https://x:0",
            "https://x:99999",
            "https://x:",
            "https://[::1",
            "https://[zz]",
            "http://169.254.169.254/latest",
            "http://2852039166",
            "http://0xa9fea9fe",
            "http://0251.0376.0251.0376",
            "http://[fe80::1]",
            "http://[::ffff:169.254.169.254]",
            "http://[fd00:ec2::254]",
            "http://metadata.google.internal./",
            "http://0.0.0.0",
            "https://a..b",
            "https://{call_id}.example",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn webhooks_go_out_encrypted_or_stay_inside() {
        for (url, operators, tenants) in [
            ("https://hooks.example/a/", true, true),
            ("http://hooks.example/a", false, false),
            ("http://127.0.0.1:9000/a", true, false),
            ("http://localhost:9000", true, false),
            ("https://10.1.2.3/a", true, false),
            ("https://[fd00::7]:9/a", true, false),
            ("https://[::ffff:192.168.0.9]/", true, false),
            ("http://8.8.8.8/a", false, false),
            ("https://169.254.169.254/latest", false, false),
            ("https://user:pass@hooks.example/a", false, false),
        ] {
            assert_eq!((webhook_url(url, false).is_ok(), webhook_url(url, true).is_ok()), (operators, tenants), "{url}");
        }
    }

    #[test]
    fn webhook_secrets_are_text_or_base64() {
        assert_eq!(webhook_key("plain secret").as_deref(), Some(&b"plain secret"[..]));
        for (text, key) in [("whsec_Zm9vYmFy", "foobar"), ("whsec_Zm9vYmE=", "fooba"), ("whsec_Zm9vYg", "foob")] {
            assert_eq!(webhook_key(text).as_deref(), Some(key.as_bytes()), "{text}");
        }
        assert!(webhook_secret("whsec_Zm9vYmFy").is_ok() && webhook_secret("whsec_!!!!").is_err() && webhook_secret("short").is_err());
    }

    #[test]
    fn names_and_secrets() {
        assert!(name("search-prod.v2").is_ok() && model_name("anthropic/*").is_ok() && model_name("gpt-4o").is_ok());
        assert!(["", "a b", "a/b", "a*", "a,b", "a\n"].iter().all(|bad| name(bad).is_err()) && name(&"a".repeat(129)).is_err());
        assert!(model_name("*a*").is_err() && model_name("a b").is_err());
        assert!(secret("12345678").is_ok() && secret(&"x".repeat(256)).is_ok());
        assert!(
            ["1234567", "1234 5678", "pässword", "tab\tbed1"].iter().all(|bad| secret(bad).is_err()) && secret(&"x".repeat(257)).is_err()
        );
        assert!(
            api_key("sk-x").is_ok()
                && api_key("").is_err()
                && api_key("a b").is_err()
                && api_key("keep").is_err()
                && secret("keep").is_err()
        );
        assert!(tag("team=a").is_ok() && ["team", "=a", "a=", "a=b c", "a=b,c=d"].iter().all(|bad| tag(bad).is_err()));
        assert!(header("x-call", "{call_id}").is_ok());
        assert!([("Authorization", "x"), ("x y", "z"), ("x", "a\r\nb"), ("", "")].iter().all(|(name, value)| header(name, value).is_err()));
    }
}
