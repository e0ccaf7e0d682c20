//! From a target to a stream that carries bytes: name, rule, TCP, proxy, TLS, all within one deadline.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

use crate::{
    address::permitted,
    fault::{chain, unsent},
    outbound::{Outbound, Proxy},
    port::{Stage, WireFault},
    stream::Stream,
    target::{Route, Target, server_name},
    tunnel,
    url::Host,
};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// An attempt that takes longer than this no longer keeps the next address waiting (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Opens a stream to the target within `deadline`, TLS included.
pub(crate) async fn open(outbound: &Outbound, tls: &Arc<ClientConfig>, target: &Target, deadline: Duration) -> Result<Stream, WireFault> {
    let mut stage = Stage::Connect;
    let dialled = tokio::time::timeout(deadline, establish(outbound, tls, target, &mut stage)).await;
    dialled.unwrap_or_else(|_| Err(unsent(stage, format!("no connection within {} ms", deadline.as_millis()))))
}

async fn establish(outbound: &Outbound, tls: &Arc<ClientConfig>, target: &Target, stage: &mut Stage) -> Result<Stream, WireFault> {
    let stream = match &target.route {
        Route::Direct => {
            let addresses = resolve(outbound, &target.url.host, target.url.port, target.tenant_set).await?;
            Stream::Tcp(connect(addresses).await.map_err(|error| unsent(Stage::Connect, format!("connect: {error}")))?)
        }
        Route::Forward(proxy) => to_proxy(outbound, tls, proxy, stage).await?,
        Route::Tunnel(proxy) => {
            let authority = checked_authority(outbound, target).await?;
            let mut stream = to_proxy(outbound, tls, proxy, stage).await?;
            *stage = Stage::Connect;
            tunnel::ask(&mut stream, &authority, proxy.authorization.as_ref()).await?;
            stream
        }
    };
    match &target.server_name {
        Some(name) => handshake(tls, name.clone(), stream, stage).await,
        None => Ok(stream),
    }
}

async fn to_proxy(outbound: &Outbound, tls: &Arc<ClientConfig>, proxy: &Proxy, stage: &mut Stage) -> Result<Stream, WireFault> {
    let addresses = resolve(outbound, &proxy.host, proxy.port, false).await?;
    let tcp = connect(addresses).await.map_err(|error| unsent(Stage::Connect, format!("connect to the proxy: {error}")))?;
    if proxy.secure { handshake(tls, server_name(&proxy.host)?, Stream::Tcp(tcp), stage).await } else { Ok(Stream::Tcp(tcp)) }
}

/// What the proxy is asked for. The operator's names are resolved by the proxy; a tenant's are resolved here, so that the rule
/// can be held against their addresses, and the proxy is given the address that passed.
async fn checked_authority(outbound: &Outbound, target: &Target) -> Result<String, WireFault> {
    if !target.tenant_set {
        return Ok(format!("{}:{}", target.url.host, target.url.port));
    }
    let addresses = resolve(outbound, &target.url.host, target.url.port, true).await?;
    addresses.first().map(SocketAddr::to_string).ok_or_else(|| unsent(Stage::Connect, "the name has no address"))
}

async fn handshake(tls: &Arc<ClientConfig>, name: ServerName<'static>, stream: Stream, stage: &mut Stage) -> Result<Stream, WireFault> {
    *stage = Stage::Tls;
    let secured = TlsConnector::from(tls.clone()).connect(name, stream).await;
    secured.map(|tls| Stream::Tls(Box::new(tls))).map_err(|error| unsent(Stage::Tls, format!("TLS: {}", chain(&error))))
}

/// The addresses of a host that the rule lets pass, never none. Whoever dials takes these and does not ask again: a name could
/// lead elsewhere the second time.
async fn resolve(outbound: &Outbound, host: &Host, port: u16, tenant_set: bool) -> Result<Vec<SocketAddr>, WireFault> {
    let found = look_up(outbound, host, port).await?;
    let none_found = found.is_empty();
    let mut passed: Vec<SocketAddr> = found.into_iter().filter(|address| permitted(address.ip(), tenant_set)).collect();
    if none_found {
        return Err(unsent(Stage::Connect, "the name has no address"));
    }
    if passed.is_empty() {
        // Which address it was stays unsaid: a tenant could map the inside with it.
        return Err(unsent(Stage::Refused, "the name leads to an address that may not be dialled"));
    }
    interleave(&mut passed);
    passed.truncate(ADDRESSES_MAX);
    Ok(passed)
}

async fn look_up(outbound: &Outbound, host: &Host, port: u16) -> Result<Vec<SocketAddr>, WireFault> {
    match host {
        Host::Address(ip) => Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => {
            if let Some(given) = outbound.hosts.get(name) {
                return Ok(given.iter().map(|ip| SocketAddr::new(*ip, port)).collect());
            }
            let found = tokio::net::lookup_host((name.as_str(), port)).await;
            found.map(Iterator::collect).map_err(|error| unsent(Stage::Connect, format!("DNS: {error}")))
        }
    }
}

/// Lets the families take turns, the resolver's first one first: one family without a route then costs one wait, not many.
fn interleave(addresses: &mut Vec<SocketAddr>) {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else { return };
    let (mut ours, mut others): (Vec<_>, Vec<_>) = addresses.drain(..).partition(|address| address.is_ipv4() == first);
    ours.reverse();
    others.reverse();
    while !ours.is_empty() || !others.is_empty() {
        addresses.extend(ours.pop());
        addresses.extend(others.pop());
    }
}

/// The first of the addresses that answers. Each has a head start over the next; a refusal ends it.
async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [only] = addresses[..] {
        return connect_one(only).await;
    }
    let mut waiting = addresses.into_iter();
    let mut running = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address to connect to");
    loop {
        if let Some(address) = waiting.next() {
            running.spawn(connect_one(address));
        }
        let joined = if waiting.len() > 0 {
            match tokio::time::timeout(NEXT_ADDRESS_AFTER, running.join_next()).await {
                Ok(joined) => joined,
                Err(_) => continue,
            }
        } else {
            running.join_next().await
        };
        match joined {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last = error,
            Some(Err(error)) => last = io::Error::other(error),
            None => return Err(last),
        }
    }
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request is written whole; waiting to fill a packet only delays its last part.
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Sent;
    use std::net::IpAddr;

    fn hosts(name: &str, addresses: &[&str]) -> Outbound {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Outbound { hosts: [(name.to_owned(), addresses)].into(), ..Outbound::default() }
    }

    fn name(name: &str) -> Host {
        Host::Name(name.to_owned())
    }

    #[tokio::test]
    async fn a_name_is_held_to_the_rule_by_its_addresses() {
        let inside = hosts("rebind.example", &["10.0.0.7", "::ffff:127.0.0.1"]);
        let fault = resolve(&inside, &name("rebind.example"), 80, true).await.unwrap_err();
        assert_eq!((fault.stage, fault.sent), (Stage::Refused, Sent::No));
        assert!(!fault.message.contains("10.0.0.7"), "{fault}");
        assert_eq!(resolve(&inside, &name("rebind.example"), 80, false).await.unwrap().len(), 2);
        let metadata = hosts("meta.example", &["169.254.169.254", "fe80::1"]);
        assert_eq!(resolve(&metadata, &name("meta.example"), 80, false).await.unwrap_err().stage, Stage::Refused);
    }

    #[tokio::test]
    async fn only_what_passed_is_dialled() {
        let mixed = hosts("mixed.example", &["127.0.0.1", "1.1.1.1", "fd00::1", "2606:4700::1111"]);
        let passed = resolve(&mixed, &name("mixed.example"), 443, true).await.unwrap();
        assert_eq!(passed, ["1.1.1.1:443".parse().unwrap(), "[2606:4700::1111]:443".parse().unwrap()]);
    }

    #[tokio::test]
    async fn real_names_are_looked_up() {
        let found = resolve(&Outbound::default(), &name("localhost"), 7, false).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 7));
        // The rule holds for what the resolver says, too.
        assert_eq!(resolve(&Outbound::default(), &name("localhost"), 7, true).await.unwrap_err().stage, Stage::Refused);
        let fault = resolve(&Outbound::default(), &name("no-such-name.invalid"), 7, false).await.unwrap_err();
        assert_eq!((fault.stage, fault.sent), (Stage::Connect, Sent::No));
    }

    #[test]
    fn families_take_turns() {
        let parse = |list: &str| list.split(' ').map(|text| SocketAddr::new(text.parse().unwrap(), 1)).collect::<Vec<_>>();
        let mut addresses = parse("::1 ::2 ::3 1.1.1.1 2.2.2.2");
        interleave(&mut addresses);
        assert_eq!(addresses, parse("::1 1.1.1.1 ::2 2.2.2.2 ::3"));
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let dead = {
            let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            closed.local_addr().unwrap()
        };
        assert_eq!(connect(vec![dead, alive]).await.unwrap().peer_addr().unwrap(), alive);
        assert_eq!(connect(vec![dead, dead]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
