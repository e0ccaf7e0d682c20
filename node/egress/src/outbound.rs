//! How the process reaches the outside: proxies, what goes past them, roots of trust.

use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf, sync::Arc};

use http::HeaderValue;

use crate::{
    address::{inside_v4, inside_v6},
    url::{Host, parse_authority},
};

/// Settings of the process for everything that it dials.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// For `https://` providers, by CONNECT.
    pub https_proxy: Option<Arc<Proxy>>,
    /// For `http://` providers, by the absolute form.
    pub http_proxy: Option<Arc<Proxy>>,
    /// What goes past the proxies.
    pub no_proxy: NoProxy,
    /// A PEM bundle of further roots, beside the system's.
    pub extra_roots: Option<PathBuf>,
    /// Names whose addresses are given here and not asked from DNS. The URL rule holds for them all the same.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
}

/// A proxy as `HTTPS_PROXY` names it.
#[derive(Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Spoken to over TLS.
    pub secure: bool,
    /// Where it is.
    pub host: Host,
    /// Its port; from the scheme if the URL has none.
    pub port: u16,
    /// `Basic …` from the URL's user and password; marked as sensitive.
    pub authorization: Option<HeaderValue>,
}

/// The hosts that are dialled without a proxy.
#[derive(Clone, Debug, Default)]
pub struct NoProxy {
    all: bool,
    names: Vec<(String, Option<u16>)>,
    networks: Vec<(IpAddr, u32, Option<u16>)>,
}

/// A setting that cannot be used; names the variable, never its value, which may hold a password.
#[derive(Debug, PartialEq, Eq)]
pub struct OutboundFault {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for OutboundFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.reason)
    }
}

impl std::error::Error for OutboundFault {}

impl Outbound {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` (in lower case first) and `SSL_CERT_FILE` through `vars`.
    pub fn from_vars(vars: impl Fn(&str) -> Option<String>) -> Result<Outbound, OutboundFault> {
        let read = |names: &[&'static str]| {
            names.iter().find_map(|name| vars(name).map(|value| (*name, value.trim().to_owned())).filter(|(_, value)| !value.is_empty()))
        };
        let all = read(&["all_proxy", "ALL_PROXY"]);
        let proxy = |names: &[&'static str]| {
            read(names).or_else(|| all.clone()).map(|(variable, value)| Proxy::parse(variable, &value).map(Arc::new)).transpose()
        };
        Ok(Outbound {
            https_proxy: proxy(&["https_proxy", "HTTPS_PROXY"])?,
            http_proxy: proxy(&["http_proxy", "HTTP_PROXY"])?,
            no_proxy: read(&["no_proxy", "NO_PROXY"]).map(|(_, value)| NoProxy::parse(&value)).unwrap_or_default(),
            extra_roots: read(&["SSL_CERT_FILE"]).map(|(_, value)| PathBuf::from(value)),
            hosts: BTreeMap::new(),
        })
    }

    /// The proxy for a provider at `host`:`port`, if it is to be reached through one.
    pub fn proxy_for(&self, secure: bool, host: &Host, port: u16) -> Option<&Arc<Proxy>> {
        let proxy = if secure { &self.https_proxy } else { &self.http_proxy };
        proxy.as_ref().filter(|_| !self.no_proxy.covers(host, port))
    }
}

impl Proxy {
    /// Parses `[http[s]://][user[:password]@]host[:port][/]`; `variable` is named if it cannot be.
    pub fn parse(variable: &'static str, text: &str) -> Result<Proxy, OutboundFault> {
        let fault = |reason| OutboundFault { variable, reason };
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            scheme if scheme.starts_with("socks") => {
                return Err(fault("names a SOCKS proxy; only http:// and https:// proxies are spoken to"));
            }
            _ => return Err(fault("must begin with http:// or https://")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (userinfo, authority) = rest.rsplit_once('@').map_or((None, rest), |(userinfo, authority)| (Some(userinfo), authority));
        let (host, port) = parse_authority(authority).map_err(|_| fault("has no valid host and port"))?;
        let authorization = userinfo.map(|userinfo| basic(userinfo).ok_or(fault("has a badly escaped user or password"))).transpose()?;
        Ok(Proxy { secure, host, port: port.unwrap_or(if secure { 443 } else { 80 }), authorization })
    }
}

impl NoProxy {
    /// Parses a list, separated by commas or spaces, of `*`, names (which cover what is below them), addresses and networks,
    /// each with a port if only that one is meant. What is none of these covers nothing.
    pub fn parse(text: &str) -> NoProxy {
        let mut list = NoProxy::default();
        for entry in text.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
            list.add(entry);
        }
        list
    }

    fn add(&mut self, entry: &str) {
        if entry == "*" {
            self.all = true;
        } else if let Some((net, bits)) = parse_network(entry) {
            self.networks.push((net, bits, None));
        } else if let Ok(ip) = entry.parse::<IpAddr>() {
            self.networks.push((ip.to_canonical(), 128, None));
        } else {
            let below = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')).unwrap_or(entry);
            match parse_authority(below) {
                Ok((Host::Name(name), port)) => self.names.push((name, port)),
                Ok((Host::Address(ip), port)) => self.networks.push((ip.to_canonical(), 128, port)),
                Err(_) => {}
            }
        }
    }

    /// Whether `host`:`port` goes past the proxies. The machine itself always does: elsewhere it is another one.
    pub fn covers(&self, host: &Host, port: u16) -> bool {
        let meant = |only: &Option<u16>| only.is_none_or(|only| only == port);
        let listed = match host {
            Host::Name(name) => {
                name == "localhost"
                    || name.ends_with(".localhost")
                    || self.names.iter().any(|(suffix, only)| meant(only) && is_below(name, suffix))
            }
            Host::Address(ip) => {
                let ip = ip.to_canonical();
                ip.is_loopback() || self.networks.iter().any(|(net, bits, only)| meant(only) && is_inside(ip, *net, *bits))
            }
        };
        self.all || listed
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_inside(ip: IpAddr, net: IpAddr, bits: u32) -> bool {
    match (ip, net) {
        (IpAddr::V4(ip), IpAddr::V4(net)) => inside_v4(ip, net, bits),
        (IpAddr::V6(ip), IpAddr::V6(net)) => inside_v6(ip, net, bits),
        _ => false,
    }
}

fn parse_network(entry: &str) -> Option<(IpAddr, u32)> {
    let (net, bits) = entry.split_once('/')?;
    let net: IpAddr = net.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    (bits <= if net.is_ipv4() { 32 } else { 128 }).then_some((net, bits))
}

/// `Basic …` of `user[:password]` with its percent escapes undone.
fn basic(userinfo: &str) -> Option<HeaderValue> {
    let mut plain = unescape(userinfo)?;
    if !userinfo.contains(':') {
        plain.push(b':');
    }
    let mut value = HeaderValue::from_str(&format!("Basic {}", base64(&plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            plain.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            plain.push(byte);
        }
    }
    Some(plain)
}

/// Standard base64 with padding; once a proxy, so a dependency is not worth it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().chain([0, 0].iter()).take(3).fold(0_usize, |word, byte| (word << 8) | usize::from(*byte));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place)) & 63];
            text.push(if place > three.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<Outbound, OutboundFault> {
        Outbound::from_vars(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn name(name: &str) -> Host {
        Host::Name(name.to_owned())
    }

    #[test]
    fn lower_case_wins_and_all_is_the_fallback() {
        let out = from(&[("https_proxy", "http://a:1"), ("HTTPS_PROXY", "http://b:2"), ("ALL_PROXY", "http://c:3")]).unwrap();
        assert_eq!(out.https_proxy.unwrap().host, name("a"));
        assert_eq!(out.http_proxy.unwrap().port, 3);
        let out = from(&[("HTTPS_PROXY", "  "), ("SSL_CERT_FILE", "/x/ca.pem")]).unwrap();
        assert!(out.https_proxy.is_none() && out.http_proxy.is_none());
        assert_eq!(out.extra_roots.unwrap(), PathBuf::from("/x/ca.pem"));
    }

    #[test]
    fn proxies_in_every_spelling() {
        let proxy = |text| Proxy::parse("HTTPS_PROXY", text);
        assert_eq!(proxy("proxy:3128").unwrap(), Proxy { secure: false, host: name("proxy"), port: 3128, authorization: None });
        assert_eq!(proxy("https://Proxy.corp/").unwrap(), Proxy { secure: true, host: name("proxy.corp"), port: 443, authorization: None });
        let with = proxy("http://user%40corp:p%3Ass@10.0.0.1:8080").unwrap();
        let authorization = with.authorization.unwrap();
        assert_eq!(authorization, format!("Basic {}", base64(b"user@corp:p:ss")));
        assert!(authorization.is_sensitive());
        assert_eq!(proxy("http://user@p:1").unwrap().authorization.unwrap(), "Basic dXNlcjo=");
        for bad in ["socks5://p:1", "ftp://p:1", "http://", "http://p:0", "http://u%4@p:1", "http://p/path"] {
            assert!(proxy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fault_never_shows_the_password() {
        let fault = from(&[("HTTPS_PROXY", "http://user:secret@bad host")]).unwrap_err();
        assert_eq!(fault.to_string(), "HTTPS_PROXY has no valid host and port");
    }

    #[test]
    fn base64_of_all_lengths() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")] {
            assert_eq!(base64(plain.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xfe]), "/+/+");
    }

    #[test]
    fn what_goes_past_the_proxy() {
        let list = NoProxy::parse(
            "corp.example, .below.example *.star.example,10.0.0.0/8 192.168.1.5,api.example:8443,[fd00::1]:80,fd01::/16,junk/99,/",
        );
        let host = |text: &str| text.parse::<IpAddr>().map_or_else(|_| name(text), Host::Address);
        for (text, port) in [
            ("corp.example", 443),
            ("a.corp.example", 80),
            ("x.below.example", 1),
            ("below.example", 1),
            ("a.star.example", 1),
            ("10.200.0.1", 1),
            ("::ffff:10.1.1.1", 1),
            ("192.168.1.5", 1),
            ("api.example", 8443),
            ("fd00::1", 80),
            ("fd01::7", 9),
            ("localhost", 8000),
            ("127.0.0.1", 8000),
            ("::1", 8000),
        ] {
            assert!(list.covers(&host(text), port), "{text}:{port}");
        }
        for (text, port) in [
            ("notcorp.example", 443),
            ("corp.example.evil", 443),
            ("11.0.0.1", 1),
            ("192.168.1.6", 1),
            ("api.example", 443),
            ("fd00::1", 81),
        ] {
            assert!(!list.covers(&host(text), port), "{text}:{port}");
        }
        assert!(NoProxy::parse("*").covers(&name("anything.example"), 443));
        assert!(!NoProxy::default().covers(&name("anything.example"), 443));
        assert!(NoProxy::parse("0.0.0.0/0").covers(&host("8.8.8.8"), 443));
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let out = from(&[("HTTPS_PROXY", "http://s:1"), ("HTTP_PROXY", "http://p:2"), ("NO_PROXY", "inside.example")]).unwrap();
        let port = |secure, host: &str| out.proxy_for(secure, &name(host), 443).map(|proxy| proxy.port);
        assert_eq!(port(true, "api.example"), Some(1));
        assert_eq!(port(false, "api.example"), Some(2));
        assert_eq!(port(true, "inside.example"), None);
        assert_eq!(port(true, "localhost"), None);
    }
}
