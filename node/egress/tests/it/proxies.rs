//! Proxies: tunnels, the absolute form, and what they may not get around.

use std::sync::{Arc, Mutex};

use egress::{
    Outbound, Proxy,
    port::{Sent, Stage, UpstreamAddress},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::{support::*, tls::Authority};

/// The heads that a proxy was given.
type Heads = Arc<Mutex<Vec<String>>>;

/// Joins the client to `origin`, whatever it asked for.
async fn tunnel(mut client: impl AsyncRead + AsyncWrite + Unpin, origin: std::net::SocketAddr, heads: Heads) {
    let Some((head, _)) = read_request(&mut client).await else { return };
    heads.lock().unwrap().push(head);
    let mut origin = TcpStream::connect(origin).await.unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n").await.unwrap();
    client.flush().await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut client, &mut origin).await;
}

async fn tunnelling_proxy(origin: std::net::SocketAddr) -> (Server, Heads) {
    let heads = Heads::default();
    let kept = heads.clone();
    (serve(move |stream, _| tunnel(stream, origin, kept.clone())).await, heads)
}

fn proxy(url: &str) -> Option<Arc<Proxy>> {
    Some(Arc::new(Proxy::parse("HTTPS_PROXY", url).unwrap()))
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let authority = Authority::new(&["api.example"]);
    let origin = authority.serve("through").await;
    let (server, heads) = tunnelling_proxy(origin.address).await;
    let outbound = Outbound { https_proxy: proxy(&format!("http://user:p%40ss@{}", server.address)), ..authority.trusted() };
    let egress = egress_with(outbound);
    for _ in 0..3 {
        assert_eq!(post(&egress, "https://api.example/v1").await, "through");
    }
    let heads = heads.lock().unwrap();
    assert_eq!((heads.len(), server.accepted()), (1, 1), "the tunnel is kept");
    assert!(heads[0].starts_with("CONNECT api.example:443 HTTP/1.1\r\n"), "{}", heads[0]);
    assert_eq!(header(&heads[0], "host"), Some("api.example:443"));
    assert_eq!(header(&heads[0], "proxy-authorization"), Some("Basic dXNlcjpwQHNz"));
    assert_eq!(header(&heads[0], "authorization"), None, "the provider's key is not the proxy's business");
}

#[tokio::test]
async fn a_proxy_may_itself_be_spoken_to_over_tls() {
    let authority = Authority::new(&["127.0.0.1", "api.example"]);
    let origin = authority.serve("twice").await;
    let (acceptor, address) = (authority.acceptor.clone(), origin.address);
    let server = serve(move |stream, _| {
        let acceptor = acceptor.clone();
        async move { tunnel(acceptor.accept(stream).await.unwrap(), address, Heads::default()).await }
    })
    .await;
    let outbound = Outbound { https_proxy: proxy(&format!("https://{}", server.address)), ..authority.trusted() };
    assert_eq!(post(&egress_with(outbound), "https://api.example/v1").await, "twice");
}

#[tokio::test]
async fn http_goes_in_absolute_form() {
    let seen = Heads::default();
    let kept = seen.clone();
    let server = serve(move |mut stream, _| {
        let kept = kept.clone();
        async move {
            while let Some((head, _)) = read_request(&mut stream).await {
                kept.lock().unwrap().push(head);
                stream.write_all(ok("hi").as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let outbound = Outbound { http_proxy: proxy(&format!("http://u:p@{}", server.address)), ..Outbound::default() };
    let egress = egress_with(outbound);
    assert_eq!(post(&egress, "http://models.example:8000/v1").await, "hi");
    assert_eq!(post(&egress, "http://models.example:8000/v1").await, "hi");
    let heads = seen.lock().unwrap();
    assert_eq!((heads.len(), server.accepted()), (2, 1));
    assert!(heads[1].starts_with("POST http://models.example:8000/v1/chat/completions HTTP/1.1\r\n"), "{}", heads[1]);
    assert_eq!(header(&heads[1], "host"), Some("models.example:8000"));
    assert_eq!(header(&heads[1], "proxy-authorization"), Some("Basic dTpw"));
}

#[tokio::test]
async fn no_proxy_and_the_machine_itself_go_past_it() {
    let origin = serve_bytes(ok("direct")).await;
    let (server, _) = tunnelling_proxy(origin.address).await;
    let outbound = Outbound {
        http_proxy: proxy(&format!("http://{}", server.address)),
        no_proxy: egress::NoProxy::parse("inside.example"),
        hosts: hosts("a.inside.example", "127.0.0.1"),
        ..Outbound::default()
    };
    let egress = egress_with(outbound);
    assert_eq!(post(&egress, &format!("http://a.inside.example:{}", origin.address.port())).await, "direct");
    assert_eq!(post(&egress, &origin.url()).await, "direct");
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_proxy_that_will_not_costs_nothing() {
    for answer in [
        "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 502 Bad Gateway\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nsmuggled bytes",
        "SSH-2.0-x\r\n\r\n",
        "",
    ] {
        let server = serve(move |mut stream, _| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        let outbound = Outbound { https_proxy: proxy(&server.address.to_string()), ..Outbound::default() };
        let fault = fault(&egress_with(outbound), request("https://api.example/v1", "{}")).await;
        assert_eq!((fault.stage, fault.sent), (Stage::Connect, Sent::No), "{answer}: {fault}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outbound = Outbound { https_proxy: proxy(&closed.to_string()), ..Outbound::default() };
    let fault = fault(&egress_with(outbound), request("https://api.example/v1", "{}")).await;
    assert_eq!((fault.stage, fault.sent), (Stage::Connect, Sent::No), "{fault}");
}

/// A proxy resolves names by itself, so a tenant's name is resolved and checked here and the proxy is given the address.
#[tokio::test]
async fn a_tenants_url_does_not_get_around_the_rule_by_a_proxy() {
    let authority = Authority::new(&["public.example"]);
    let origin = authority.serve("public").await;
    let (server, heads) = tunnelling_proxy(origin.address).await;
    let mut names = hosts("public.example", "1.1.1.1");
    names.extend(hosts("inside.example", "10.0.0.7"));
    let address = server.address.to_string();
    let outbound = Outbound { https_proxy: proxy(&address), http_proxy: proxy(&address), hosts: names, ..authority.trusted() };
    let egress = egress_with(outbound);
    let theirs = |id, url: &str| {
        let mut theirs = request(url, "{}");
        theirs.upstream = Arc::new(UpstreamAddress { id, base_url: url.to_owned(), tenant_set: true });
        theirs
    };
    let answer = egress::port::Wire::send(&egress, theirs(1, "https://public.example/v1")).await.unwrap();
    assert_eq!(collect(answer).await.unwrap(), "public");
    assert!(heads.lock().unwrap()[0].starts_with("CONNECT 1.1.1.1:443 HTTP/1.1\r\n"));
    for (id, url) in [(2, "https://inside.example/v1"), (3, "http://inside.example/v1"), (4, "http://10.0.0.7/v1")] {
        let fault = fault(&egress, theirs(id, url)).await;
        assert_eq!((fault.stage, fault.sent), (Stage::Refused, Sent::No), "{url}: {fault}");
    }
    assert_eq!(server.accepted(), 1);
}
