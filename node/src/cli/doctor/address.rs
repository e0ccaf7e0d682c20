//! Addresses: free, or a node answers there.

use super::{Answer, Asker, Check, Flags, clock::Dated, fail, ok, warn};
use crate::threads::probe;
use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// And what the node's clock says, if one answers.
pub fn check(flags: &Flags, asker: &Asker) -> (Option<Dated>, Vec<Check>) {
    let (mut node, mut checks) = (None, Vec::new());
    for address in [Some(flags.listen), flags.admin_listen].into_iter().flatten() {
        let (dated, check) = one(address, asker);
        node = node.or(dated);
        checks.push(check);
    }
    (node, checks)
}

fn one(address: SocketAddr, asker: &Asker) -> (Option<Dated>, Check) {
    match probe(address) {
        Ok(_) => (None, ok(format!("{address} is free"))),
        Err(error) if error.kind() == ErrorKind::AddrInUse => taken(address, asker),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            (None, fail(format!("{address}: {error}"), "choose a port from 1024 on, or give the binary CAP_NET_BIND_SERVICE"))
        }
        Err(error) => (None, fail(format!("{address}: {error}"), "choose an address of this machine with --listen")),
    }
}

fn taken(address: SocketAddr, asker: &Asker) -> (Option<Dated>, Check) {
    let url = format!("http://{}", reached(address));
    let stranger = || fail(format!("{address} is taken by something that is no node"), "stop it, or choose another address with --listen");
    let Ok(ready) = asker.get(&url, "/readyz") else { return (None, stranger()) };
    let said: serde_json::Value = serde_json::from_slice(&ready.body).unwrap_or_default();
    // its figures may be at the administration's own address
    let version = asker.get(&url, "/metrics").ok().and_then(|answer| version(&answer));
    let version = match version {
        Some(version) => format!(", version {version}"),
        None if said["status"].is_string() => String::new(),
        None => return (None, stranger()),
    };
    let dated = Dated::of(format!("the node at {address}"), &ready);
    if ready.status.is_success() {
        return (dated, ok(format!("{address}: a node answers{version}, ready")));
    }
    let why = said["reason"].as_str().unwrap_or("it does not say why").to_owned();
    (dated, warn(format!("{address}: a node answers{version}, and takes no calls: {why}"), "its lines on standard error say more"))
}

/// A node says it beside its figures.
fn version(figures: &Answer) -> Option<String> {
    let text = String::from_utf8_lossy(&figures.body);
    let line = text.lines().find(|line| line.starts_with("tollgate_build_info{"))?;
    Some(line.split_once("version=\"")?.1.split('"').next()?.to_owned())
}

/// Where one that listens on every address is reached.
fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
