//! A running node, asked from the command line: over our own dialler, so that proxies and roots of trust hold there too.

use super::Failure;
use crate::world::SystemEntropy;
use actors::ports::{Deadlines, Entropy as _, Sent, Stage, UpstreamAddress, Wire as _, WireFault, WireRequest};
use bytes::{Bytes, BytesMut};
use clap::Args;
use egress::{Egress, Outbound, Setup};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use std::{fmt::Write as _, future::poll_fn, io::Write, sync::Arc, time::Duration};
use tokio::runtime::Runtime;

/// Rows that a page has at most.
const PAGE: u64 = 10_000;
/// A node answers within this time.
const WAIT: Duration = Duration::from_secs(60);
/// What could not be sent is sent again after so long each time: a node that starts anew is back by then.
const AGAIN_AFTER: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(600), Duration::from_millis(1_500)];

#[derive(Args)]
pub struct Connection {
    /// The node's administration address.
    #[arg(long, env = "TOLLGATE_URL", default_value = "http://127.0.0.1:4000")]
    url: String,
    /// The administrator's token.
    #[arg(long, env = "TOLLGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Connection {
    pub fn new(url: &str, token: &str) -> Connection {
        Connection { url: url.into(), token: Some(token.into()) }
    }

    /// Whether there is a token to show.
    pub fn has_token(&self) -> bool {
        self.token.as_ref().is_some_and(|token| !token.is_empty())
    }
}

/// See the module.
pub struct Client {
    runtime: Runtime,
    wire: Egress,
    upstream: Arc<UpstreamAddress>,
    authorization: HeaderValue,
}

/// What a question is narrowed to.
pub type Parameters = [(&'static str, String)];

/// What a request says besides its path.
#[derive(Default)]
struct Said<'a> {
    parameters: &'a Parameters,
    accept: Option<&'static str>,
    /// Its kind, and itself.
    body: Option<(&'static str, Bytes)>,
    /// Further headers.
    headers: &'a [(HeaderName, &'static str)],
}

impl Client {
    /// # Errors
    /// There is no token, the environment's proxies or roots of trust cannot be read, or the token cannot be a header.
    pub fn open(connection: &Connection) -> Result<Client, Failure> {
        let token = connection.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        let token = token.ok_or("there is no administrator's token: set TOLLGATE_TOKEN or give --token (a node prints one at its start unless TOLLGATE_ADMIN_TOKEN is set)")?;
        let setup = Setup::load(Outbound::from_vars(|name| std::env::var(name).ok())?)?;
        let base_url = connection.url.trim_end_matches('/').to_owned();
        Ok(Client {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            wire: Egress::new(setup),
            upstream: Arc::new(UpstreamAddress { id: 0, base_url, tenant_set: false }),
            authorization: HeaderValue::try_from(format!("Bearer {token}"))?,
        })
    }

    /// `GET /api/v1/…`, as JSON.
    ///
    /// # Errors
    /// What the node says, or why it cannot be reached.
    pub fn get(&self, path: &str, parameters: &Parameters) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.ask(Method::GET, path, Said { parameters, ..Said::default() })?)?)
    }

    /// Goes over a list page by page, the first of at most so many rows; `act` says how many the next one may have, or that it has seen enough.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn pages(&self, path: &str, parameters: &Parameters, first: u64, mut act: impl FnMut(Value) -> Option<u64>) -> Result<(), Failure> {
        let (mut parameters, mut limit) = (parameters.to_vec(), first);
        loop {
            let of_page = [parameters.as_slice(), &given([("limit", Some(limit.min(PAGE).to_string()))])].concat();
            let page = self.get(path, &of_page)?;
            let next = page["next_cursor"].as_str().map(str::to_owned);
            let (Some(more), Some(cursor)) = (act(page), next) else { return Ok(()) };
            limit = more;
            parameters.retain(|(name, _)| *name != "cursor");
            parameters.push(("cursor", cursor));
        }
    }

    /// So many rows of a list, over as many pages as that takes: the first page with the rows of all, and the cursor behind them.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn some(&self, path: &str, parameters: &Parameters, limit: u64) -> Result<Value, Failure> {
        let (mut whole, mut all) = (Value::Null, Vec::new());
        self.pages(path, parameters, limit, |mut page| {
            if let Value::Array(more) = page["data"].take() {
                all.extend(more);
            }
            if whole.is_null() {
                whole = page;
            } else {
                (whole["next_cursor"], whole["has_more"]) = (page["next_cursor"].take(), page["has_more"].take());
            }
            limit.checked_sub(all.len() as u64).filter(|left| *left > 0)
        })?;
        whole["data"] = all.into();
        Ok(whole)
    }

    /// All rows of a list, page by page.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn list(&self, path: &str, parameters: &Parameters) -> Result<Vec<Value>, Failure> {
        let mut all = self.some(path, parameters, u64::MAX)?;
        Ok(all["data"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// `GET /api/v1/…`, in another form.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn get_as(&self, form: &'static str, path: &str, parameters: &Parameters) -> Result<Bytes, Failure> {
        self.ask(Method::GET, path, Said { parameters, accept: Some(form), ..Said::default() })
    }

    /// `GET /api/v1/…` of a list, as CSV; false: there are more rows.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn csv(&self, path: &str, parameters: &Parameters) -> Result<(Bytes, bool), Failure> {
        let (headers, body) = self.asked(Method::GET, path, Said { parameters, accept: Some("text/csv"), ..Said::default() })?;
        Ok((body, !headers.contains_key("x-tollgate-next-cursor")))
    }

    /// `GET /api/v1/…`, written out as it comes.
    ///
    /// # Errors
    /// See [`Client::get`]; or the output's own.
    pub fn download(&self, path: &str, parameters: &Parameters, to: &mut dyn Write) -> Result<(), Failure> {
        let path = format!("/api/v1/{path}{}", query(parameters));
        let request = self.request(Method::GET, &path, self.headers("application/octet-stream"), &[]);
        self.runtime.block_on(async {
            let answer = self.wire.send(request).await;
            let mut answer = answer.map_err(|fault| unreachable(&self.upstream.base_url, &Method::GET, &fault))?;
            let mut refusal = BytesMut::new();
            while let Some(piece) = poll_fn(|context| answer.body.poll_next(context)).await {
                let piece = piece.map_err(|fault| fault.to_string())?;
                if answer.status.is_success() { to.write_all(&piece)? } else { refusal.extend_from_slice(&piece) }
            }
            if answer.status.is_success() { Ok(()) } else { Err(Refused { status: answer.status, said: refusal.freeze() }.into()) }
        })
    }

    /// `POST /api/v1/…`, answered in JSON.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn post(&self, path: &str, parameters: &Parameters, body: Bytes) -> Result<Value, Failure> {
        let kind = if path == "apply" { "application/yaml" } else { "application/json" };
        Ok(serde_json::from_slice(&self.ask(Method::POST, path, Said { parameters, body: Some((kind, body)), ..Said::default() })?)?)
    }

    /// `PUT /api/v1/…` of what must not be there yet.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn make(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = Some(("application/json", Bytes::from(body.to_string())));
        let said = Said { body, headers: &[(header::IF_NONE_MATCH, "*")], ..Said::default() };
        Ok(serde_json::from_slice(&self.ask(Method::PUT, path, said)?)?)
    }

    /// `DELETE /api/v1/…`, answered in JSON.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.ask(Method::DELETE, path, Said::default())?)?)
    }

    fn ask(&self, method: Method, path: &str, said: Said<'_>) -> Result<Bytes, Failure> {
        self.asked(method, path, said).map(|(_, body)| body)
    }

    fn asked(&self, method: Method, path: &str, said: Said<'_>) -> Result<(HeaderMap, Bytes), Failure> {
        let mut headers = self.headers(said.accept.unwrap_or("application/json"));
        if let Some((kind, _)) = &said.body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if method != Method::GET {
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(format!("{:032x}", SystemEntropy.draw()))?);
        }
        headers.extend(said.headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
        let body: Vec<Bytes> = said.body.into_iter().map(|(_, body)| body).collect();
        let path = format!("/api/v1/{path}{}", query(said.parameters));
        let (answer, body) = self.exchanged(&method, &path, &headers, &body)?;
        if answer.status.is_success() { Ok((answer.headers, body)) } else { Err(Refused { status: answer.status, said: body }.into()) }
    }

    fn headers(&self, accept: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        headers
    }

    fn request(&self, method: Method, path: &str, headers: HeaderMap, body: &[Bytes]) -> WireRequest {
        let deadlines = Deadlines { connect: WAIT, first_byte: WAIT, silence: WAIT };
        WireRequest { upstream: self.upstream.clone(), method, path: path.to_owned(), headers, body: body.to_vec(), deadlines }
    }

    /// Sends it, and once more where surely nothing was sent; what changes nothing also where that is not sure.
    fn exchanged(&self, method: &Method, path: &str, headers: &HeaderMap, body: &[Bytes]) -> Result<(Head, Bytes), Failure> {
        let mut waits = AGAIN_AFTER.into_iter();
        loop {
            let request = self.request(method.clone(), path, headers.clone(), body);
            let fault = match self.runtime.block_on(self.exchange(request)) {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let may_again =
                fault.stage != Stage::Refused && fault.stage != Stage::Tls && (fault.sent == Sent::No || *method == Method::GET);
            match waits.next().filter(|_| may_again) {
                Some(wait) => std::thread::sleep(wait),
                None => return Err(unreachable(&self.upstream.base_url, method, &fault).into()),
            }
        }
    }

    async fn exchange(&self, request: WireRequest) -> Result<(Head, Bytes), WireFault> {
        let mut answer = self.wire.send(request).await?;
        let mut body = BytesMut::new();
        while let Some(piece) = poll_fn(|context| answer.body.poll_next(context)).await {
            body.extend_from_slice(&piece?);
        }
        Ok((Head { status: answer.status, headers: answer.headers }, body.freeze()))
    }
}

/// What stands before the body of an answer.
struct Head {
    status: StatusCode,
    headers: HeaderMap,
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Why there is no answer, and what to do.
fn unreachable(url: &str, method: &Method, fault: &WireFault) -> String {
    let what = match fault.stage {
        Stage::Connect => "is a node running there? `tollgate serve` starts one; --url or TOLLGATE_URL says where it is",
        Stage::Tls => "set SSL_CERT_FILE to the certificate authority of the node, or use http://",
        Stage::Refused => "this address is never asked",
        _ if method == Method::GET || fault.sent == Sent::No => "try again",
        _ => "it may have been done: look before you do it again",
    };
    format!("{url} cannot be reached: {}; {what}", fault.message)
}

/// A node said no.
#[derive(Debug)]
pub struct Refused {
    pub status: StatusCode,
    said: Bytes,
}

impl std::error::Error for Refused {}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = serde_json::from_slice::<Value>(&self.said).unwrap_or_default()["code"].as_str().unwrap_or_default().to_owned();
        let what = match (self.status.as_u16(), code.as_str()) {
            (401, _) => "; set TOLLGATE_TOKEN or --token to a token that this node knows and that has not ended",
            (403, "role_not_allowed") => "; an owner makes tokens with other roles: `tollgate token create NAME --role ROLE`",
            (403, "platform_only") => "; ask with a token that was made without --tenant",
            (404, "") => "; is this a node of Tollgate, and does it serve administration at this address (--admin-listen)?",
            _ => "",
        };
        write!(f, "{}: {}{what}", self.status, said(&self.said))
    }
}

/// Whether a node said that there is no such thing.
pub fn is_not_found(failure: &Failure) -> bool {
    failure.downcast_ref::<Refused>().is_some_and(|refused| refused.status == StatusCode::NOT_FOUND)
}

/// What a node says of an error, in either of its forms.
fn said(body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let place = answer["path"].as_str().map(|path| format!("{path}: ")).unwrap_or_default();
    let message = answer["detail"].as_str().or_else(|| answer["error"]["message"].as_str());
    format!("{place}{}", message.unwrap_or("the node did not say why"))
}

fn query(parameters: &Parameters) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.push_str(&escaped(value));
    }
    text
}

/// A text as it stands in one segment of a path, or as the value of a parameter.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            other => drop(write!(escaped, "%{other:02X}")), // into a String: cannot fail
        }
    }
    escaped
}

/// Parameters that were given.
pub fn given<const N: usize>(parameters: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_escaped() {
        assert_eq!(
            query(&given([("tag", Some("a=b&c é".into())), ("none", None), ("by", Some("key,model".into()))])),
            "?tag=a%3Db%26c%20%C3%A9&by=key%2Cmodel"
        );
    }

    #[test]
    fn both_forms_of_errors_are_understood() {
        assert_eq!(said(br#"{"detail":"no such key","path":"key"}"#), "key: no such key");
        assert_eq!(said(br#"{"error":{"message":"no"}}"#), "no");
        assert_eq!(said(b"<html>"), "the node did not say why");
    }
}
