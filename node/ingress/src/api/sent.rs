//! What comes with a request: the parts of its path, and its body. What cannot be read is a problem like all others.

use super::Problem;
use crate::App;
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    response::Response,
};
use bytes::BytesMut;
use events::limits;
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

/// The answer to a request that cannot be read.
pub(super) fn refused(app: &App, problem: Problem) -> Response {
    problem.response(&app.new_call_id().to_string())
}

/// Parts of a path.
pub(crate) struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Path<T>, Response> {
        let path = axum::extract::Path::from_request_parts(parts, app).await;
        path.map(|axum::extract::Path(path)| Path(path)).map_err(|why| refused(app, Problem::parameter("path", why.body_text())))
    }
}

/// A body that is not read yet.
pub(crate) struct Sent(Body);

impl FromRequest<App> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, _: &App) -> Result<Sent, Response> {
        Ok(Sent(request.into_body()))
    }
}

impl From<Body> for Sent {
    fn from(body: Body) -> Sent {
        Sent(body)
    }
}

impl Sent {
    /// The whole body beside who sent it: that of a stranger is not read.
    pub async fn with<A>(self, let_in: Result<A, Problem>) -> Result<(A, Bytes), Problem> {
        match let_in {
            Ok(access) => Ok((access, self.read().await?)),
            Err(problem) => {
                self.drop_rest();
                Err(problem)
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// It is too large, too late, or broken off.
    pub async fn read(mut self) -> Result<Bytes, Problem> {
        let read = tokio::time::timeout(limits::BODY_TIMEOUT, self.collect())
            .await
            .unwrap_or_else(|_| Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request body did not come in time")));
        if read.is_err() {
            self.drop_rest();
        }
        read
    }

    async fn collect(&mut self) -> Result<Bytes, Problem> {
        let mut all = BytesMut::new();
        if self.0.size_hint().lower() > limits::ADMIN_BODY_BYTES_MAX as u64 {
            return Err(too_large());
        }
        while let Some(frame) = self.0.frame().await {
            let frame = frame.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "incomplete_body", "the request body broke off"))?;
            all.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if all.len() > limits::ADMIN_BODY_BYTES_MAX {
                return Err(too_large());
            }
        }
        Ok(all.freeze())
    }

    /// Takes what is still on its way, for a while: who is still sending would not see an answer.
    pub fn drop_rest(self) {
        let Sent(mut body) = self;
        if !body.is_end_stream() {
            tokio::spawn(tokio::time::timeout(limits::LINGER, async move { while let Some(Ok(_)) = body.frame().await {} }));
        }
    }
}

fn too_large() -> Problem {
    let detail = format!("the request body is larger than {} bytes", limits::ADMIN_BODY_BYTES_MAX);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", detail)
}
