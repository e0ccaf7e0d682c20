//! Delivers alerts to webhooks: one task each, which follows the projection `alerts` from where the webhook is, in order, at least once.
//! The form is that of Standard Webhooks, so receivers check it with any of its libraries.

use crate::vault::Vault;
use actors::{
    gate,
    ports::{Deadlines, UpstreamAddress, Wire, WireRequest},
    root::Core,
};
use bytes::Bytes;
use chacha20poly1305::KeyInit;
use cluster_config::{Secrets, webhook_key};
use events::{
    NoteId, Position, State, StreamId, TenantId, Timestamp, WebhookId,
    alert::Kind,
    limits,
    transaction::{Group, Guard, Transaction},
    webhook::Settings,
};
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ingress::{TestAsked, Tried, Webhooks};
use metrics::{counter, gauge};
use projections::{
    Projections,
    alerts::{self, Told},
};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// New alerts and new webhooks are looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What ends by itself is counted so often.
const COUNT_EVERY: Duration = Duration::from_secs(10);
const VIEW: &str = "alerts";

/// See the module.
pub struct Courier {
    core: Core,
    projections: Projections,
    wire: Arc<dyn Wire>,
    vault: Vault,
    webhooks: Arc<Webhooks>,
}

/// A webhook as it is now.
struct Target {
    settings: Settings,
    /// None: its secret cannot be opened.
    key: Option<Vec<u8>>,
    position: u64,
    version: u64,
    made_at: Timestamp,
}

impl Courier {
    pub fn new(core: Core, projections: Projections, wire: Arc<dyn Wire>, vault: Vault, webhooks: Arc<Webhooks>) -> Arc<Courier> {
        Arc::new(Courier { core, projections, wire, vault, webhooks })
    }

    /// Has a task for each webhook that is open, sends tests, and counts.
    pub async fn run(self: Arc<Courier>, mut tests: mpsc::UnboundedReceiver<TestAsked>) -> Infallible {
        let mut running: BTreeMap<WebhookId, (String, JoinHandle<()>)> = BTreeMap::new();
        let mut count = Count::new(&self.projections);
        loop {
            tokio::select! {
                Some(TestAsked { id, reply }) = tests.recv() => {
                    let courier = self.clone();
                    tokio::spawn(async move { drop(reply.send(courier.test(id).await)) }); // nobody waits any more
                }
                () = sleep(LOOK_EVERY) => {}
            }
            let open = |state: &State| -> BTreeMap<WebhookId, String> {
                let open = state.books.webhooks.iter().filter(|(_, webhook)| is_served(state, &webhook.settings) && webhook.is_open());
                open.map(|(id, webhook)| (*id, webhook.settings.name.clone())).collect()
            };
            let Some(open) = self.core.look(open).await else { continue };
            running.retain(|id, (name, task)| {
                let stays = open.contains_key(id) && !task.is_finished();
                if !stays {
                    task.abort();
                    gauge!("tollgate_webhook_lag_events", "webhook" => name.clone()).set(0.0);
                    self.webhooks.forget(*id);
                }
                stays
            });
            for (id, name) in open {
                running.entry(id).or_insert_with(|| (name.clone(), tokio::spawn(self.clone().follow(id, name))));
            }
            count.look(&self.projections, self.core.clock.now()).await;
        }
    }

    /// Delivers what comes, one alert after the other, until the webhook is closed.
    async fn follow(self: Arc<Courier>, id: WebhookId, name: String) {
        let outcomes = ["delivered", "failed", "skipped"];
        let [delivered, failed, skipped] =
            outcomes.map(|outcome| counter!("tollgate_webhook_deliveries_total", "webhook" => name.clone(), "outcome" => outcome));
        let lag = gauge!("tollgate_webhook_lag_events", "webhook" => name);
        let mut place = Place { position: None, sent: false, noted: 0, noted_at: Instant::now(), failures: 0 };
        let mut version = None;
        while let Some(target) = self.target(id).await {
            // what was passed over under other settings is not sent under these after a restart
            place.sent |= version.replace(target.version).is_some_and(|before| before != target.version);
            let position = *place.position.get_or_insert_with(|| {
                place.noted = target.position;
                target.position
            });
            let (shown, pending) = match self.pending(position, target.settings.clone(), target.made_at).await {
                Ok(found) => found,
                Err(fault) => {
                    tracing::warn!(webhook = %id, %fault, "alerts cannot be read; deliveries wait");
                    sleep(limits::WEBHOOK_RETRY_FIRST).await;
                    continue;
                }
            };
            lag.set(if pending.is_some() { shown.saturating_sub(position) as f64 } else { 0.0 });
            let Some((n, told_at, body)) = pending else {
                place.position = Some(position.max(shown));
                self.webhooks.change(id, |status| (status.position, status.next_try_at) = (position, None));
                self.note_if_due(id, &target, &mut place).await;
                sleep(LOOK_EVERY).await;
                continue;
            };
            let tried = self.post(id, &target, &Position::new(n).to_string(), body).await;
            let now = self.core.clock.now();
            if tried.is_taken() {
                delivered.increment(1);
                place.took(n);
                self.webhooks.change(id, |status| status.took(now, n + 1));
                self.note_if_due(id, &target, &mut place).await;
            } else {
                failed.increment(1);
                place.failures += 1;
                let is_too_old = now.since(told_at) > limits::WEBHOOK_KEPT;
                let wait = wait(place.failures, self.core.entropy.draw());
                tracing::warn!(webhook = %id, alert = n, why = %tried.why(), "an alert could not be delivered");
                self.webhooks.change(id, |status| status.missed(now, &tried, now.plus(wait), is_too_old));
                if is_too_old {
                    skipped.increment(1);
                    place.skipped(n);
                }
                self.note_if_due(id, &target, &mut place).await;
                sleep(wait).await;
            }
        }
    }

    async fn target(&self, id: WebhookId) -> Option<Target> {
        let vault = self.vault.clone();
        let look = move |state: &State| {
            let webhook = state.books.webhooks.get(&id).filter(|webhook| webhook.is_open() && is_served(state, &webhook.settings))?;
            let noted = state.desk.notes.get(&NoteId::WebhookPosition(id)).and_then(|note| note.as_slice().try_into().ok());
            Some(Target {
                settings: webhook.settings.clone(),
                key: vault.unsealed_webhook(id, state).and_then(|secret| webhook_key(&secret)),
                // a note that is lost: what happens from now on
                position: noted.map_or_else(|| state.position(), u64::from_be_bytes),
                version: state.version(StreamId::Webhook(id)),
                made_at: webhook.made_at,
            })
        };
        self.core.look(look).await.flatten()
    }

    /// Up to where alerts are known, and the first thing that the webhook is to be told: position, time and body.
    async fn pending(
        &self,
        from: u64,
        settings: Settings,
        made_at: Timestamp,
    ) -> Result<(u64, Option<(u64, Timestamp, String)>), projections::Fault> {
        let view = self.projections.view(VIEW).cloned().ok_or_else(|| projections::Fault("there is no such projection".into()))?;
        if view.next() <= from {
            return Ok((view.next(), None));
        }
        let cluster = self.core.cluster.clone();
        let read = move || {
            view.read(|snapshot| {
                let found = alerts::pending(snapshot, from, |alert| alert.at >= made_at && settings.takes(alert.kind, alert.tenant))?;
                let state = &snapshot.world.state;
                let with_body = found.map(|told| (told.n, told_at(&told), cloud_event(&told, state, &cluster).to_string()));
                Ok::<_, projections::Fault>((snapshot.next(), with_body))
            })
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err(projections::Fault("reading alerts failed".into()))) // a panic: told by the hook
    }

    /// Notes how far the webhook is, now and then. One that was closed meanwhile gets no note any more.
    async fn note_if_due(&self, id: WebhookId, target: &Target, place: &mut Place) {
        let Some(position) = place.due() else { return };
        let transaction = Transaction {
            guards: vec![Guard::Version(StreamId::Webhook(id), target.version)],
            notes: vec![(NoteId::WebhookPosition(id), Some(position.to_be_bytes().to_vec()))],
            ..Transaction::default()
        };
        let (reply, answer) = oneshot::channel();
        let group = Group { sequence: None, transactions: vec![Some(transaction)] };
        let sent = self.core.gate.cast(gate::Message::Propose { group, reply });
        if sent.is_ok() && matches!(answer.await, Ok(Ok(_))) {
            place.was_noted(position);
        }
    }

    async fn test(&self, id: WebhookId) -> Option<Tried> {
        let target = self.target(id).await?;
        let message_id = format!("test_{:032x}", self.core.entropy.draw());
        let body = json!({
            "specversion": "1.0", "id": message_id, "source": format!("tollgate/{}", self.core.cluster), "type": "tollgate.alert.test.v1",
            "subject": target.settings.name, "time": self.core.clock.now().to_string(), "datacontenttype": "application/json",
            "data": {"kind": "test", "message": "a test: whoever reads this gets alerts"},
        });
        Some(self.post(id, &target, &message_id, body.to_string()).await)
    }

    /// One try.
    async fn post(&self, id: WebhookId, target: &Target, message_id: &str, body: String) -> Tried {
        let started = Instant::now();
        let posted = match &target.key {
            Some(key) => timeout(limits::WEBHOOK_TIMEOUT, self.exchange(id, &target.settings, key, message_id, body)).await,
            None => Ok(Err("its secret cannot be opened; apply it again".into())),
        };
        let answer = posted.unwrap_or_else(|_| Err(format!("no answer within {} s", limits::WEBHOOK_TIMEOUT.as_secs())));
        Tried { answer, took: started.elapsed() }
    }

    async fn exchange(&self, id: WebhookId, settings: &Settings, key: &[u8], message_id: &str, body: String) -> Result<StatusCode, String> {
        let at_s = self.core.clock.now().as_ms() / 1_000;
        let (base_url, path) = split(&settings.url);
        let upstream = Arc::new(UpstreamAddress { id: id.0, base_url, tenant_set: settings.tenant.is_some() });
        let headers = headers(message_id, at_s, &sign(key, message_id, at_s, &body));
        let step = limits::WEBHOOK_TIMEOUT;
        let deadlines = Deadlines { connect: step, first_byte: step, silence: step };
        let request = WireRequest { upstream, method: Method::POST, path, headers, body: vec![Bytes::from(body)], deadlines };
        let answer = self.wire.send(request).await.map_err(|fault| fault.to_string())?;
        let (mut read, mut rest) = (0, answer.body);
        while let Some(Ok(piece)) = poll_fn(|context| rest.poll_next(context)).await {
            read += piece.len();
            if read > limits::WEBHOOK_ANSWER_BYTES_MAX {
                break;
            }
        }
        Ok(answer.status)
    }
}

/// One of a closed tenant gets nothing.
fn is_served(state: &State, settings: &Settings) -> bool {
    let closed = |id: TenantId| state.books.tenants.get(&id).is_none_or(|tenant| tenant.closed);
    settings.tenant.is_none_or(|tenant| !closed(tenant))
}

/// How far one webhook is.
struct Place {
    /// None: not known yet.
    position: Option<u64>,
    /// Something since it was noted.
    sent: bool,
    noted: u64,
    noted_at: Instant,
    /// In a row.
    failures: u32,
}

impl Place {
    fn took(&mut self, n: u64) {
        (self.position, self.sent, self.failures) = (Some(n + 1), true, 0);
    }

    fn skipped(&mut self, n: u64) {
        (self.position, self.sent) = (Some(n + 1), true);
    }

    /// What is to be noted now. Where nothing was sent the note stays: what is passed over once is passed over again.
    fn due(&self) -> Option<u64> {
        self.position.filter(|position| self.sent && *position > self.noted && self.noted_at.elapsed() >= limits::WEBHOOK_NOTE_EVERY)
    }

    fn was_noted(&mut self, position: u64) {
        (self.noted, self.noted_at, self.sent) = (position, Instant::now(), false);
    }
}

/// How long until the next try: doubled by each failure, and not all at once.
fn wait(failures: u32, chance: u128) -> Duration {
    let doubled = limits::WEBHOOK_RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let whole = doubled.min(limits::WEBHOOK_RETRY_MAX);
    whole / 2 + (whole / 2).mul_f64((chance % 1_000) as f64 / 1_000.0)
}

fn told_at(told: &Told) -> Timestamp {
    told.over.and(told.alert.closed_at).unwrap_or(told.alert.at)
}

/// What is posted: the alert, or that it is over, as a CloudEvent.
fn cloud_event(told: &Told, state: &State, cluster: &str) -> Value {
    let (alert, mut out) = (&told.alert, Map::new());
    let version = if told.over.is_some() { "cleared.v1" } else { "v1" };
    out.insert("specversion".into(), "1.0".into());
    out.insert("id".into(), Position::new(told.n).to_string().into());
    out.insert("source".into(), format!("tollgate/{cluster}").into());
    out.insert("type".into(), format!("tollgate.alert.{}.{version}", alert.kind.as_str()).into());
    out.insert("subject".into(), alert.subject.as_str().into());
    out.insert("time".into(), told_at(told).to_string().into());
    out.insert("datacontenttype".into(), "application/json".into());
    if let Some(tenant) = alert.tenant.and_then(|id| state.books.tenants.get(&id)) {
        out.insert("tenant".into(), tenant.name.as_str().into());
    }
    let mut data = alert.data();
    data["kind"] = alert.kind.as_str().into();
    data["message"] = alert.message.as_str().into();
    data["alert"] = Position::new(told.over.unwrap_or(told.n)).to_string().into();
    out.insert("data".into(), data);
    Value::Object(out)
}

/// What our dialler calls the base, and the path behind it.
fn split(url: &str) -> (String, String) {
    let authority = url.find("://").map_or(0, |at| at + 3);
    match url[authority..].find('/') {
        Some(slash) => (url[..authority + slash].to_owned(), url[authority + slash..].to_owned()),
        None => (url.to_owned(), "/".to_owned()),
    }
}

fn headers(message_id: &str, at_s: u64, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/cloudevents+json"));
    for (name, value) in [("webhook-id", message_id), ("webhook-timestamp", &at_s.to_string()), ("webhook-signature", signature)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// `v1,` and base64 of HMAC-SHA256 over id, time and body.
fn sign(key: &[u8], message_id: &str, at_s: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{message_id}.{at_s}.").as_bytes());
    mac.update(body.as_bytes());
    format!("v1,{}", base64(&mac.finalize().into_bytes()))
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().chain([0, 0].iter()).take(3).fold(0_usize, |word, byte| (word << 8) | usize::from(*byte));
        for place in 0..4 {
            text.push(if place > three.len() { '=' } else { char::from(LETTERS[(word >> (18 - 6 * place)) & 63]) });
        }
    }
    text
}

/// Figures of alerts: how many are so, how many came since the process started.
struct Count {
    seen: u64,
    counted_at: Option<Instant>,
    shown: u64,
}

impl Count {
    fn new(projections: &Projections) -> Count {
        for kind in Kind::ALL {
            counter!("tollgate_alerts_raised_total", "kind" => kind.as_str()).absolute(0);
            gauge!("tollgate_alerts_open", "kind" => kind.as_str()).set(0.0);
        }
        counter!("tollgate_calls_orphaned_total").absolute(0);
        let seen = projections.view(VIEW).map_or(0, |view| view.next());
        Count { seen, counted_at: None, shown: 0 }
    }

    async fn look(&mut self, projections: &Projections, now: Timestamp) {
        let Some(view) = projections.view(VIEW).cloned() else { return };
        let is_due = self.counted_at.is_none_or(|at| at.elapsed() >= COUNT_EVERY);
        if view.next() == self.shown && !is_due {
            return;
        }
        let seen = self.seen;
        let read = move || {
            view.read(|snapshot| {
                let (mut from, mut kinds) = (seen, Vec::new());
                while let Some(told) = alerts::pending(snapshot, from, |_| true)? {
                    from = told.n + 1;
                    kinds.extend(told.over.is_none().then_some(told.alert.kind));
                }
                let open: Vec<Kind> = alerts::open(snapshot, now)?.into_iter().map(|(_, alert)| alert.kind).collect();
                Ok::<_, projections::Fault>((snapshot.next(), from, kinds, open))
            })
        };
        let Ok(Ok((shown, from, kinds, open))) = tokio::task::spawn_blocking(read).await else { return }; // told where it failed
        (self.shown, self.seen, self.counted_at) = (shown, from.max(seen), Some(Instant::now()));
        for kind in kinds {
            counter!("tollgate_alerts_raised_total", "kind" => kind.as_str()).increment(1);
            counter!("tollgate_calls_orphaned_total").increment(u64::from(kind == Kind::CallOrphaned));
        }
        for kind in Kind::ALL {
            let count = open.iter().filter(|other| **other == kind).count();
            gauge!("tollgate_alerts_open", "kind" => kind.as_str()).set(count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_signed_as_standard_webhooks_are() {
        // the example of its specification
        let key = webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn waits_double_and_end() {
        assert!(wait(1, 0) >= Duration::from_millis(500) && wait(1, 999) <= Duration::from_secs(1));
        assert!(wait(4, 0) >= Duration::from_secs(4) && wait(4, 999) <= Duration::from_secs(8));
        assert!(wait(1_000, u128::MAX) <= limits::WEBHOOK_RETRY_MAX && wait(1_000, 0) >= limits::WEBHOOK_RETRY_MAX / 2);
    }

    #[test]
    fn urls_are_split_behind_their_authority() {
        let pair = |base: &str, path: &str| (base.to_owned(), path.to_owned());
        assert_eq!(split("https://hooks.example/a/b"), pair("https://hooks.example", "/a/b"));
        assert_eq!(split("http://127.0.0.1:9000"), pair("http://127.0.0.1:9000", "/"));
    }

    #[test]
    fn a_place_is_noted_once_in_a_while() {
        let mut place =
            Place { position: Some(3), sent: false, noted: 2, noted_at: Instant::now() - limits::WEBHOOK_NOTE_EVERY, failures: 2 };
        assert_eq!(place.due(), None);
        place.took(7);
        assert_eq!((place.due(), place.failures), (Some(8), 0));
        place.was_noted(8);
        place.skipped(9);
        assert_eq!(place.due(), None, "it was noted just now");
    }
}
