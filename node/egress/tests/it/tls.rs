//! TLS: who is trusted, and what a failed handshake costs.

use std::{io::Write, sync::Arc};

use egress::{
    Outbound,
    port::{Sent, Stage},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::support::*;

/// A CA of our own with one server certificate.
pub struct Authority {
    pub acceptor: TlsAcceptor,
    bundle: NamedTempFile,
}

impl Authority {
    pub fn new(names: &[&str]) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        // A server that would rather speak h2: ALPN must settle on what we speak.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut bundle = NamedTempFile::new().unwrap();
        bundle.write_all(ca.pem().as_bytes()).unwrap();
        Authority { acceptor: TlsAcceptor::from(Arc::new(config)), bundle }
    }

    /// Settings that trust this authority beside the system's.
    pub fn trusted(&self) -> Outbound {
        Outbound { extra_roots: Some(self.bundle.path().to_owned()), ..Outbound::default() }
    }

    /// A server behind this certificate that answers every request with `body`.
    pub async fn serve(&self, body: &'static str) -> Server {
        let acceptor = self.acceptor.clone();
        serve(move |stream, _| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
                while read_request(&mut stream).await.is_some() {
                    stream.write_all(ok(body).as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                }
            }
        })
        .await
    }
}

#[tokio::test]
async fn a_further_root_is_trusted_and_connections_are_kept() {
    let authority = Authority::new(&["localhost", "127.0.0.1"]);
    let server = authority.serve("safe").await;
    let egress = egress_with(authority.trusted());
    for _ in 0..5 {
        assert_eq!(post(&egress, &format!("https://localhost:{}/v1", server.address.port())).await, "safe");
    }
    assert_eq!(post(&egress, &format!("https://{}/v1", server.address)).await, "safe");
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn large_bodies_pass_through_tls() {
    let authority = Authority::new(&["127.0.0.1"]);
    let acceptor = authority.acceptor.clone();
    let server = serve(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let (_, body) = read_request(&mut stream).await.unwrap();
            stream.write_all(ok(&body.len().to_string()).as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
    })
    .await;
    let mut request = request(&format!("https://{}", server.address), "");
    request.body = vec![bytes::Bytes::from(vec![b'x'; 300_000]); 10];
    let answer = egress::port::Wire::send(&egress_with(authority.trusted()), request).await.unwrap();
    assert_eq!(collect(answer).await.unwrap(), "3000000");
}

#[tokio::test]
async fn an_unknown_authority_and_a_wrong_name_cost_nothing() {
    let authority = Authority::new(&["other.example"]);
    let server = authority.serve("never").await;
    let url = format!("https://{}", server.address);
    for outbound in [Outbound::default(), authority.trusted()] {
        let fault = fault(&egress_with(outbound), request(&url, "{}")).await;
        assert_eq!((fault.stage, fault.sent), (Stage::Tls, Sent::No), "{fault}");
        assert!(fault.message.contains("certificate"), "{fault}");
    }
}

#[tokio::test]
async fn a_server_without_tls_costs_nothing() {
    let server = serve(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        tokio::time::sleep(millis(500)).await;
    })
    .await;
    let fault = fault(&egress(), request(&format!("https://{}", server.address), "{}")).await;
    assert_eq!((fault.stage, fault.sent), (Stage::Tls, Sent::No), "{fault}");
}

#[tokio::test]
async fn a_kept_connection_that_the_server_ended_is_replaced_in_silence() {
    let authority = Authority::new(&["127.0.0.1"]);
    let acceptor = authority.acceptor.clone();
    let server = serve(move |stream, n| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            read_request(&mut stream).await.unwrap();
            stream.write_all(ok("hi").as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(millis(20)).await;
            if n % 2 == 0 {
                stream.shutdown().await.unwrap(); // with close_notify; the others break off
            }
        }
    })
    .await;
    let egress = egress_with(authority.trusted());
    for n in 1..=4 {
        assert_eq!(post(&egress, &format!("https://{}", server.address)).await, "hi");
        assert_eq!(server.accepted(), n);
        tokio::time::sleep(millis(if n < 3 { 80 } else { 250 })).await;
    }
}
