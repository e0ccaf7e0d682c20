//! The base URL of a provider: parsed and held against the URL rule (DESIGN §8), without looking anything up.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::address::{Reach, reach};

/// Longest base URL, in bytes: nobody's is a tenth of it.
pub const URL_BYTES_MAX: usize = 2_048;
/// Longest host name, in bytes (RFC 1035).
const NAME_BYTES_MAX: usize = 253;
/// Longest label of a host name, in bytes (RFC 1035).
const LABEL_BYTES_MAX: usize = 63;

/// Names under which clouds serve machine credentials.
const METADATA_NAMES: [&str; 8] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
    "instance-data",
    "instance-data.ec2.internal",
];

/// A base URL that passed the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// `https`, or else `http`.
    pub secure: bool,
    /// Whom to dial.
    pub host: Host,
    /// The port, from the URL or the scheme.
    pub port: u16,
    /// What stands before every path, without a slash at its end: empty or `/v1`.
    pub path: String,
}

/// A host as a URL names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// In lower case, without a final dot.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// Why a URL is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlFault {
    /// Longer than [`URL_BYTES_MAX`].
    TooLong,
    /// Has spaces, control characters, backslashes or letters outside ASCII.
    Characters,
    /// Neither `http://` nor `https://`.
    Scheme,
    /// Has a user or password before the host.
    Userinfo,
    /// Has a query.
    Query,
    /// Has a fragment.
    Fragment,
    /// Has no host, or one that is neither a name nor an address.
    Host,
    /// Has a port that is not between 1 and 65535.
    Port,
    /// Has a path that climbs or is badly escaped.
    Path,
    /// Leads to a metadata service, which nobody may dial.
    Metadata,
    /// Leads to a private address, which a tenant may not dial.
    Private,
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlFault::TooLong => "is longer than 2048 bytes",
            UrlFault::Characters => "has characters that a URL may not have",
            UrlFault::Scheme => "must begin with http:// or https://",
            UrlFault::Userinfo => "must not carry a user or password; use the provider's key",
            UrlFault::Query => "must not have a query",
            UrlFault::Fragment => "must not have a fragment",
            UrlFault::Host => "has no valid host",
            UrlFault::Port => "has no valid port",
            UrlFault::Path => "has a path with dot segments or bad escapes",
            UrlFault::Metadata => "leads to a link-local or metadata address, which is never allowed",
            UrlFault::Private => "leads to a private address, which a tenant may not use",
        })
    }
}

impl std::error::Error for UrlFault {}

/// Parses a base URL and holds it against the rule for who set it. Names are not resolved: the addresses that they turn out to
/// have are held against the same rule when they are dialled.
pub fn check_url(url: &str, tenant_set: bool) -> Result<BaseUrl, UrlFault> {
    let parsed = parse(url)?;
    match &parsed.host {
        Host::Name(name) => check_name(name, tenant_set)?,
        Host::Address(ip) => match reach(*ip) {
            Reach::Metadata => return Err(UrlFault::Metadata),
            Reach::Private if tenant_set => return Err(UrlFault::Private),
            Reach::Private | Reach::Public => {}
        },
    }
    Ok(parsed)
}

fn check_name(name: &str, tenant_set: bool) -> Result<(), UrlFault> {
    if METADATA_NAMES.contains(&name) {
        return Err(UrlFault::Metadata);
    }
    let local = name == "localhost" || name.ends_with(".localhost");
    if tenant_set && local { Err(UrlFault::Private) } else { Ok(()) }
}

fn parse(url: &str) -> Result<BaseUrl, UrlFault> {
    if url.len() > URL_BYTES_MAX {
        return Err(UrlFault::TooLong);
    }
    if !url.bytes().all(|b| b.is_ascii_graphic() && !br#"\"<>^`{|}"#.contains(&b)) {
        return Err(UrlFault::Characters);
    }
    let (scheme, rest) = url.split_once("://").ok_or(UrlFault::Scheme)?;
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return Err(UrlFault::Scheme),
    };
    if rest.contains('#') {
        return Err(UrlFault::Fragment);
    }
    if rest.contains('?') {
        return Err(UrlFault::Query);
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    if authority.contains('@') {
        return Err(UrlFault::Userinfo);
    }
    let (host, port) = parse_authority(authority)?;
    Ok(BaseUrl { secure, host, port: port.unwrap_or(if secure { 443 } else { 80 }), path: checked_path(path)? })
}

/// Splits `host[:port]`; also what a proxy's address is made of.
pub(crate) fn parse_authority(authority: &str) -> Result<(Host, Option<u16>), UrlFault> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']').ok_or(UrlFault::Host)?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| UrlFault::Host)?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(UrlFault::Host)?) };
        (Host::Address(IpAddr::V6(ip)), port)
    } else {
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        (parse_host(host)?, port)
    };
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, UrlFault> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(UrlFault::Port),
    }
}

/// A name or a dotted address. What resolvers read as a number in another spelling (`127.1`, `0x7f000001`) is neither.
fn parse_host(text: &str) -> Result<Host, UrlFault> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let labels_fit = name.split('.').all(|label| {
        let fits = (1..=LABEL_BYTES_MAX).contains(&label.len());
        fits && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    });
    if !labels_fit || name.len() > NAME_BYTES_MAX {
        return Err(UrlFault::Host);
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|b| b.is_ascii_digit()) {
        let ip: Ipv4Addr = name.parse().map_err(|_| UrlFault::Host)?;
        return Ok(Host::Address(IpAddr::V4(ip)));
    }
    Ok(Host::Name(name))
}

fn checked_path(path: &str) -> Result<String, UrlFault> {
    let path = path.trim_end_matches('/');
    let bytes = path.as_bytes();
    let escapes_hold = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'%')
        .all(|(at, _)| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)));
    let climbs = path.split('/').any(|segment| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | ".."));
    if escapes_hold && !climbs { Ok(path.to_owned()) } else { Err(UrlFault::Path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(secure: bool, host: Host, port: u16, path: &str) -> BaseUrl {
        BaseUrl { secure, host, port, path: path.to_owned() }
    }

    #[test]
    fn what_anybody_may_set() {
        let name = |name: &str| Host::Name(name.to_owned());
        let v6 = Host::Address("2606:4700::1111".parse().unwrap());
        let table = [
            ("https://api.openai.com/v1", url(true, name("api.openai.com"), 443, "/v1")),
            ("https://api.openai.com/v1/", url(true, name("api.openai.com"), 443, "/v1")),
            ("HTTPS://API.Example.COM.", url(true, name("api.example.com"), 443, "")),
            ("http://x_y-z.example:8080/a/b%20c", url(false, name("x_y-z.example"), 8080, "/a/b%20c")),
            ("http://1.1.1.1/v1", url(false, Host::Address("1.1.1.1".parse().unwrap()), 80, "/v1")),
            ("https://[2606:4700::1111]:444", url(true, v6, 444, "")),
        ];
        for (text, expected) in table {
            assert_eq!(check_url(text, true), Ok(expected.clone()), "{text}");
            assert_eq!(check_url(text, false), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_nobody_may_set() {
        let table = [
            (UrlFault::Scheme, "ftp://a.example file:///etc/passwd api.openai.com/v1 //a.example :// gopher://a https:/a.example"),
            (UrlFault::Userinfo, "https://user@a.example https://u:p@a.example https://@a.example https://a.example:443@b.example/"),
            (UrlFault::Query, "https://a.example?x https://a.example/v1?api-version=1 https://a?@b/"),
            (UrlFault::Fragment, "https://a.example#x https://a.example/v1#"),
            (
                UrlFault::Host,
                "https:// https:///v1 https://a..b https://.a https://[::1 https://[::1]x https://[fe80::1%25eth0] https://%31/",
            ),
            (
                UrlFault::Host,
                "http://127.1 http://2130706433 http://0x7f000001 http://0177.0.0.1 http://1.2.3.4.5 http://256.1.1.1 http://0x/",
            ),
            (UrlFault::Port, "http://a: http://a:0 http://a:65536 http://a:+80 http://a:8o http://a:80:80 http://[::1]: http://::1/"),
            (UrlFault::Path, "http://a/../b http://a/v1/.. http://a/%2e%2E/b http://a/./ http://a/%zz http://a/%4"),
            (UrlFault::Metadata, "http://169.254.169.254/latest http://metadata.google.internal/x http://METADATA. http://[fe80::1]/"),
            (UrlFault::Metadata, "http://[fd00:ec2::254]/ http://[::ffff:169.254.169.254] http://instance-data:80 http://100.100.100.200"),
        ];
        for (fault, urls) in table {
            for text in urls.split(' ') {
                assert_eq!(check_url(text, false).unwrap_err(), expected_of(text, fault), "{text}");
                assert_eq!(check_url(text, true).unwrap_err(), expected_of(text, fault), "{text}");
            }
        }
        for text in ["https://a b/", "https://a\\b/", "https://a\n.example", "https://ä.example", "https://a/{x}", "https://a/\u{7f}"] {
            assert_eq!(check_url(text, false), Err(UrlFault::Characters), "{text:?}");
        }
        assert_eq!(check_url(&format!("https://a/{}", "x".repeat(URL_BYTES_MAX)), false), Err(UrlFault::TooLong));
        assert_eq!(check_url(&format!("https://{}/", "x".repeat(64)), false), Err(UrlFault::Host));
    }

    /// `http://::1/` is split at its first colon: no host before it.
    fn expected_of(text: &str, fault: UrlFault) -> UrlFault {
        if text == "http://::1/" { UrlFault::Host } else { fault }
    }

    #[test]
    fn what_only_the_operator_may_set() {
        let urls = "http://127.0.0.1:9000/v1 http://localhost:8000 http://a.localhost http://10.0.0.7:8000/v1 http://192.168.1.1 http://[::1]:1 \
                    http://0.0.0.0:80 http://[::ffff:10.0.0.1] http://[fd00::1] http://100.64.0.1 http://224.0.0.1 http://LocalHost.";
        for text in urls.split_whitespace() {
            assert_eq!(check_url(text, true), Err(UrlFault::Private), "{text}");
            assert!(check_url(text, false).is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn mapped_addresses_are_no_way_around(bits in any::<u32>(), port in 1..=u16::MAX, tenant_set in any::<bool>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            let plain = check_url(&format!("http://{v4}:{port}/v1"), tenant_set).map(|url| (url.port, url.path));
            let mapped = check_url(&format!("http://[{}]:{port}/v1", v4.to_ipv6_mapped()), tenant_set).map(|url| (url.port, url.path));
            prop_assert_eq!(plain, mapped);
        }

        #[test]
        fn no_text_panics_and_what_passes_is_clean(text in "(https?://)?[ -~]{0,40}") {
            if let Ok(url) = check_url(&text, true) {
                prop_assert!(url.port > 0);
                prop_assert!(url.path.is_empty() || url.path.starts_with('/'));
                prop_assert!(!url.host.to_string().contains(['@', '/', '#', '?', ' ']));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>(), tenant_set in any::<bool>()) {
            let _ = check_url(&text, tenant_set);
        }
    }
}
