//! A running node, asked from the command line: over our own dialler, so that proxies and roots of trust hold there too.

use super::Failure;
use actors::ports::{Deadlines, UpstreamAddress, Wire as _, WireRequest};
use bytes::{Bytes, BytesMut};
use clap::Args;
use egress::{Egress, Outbound, Setup};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use std::{fmt::Write as _, future::poll_fn, sync::Arc, time::Duration};
use tokio::runtime::Runtime;

/// A node answers within this time.
const WAIT: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Connection {
    /// The node's administration address.
    #[arg(long, env = "TOLLGATE_URL", default_value = "http://127.0.0.1:4000")]
    url: String,
    /// The administrator's token.
    #[arg(long, env = "TOLLGATE_TOKEN", hide_env_values = true)]
    token: String,
}

impl Connection {
    pub fn new(url: &str, token: &str) -> Connection {
        Connection { url: url.into(), token: token.into() }
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

impl Client {
    /// # Errors
    /// The environment's proxies or roots of trust cannot be read, or the token cannot be a header.
    pub fn open(connection: &Connection) -> Result<Client, Failure> {
        let setup = Setup::load(Outbound::from_vars(|name| std::env::var(name).ok())?)?;
        let base_url = connection.url.trim_end_matches('/').to_owned();
        Ok(Client {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            wire: Egress::new(setup),
            upstream: Arc::new(UpstreamAddress { id: 0, base_url, tenant_set: false }),
            authorization: HeaderValue::try_from(format!("Bearer {}", connection.token))?,
        })
    }

    /// `GET /api/v1/…`, as JSON.
    ///
    /// # Errors
    /// What the node says, or why it cannot be reached.
    pub fn get(&self, path: &str, parameters: &Parameters) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.ask(Method::GET, path, parameters, "application/json", Bytes::new())?)?)
    }

    /// `GET /api/v1/…`, in another form.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn get_as(&self, form: &'static str, path: &str, parameters: &Parameters) -> Result<Bytes, Failure> {
        self.ask(Method::GET, path, parameters, form, Bytes::new())
    }

    /// `POST /api/v1/…`, answered in JSON.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn post(&self, path: &str, parameters: &Parameters, body: Bytes) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.ask(Method::POST, path, parameters, "application/json", body)?)?)
    }

    /// `DELETE /api/v1/…`, answered in JSON.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.ask(Method::DELETE, path, &[], "application/json", Bytes::new())?)?)
    }

    fn ask(&self, method: Method, path: &str, parameters: &Parameters, form: &'static str, body: Bytes) -> Result<Bytes, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        headers.insert(header::ACCEPT, HeaderValue::from_static(form));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
        let deadlines = Deadlines { connect: WAIT, first_byte: WAIT, silence: WAIT };
        let path = format!("/api/v1/{path}{}", query(parameters));
        let request = WireRequest { upstream: self.upstream.clone(), method, path, headers, body: vec![body], deadlines };
        let (status, body) = self.runtime.block_on(self.exchange(request))?;
        if status.is_success() { Ok(body) } else { Err(format!("{status}: {}", said(&body)).into()) }
    }

    async fn exchange(&self, request: WireRequest) -> Result<(StatusCode, Bytes), Failure> {
        let mut answer = self.wire.send(request).await.map_err(|fault| format!("{}: {fault}", self.upstream.base_url))?;
        let mut body = BytesMut::new();
        while let Some(piece) = poll_fn(|context| answer.body.poll_next(context)).await {
            body.extend_from_slice(&piece.map_err(|fault| fault.to_string())?);
        }
        Ok((answer.status, body.freeze()))
    }
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
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
                other => drop(write!(text, "%{other:02X}")), // into a String: cannot fail
            }
        }
    }
    text
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
