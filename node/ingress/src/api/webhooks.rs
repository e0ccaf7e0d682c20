//! `GET /api/v1/webhooks/{name}/deliveries`: how far a webhook is; `POST …/test`: a test alert, now.

use super::{Asking, Path, Problem, entries};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use events::{Position, StreamId, Timestamp, WebhookId, token::Need};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// One try of a delivery.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The receiver's status, or why there is none.
    pub answer: Result<StatusCode, String>,
    pub took: Duration,
}

impl Tried {
    /// The receiver has it.
    pub fn is_taken(&self) -> bool {
        self.answer.as_ref().is_ok_and(StatusCode::is_success)
    }

    /// Why it has not.
    pub fn why(&self) -> String {
        match &self.answer {
            Ok(status) => format!("the receiver answered {}", status.as_u16()),
            Err(why) => why.clone(),
        }
    }
}

/// How a webhook does, since the node started.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    /// What is before it was delivered, skipped, or not for it.
    pub position: u64,
    pub delivered: u64,
    pub failed: u64,
    pub skipped: u64,
    /// In a row.
    pub failures: u64,
    pub last_delivery_at: Option<Timestamp>,
    pub last_failure: Option<(Timestamp, String)>,
    pub next_try_at: Option<Timestamp>,
}

impl Deliveries {
    pub fn took(&mut self, at: Timestamp, position: u64) {
        (self.position, self.failures, self.next_try_at, self.last_delivery_at) = (position, 0, None, Some(at));
        self.delivered += 1;
    }

    pub fn missed(&mut self, at: Timestamp, tried: &Tried, next: Timestamp, skipped: bool) {
        (self.last_failure, self.next_try_at) = (Some((at, tried.why())), Some(next));
        self.failed += 1;
        self.failures += 1;
        self.skipped += u64::from(skipped);
    }
}

/// Somebody wants a test sent. None: there is no such webhook any more.
pub struct TestAsked {
    pub id: WebhookId,
    pub reply: oneshot::Sender<Option<Tried>>,
}

/// How webhooks do, told by who delivers; and the way to ask for a test.
pub struct Webhooks {
    deliveries: Mutex<BTreeMap<WebhookId, Deliveries>>,
    tests: mpsc::UnboundedSender<TestAsked>,
}

impl Webhooks {
    pub fn new() -> (Webhooks, mpsc::UnboundedReceiver<TestAsked>) {
        let (tests, asked) = mpsc::unbounded_channel();
        (Webhooks { deliveries: Mutex::default(), tests }, asked)
    }

    pub fn change(&self, id: WebhookId, change: impl FnOnce(&mut Deliveries)) {
        change(self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default());
    }

    pub fn forget(&self, id: WebhookId) {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn of(&self, id: WebhookId) -> Deliveries {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned().unwrap_or_default()
    }

    async fn test(&self, id: WebhookId) -> Option<Tried> {
        let (reply, answer) = oneshot::channel();
        self.tests.send(TestAsked { id, reply }).ok()?;
        answer.await.ok().flatten()
    }
}

async fn found(asking: &Asking, name: &str, need: Need) -> Result<(WebhookId, String), Problem> {
    let access = asking.let_in(need).await?;
    let (entry, _) = entries::found(asking, "webhook", name, &access).await?;
    match entry.id {
        StreamId::Webhook(id) => Ok((id, entry.name)),
        _ => Err(Problem::not_found("this is no webhook")),
    }
}

pub(crate) async fn deliveries(asking: Asking, Path(name): Path<String>) -> Response {
    let answer = async {
        let (id, name) = found(&asking, &name, Need::Read).await?;
        let of = asking.app.webhooks.of(id);
        let last_failure = of.last_failure.map(|(at, why)| json!({"at": at.to_string(), "why": why}));
        Ok(Json(json!({
            "object": "deliveries", "webhook": name, "webhook_id": id.to_string(), "at": Position::new(of.position).to_string(),
            "delivered": of.delivered, "failed": of.failed, "skipped": of.skipped, "failures": of.failures,
            "last_delivery_at": of.last_delivery_at.map(|at| at.to_string()), "last_failure": last_failure,
            "next_try_at": of.next_try_at.map(|at| at.to_string()),
        }))
        .into_response())
    };
    asking.answered(answer).await
}

pub(crate) async fn test(asking: Asking, Path(name): Path<String>) -> Response {
    let answer = async {
        let (id, name) = found(&asking, &name, Need::Operate).await?;
        let tried = asking.app.webhooks.test(id).await.ok_or_else(|| Problem::unavailable("no test could be sent"))?;
        let status = tried.answer.as_ref().ok().map(StatusCode::as_u16);
        let why = (!tried.is_taken()).then(|| tried.why());
        Ok(Json(json!({
            "object": "delivery_test", "webhook": name, "delivered": tried.is_taken(), "status": status, "why": why,
            "took_ms": tried.took.as_millis() as u64,
        }))
        .into_response())
    };
    asking.answered(answer).await
}
