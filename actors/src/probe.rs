//! The test of a provider's connection: a real request with its key, through the same wire and the same rules as calls.

use crate::{
    attempt,
    policy::Policy,
    ports::{Stage, WireAnswer, WireFault},
    root::Reactor,
};
use bytes::BytesMut;
use cluster_config::ProviderView;
use events::{CallId, limits};
use serde_json::Value;
use std::{future::poll_fn, time::Duration};
use tokio::time::Instant;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// `ok`, or one word for what went wrong.
    pub code: &'static str,
    /// What the provider answered; None: nothing.
    pub status: Option<u16>,
    pub latency: Duration,
    /// How many models it lists.
    pub models: Option<usize>,
    /// What went wrong, and what to do.
    pub detail: String,
}

/// Asks the provider for its models.
pub async fn probe(reactor: &Reactor, policy: &Policy, provider: &ProviderView, id: CallId) -> Probe {
    let started = Instant::now();
    let end = started + limits::PROVIDER_TEST_WAIT;
    let asked = tokio::time::timeout_at(end, reactor.wire.send(attempt::probe(policy, provider, id))).await;
    let latency = started.elapsed();
    let secret = policy.secrets.get(&provider.id).map(|secret| secret.reveal()).unwrap_or_default();
    match asked {
        Err(_) => failed("timed_out", late(), latency),
        Ok(Err(fault)) => refused(&fault, latency, secret),
        Ok(Ok(mut answer)) => {
            let body = tokio::time::timeout_at(end, whole(&mut answer)).await.unwrap_or(None);
            judged(answer.status.as_u16(), body, latency, secret)
        }
    }
}

fn late() -> String {
    format!("no answer within {} s: look at the network, and whether anything listens there", limits::PROVIDER_TEST_WAIT.as_secs())
}

fn failed(code: &'static str, detail: String, latency: Duration) -> Probe {
    Probe { code, status: None, latency, models: None, detail }
}

/// It did not come to an answer.
fn refused(fault: &WireFault, latency: Duration, secret: &str) -> Probe {
    let why = shown(fault.message.as_bytes(), secret);
    let (what, code) = match fault.stage {
        Stage::Connect if fault.message.starts_with("DNS") || fault.message.contains("has no address") => {
            ("the name in `base_url` is not found: look for a slip in it, and at the node's DNS", "name_not_found")
        }
        Stage::Connect if is_late(fault) => ("no connection in time: look at network, firewall and proxy", "timed_out"),
        Stage::Connect => ("no connection: look at host and port in `base_url`, network and proxy", "unreachable"),
        Stage::Tls => (
            "no TLS: is it `http://`, is its certificate for this name, and does the node know who signed it (`SSL_CERT_FILE`)?",
            "tls_failed",
        ),
        Stage::Refused => {
            ("the address may not be dialled: a tenant's provider needs a public one, and metadata addresses never are", "address_refused")
        }
        Stage::FirstByte | Stage::Silence => ("no answer in time: look at what listens there, or raise `timeouts`", "timed_out"),
        Stage::Write | Stage::Closed | Stage::Body | Stage::Protocol => {
            ("it did not answer in HTTP: look at the port and the scheme in `base_url`", "broke_off")
        }
    };
    failed(code, format!("{what} ({why})"), latency)
}

fn is_late(fault: &WireFault) -> bool {
    let message = fault.message.to_ascii_lowercase();
    message.contains("timed out") || message.contains("deadline") || message.contains("in time")
}

fn judged(status: u16, body: Option<Vec<u8>>, latency: Duration, secret: &str) -> Probe {
    let listed = body.as_deref().and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let models = listed.as_ref().and_then(|body| body.get("data")?.as_array().map(Vec::len));
    let said = || body.as_deref().map(|body| shown(body, secret)).unwrap_or_default();
    let (code, detail) = match status {
        200..300 if models.is_some() => ("ok", String::new()),
        200..300 => {
            ("unreadable", format!("it answers, but with no list of models: does `base_url` end where the API begins? It says: {}", said()))
        }
        401 | 403 => ("key_refused", format!("it does not take the key: apply a valid `api_key`. It says: {}", said())),
        404 | 405 => (
            "not_found",
            format!("it has no /models there: a provider may lack it, or `base_url` is wrong; a call will tell. It says: {}", said()),
        ),
        429 => ("rate_limited", format!("it answers, but wants to be left alone for now. It says: {}", said())),
        _ => ("provider_error", format!("it fails by itself: try again later. It says: {}", said())),
    };
    Probe { code, status: Some(status), latency, models: models.filter(|_| code == "ok"), detail }
}

/// The beginning of a text from outside, on one line, without the key.
fn shown(text: &[u8], secret: &str) -> String {
    let text = String::from_utf8_lossy(text);
    let text = if secret.is_empty() { text.into_owned() } else { text.replace(secret, "…") };
    let mut shown: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    while shown.len() > limits::PROVIDER_TEST_SHOWN_BYTES {
        shown.pop();
    }
    shown
}

/// The body, as far as it is read; None: it broke off.
async fn whole(answer: &mut WireAnswer) -> Option<Vec<u8>> {
    let mut body = BytesMut::new();
    while let Some(piece) = poll_fn(|context| answer.body.poll_next(context)).await {
        body.extend_from_slice(&piece.ok()?);
        if body.len() > limits::PROVIDER_TEST_READ_BYTES {
            return None;
        }
    }
    Some(body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Sent;

    #[test]
    fn each_failure_has_its_word() {
        let of = |stage, message: &str| refused(&WireFault { stage, sent: Sent::No, message: message.into() }, Duration::ZERO, "").code;
        let cases = [
            (Stage::Connect, "DNS: no such host", "name_not_found"),
            (Stage::Connect, "the name has no address", "name_not_found"),
            (Stage::Connect, "connect: refused", "unreachable"),
            (Stage::Tls, "TLS: unknown issuer", "tls_failed"),
            (Stage::Refused, "the name leads to an address that may not be dialled", "address_refused"),
            (Stage::FirstByte, "", "timed_out"),
            (Stage::Closed, "", "broke_off"),
        ];
        cases.into_iter().for_each(|(stage, message, code)| assert_eq!(of(stage, message), code, "{stage:?} {message}"));
    }

    #[test]
    fn an_answer_is_judged_by_status_and_list() {
        let of = |status, body: &str| judged(status, Some(body.into()), Duration::ZERO, "sk-secret");
        let good = of(200, r#"{"data": [{}, {}]}"#);
        assert_eq!((good.code, good.models, good.detail.as_str()), ("ok", Some(2), ""));
        for (status, code) in [
            (200, "unreadable"),
            (401, "key_refused"),
            (403, "key_refused"),
            (404, "not_found"),
            (429, "rate_limited"),
            (500, "provider_error"),
        ] {
            assert_eq!((of(status, "<html>").code, of(status, "<html>").models), (code, None));
        }
    }

    #[test]
    fn the_key_is_never_shown_and_little_of_the_rest() {
        let said = judged(401, Some(format!("sk-secret is wrong\n{}", "é".repeat(300)).into_bytes()), Duration::ZERO, "sk-secret").detail;
        assert!(!said.contains("sk-secret") && said.contains("… is wrong é") && said.len() < 300, "{said}");
    }
}
