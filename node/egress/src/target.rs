//! A provider's address made ready: parsed, checked, with its proxy and everything that each request repeats.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderValue, Uri, uri::PathAndQuery};
use rustls_pki_types::ServerName;

use crate::{
    fault::unsent,
    outbound::{Outbound, Proxy},
    port::{Stage, UpstreamAddress, WireFault},
    url::{BaseUrl, Host, check_url},
};

/// Whom connections lead to. Connections of equal keys may be used for each other's requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OriginKey {
    secure: bool,
    host: Host,
    port: u16,
    // A connection that the operator's rule allowed must not serve a tenant's URL.
    tenant_set: bool,
}

/// The way to an origin.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Dial it.
    Direct,
    /// Send the request to a proxy, in absolute form.
    Forward(Arc<Proxy>),
    /// Have a proxy open a tunnel.
    Tunnel(Arc<Proxy>),
}

/// One provider's address, ready for requests.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) url: BaseUrl,
    pub(crate) tenant_set: bool,
    pub(crate) route: Route,
    /// Set if the URL is `https`.
    pub(crate) server_name: Option<ServerName<'static>>,
    /// The `host` header.
    pub(crate) authority: HeaderValue,
    base_url: String,
}

impl Target {
    /// Checks the address by the URL rule and finds its way out.
    pub(crate) fn new(address: &UpstreamAddress, outbound: &Outbound) -> Result<Target, WireFault> {
        let refused = |reason: String| unsent(Stage::Refused, format!("base_url {reason}"));
        let url = check_url(&address.base_url, address.tenant_set).map_err(|fault| refused(fault.to_string()))?;
        let default_port = if url.secure { 443 } else { 80 };
        let authority = if url.port == default_port { url.host.to_string() } else { format!("{}:{}", url.host, url.port) };
        let route = match outbound.proxy_for(url.secure, &url.host, url.port) {
            None => Route::Direct,
            // A forwarding proxy would resolve a tenant's name by itself; through a tunnel it is given the address that passed.
            Some(proxy) if url.secure || address.tenant_set => Route::Tunnel(proxy.clone()),
            Some(proxy) => Route::Forward(proxy.clone()),
        };
        Ok(Target {
            server_name: url.secure.then(|| server_name(&url.host)).transpose()?,
            authority: HeaderValue::try_from(authority).map_err(|_| refused("has no valid host".to_owned()))?,
            tenant_set: address.tenant_set,
            route,
            base_url: address.base_url.clone(),
            url,
        })
    }

    /// Whether this is still what `address` says.
    pub(crate) fn is_of(&self, address: &UpstreamAddress) -> bool {
        self.tenant_set == address.tenant_set && self.base_url == address.base_url
    }

    pub(crate) fn key(&self) -> OriginKey {
        OriginKey { secure: self.url.secure, host: self.url.host.clone(), port: self.url.port, tenant_set: self.tenant_set }
    }

    /// The request's target for `path` behind the base URL: origin form, or absolute form for a forwarding proxy.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, WireFault> {
        let refused = || unsent(Stage::Refused, "the path of the request is not a valid one");
        if !path.starts_with('/') || path.contains('#') {
            return Err(refused());
        }
        let path = PathAndQuery::try_from(format!("{}{path}", self.url.path)).map_err(|_| refused())?;
        let Route::Forward(_) = self.route else { return Ok(Uri::from(path)) };
        Uri::builder().scheme("http").authority(self.authority.as_bytes()).path_and_query(path).build().map_err(|_| refused())
    }
}

/// The name or address that a certificate must be for.
pub(crate) fn server_name(host: &Host) -> Result<ServerName<'static>, WireFault> {
    match host {
        Host::Address(ip) => Ok(ServerName::from(IpAddr::to_canonical(ip))),
        Host::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_| unsent(Stage::Refused, "no certificate can be for this host name"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(base_url: &str, outbound: &Outbound) -> Result<Target, WireFault> {
        Target::new(&UpstreamAddress { id: 1, base_url: base_url.to_owned(), tenant_set: false }, outbound)
    }

    #[test]
    fn the_uri_is_the_base_and_the_path() {
        let out = Outbound::default();
        let uri = |base: &str, path: &str| target(base, &out).unwrap().uri(path).map(|uri| uri.to_string()).map_err(|fault| fault.stage);
        assert_eq!(uri("https://a.example/v1/", "/chat?x=1"), Ok("/v1/chat?x=1".to_owned()));
        assert_eq!(uri("https://a.example", "/v1/chat"), Ok("/v1/chat".to_owned()));
        for bad in ["chat", "", "/a b", "/a#b", "/a\r\nx: y"] {
            assert_eq!(uri("https://a.example", bad), Err(Stage::Refused), "{bad:?}");
        }
    }

    #[test]
    fn a_forwarding_proxy_gets_the_absolute_form() {
        let out = Outbound { http_proxy: Some(Arc::new(Proxy::parse("HTTP_PROXY", "p:3128").unwrap())), ..Outbound::default() };
        let plain = target("http://a.example:8000/v1", &out).unwrap();
        assert_eq!(plain.uri("/chat").unwrap().to_string(), "http://a.example:8000/v1/chat");
        assert_eq!(target("https://a.example/v1", &out).unwrap().uri("/chat").unwrap().to_string(), "/v1/chat");
    }

    #[test]
    fn the_host_header_names_a_port_that_is_not_the_default() {
        let out = Outbound::default();
        for (url, authority) in [
            ("https://a.example", "a.example"),
            ("https://a.example:443", "a.example"),
            ("http://a.example:443", "a.example:443"),
            ("http://[::1]:8000", "[::1]:8000"),
        ] {
            assert_eq!(target(url, &out).unwrap().authority, authority, "{url}");
        }
    }

    #[test]
    fn who_set_it_is_a_part_of_the_origin() {
        let out = Outbound::default();
        let key =
            |tenant_set| Target::new(&UpstreamAddress { id: 1, base_url: "https://a.example".into(), tenant_set }, &out).unwrap().key();
        assert_ne!(key(true), key(false));
        assert_eq!(key(true), key(true));
    }
}
