//! Bodies of calls on their way to the request log: taken along while a call runs, if its key's policy says so, and handed over at its end.

use crate::{
    call::{Incoming, Way},
    gate,
    report::Ending,
    root::Core,
};
use bytes::Bytes;
use dialects::Endpoint;
use events::{
    CallId, NoteId, State, StreamId, TenantId, Timestamp,
    envelope::Principal,
    limits,
    policy::{Bodies, Logged, RequestLog},
    tenant,
    transaction::{Group, Guard, Proposal, Transaction},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What is kept of one call, as it passed: nothing is masked yet.
#[derive(Clone, Debug)]
pub struct Kept {
    pub call: CallId,
    pub tenant: TenantId,
    pub at: Timestamp,
    pub endpoint: Endpoint,
    /// What its owner says about it.
    pub rules: Arc<RequestLog>,
    pub status: u16,
    pub request: Option<Body>,
    pub answer: Option<Body>,
}

/// One body, as it passed.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub content_type: Option<String>,
    /// A whole one is one piece.
    pub pieces: Vec<Bytes>,
    /// The pieces are those of a stream.
    pub stream: bool,
    /// More came than is held.
    pub truncated: bool,
}

impl Body {
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

impl Kept {
    /// Bytes that it holds in memory.
    pub fn bytes(&self) -> usize {
        [&self.request, &self.answer].into_iter().flatten().map(Body::bytes).sum()
    }
}

/// What a call takes along.
pub(crate) struct Taken {
    rules: Arc<RequestLog>,
    answer: Body,
    held: usize,
}

impl Taken {
    /// None: nothing of this call is kept.
    pub fn begin(incoming: &Incoming) -> Option<Box<Taken>> {
        let rules = incoming.principal.request_log.as_ref().filter(|rules| rules.takes(incoming.id))?;
        Some(Box::new(Taken { rules: rules.clone(), answer: Body::default(), held: 0 }))
    }

    /// The head of the answer is out.
    pub fn head(&mut self, headers: &HeaderMap) {
        self.answer.content_type = content_type(headers);
    }

    pub fn whole(&mut self, body: &Bytes) {
        self.answer.pieces = vec![body.clone()];
    }

    /// A piece of a stream; those beyond the limit are let go.
    pub fn piece(&mut self, piece: &Bytes) {
        self.answer.stream = true;
        self.answer.truncated |= self.held + piece.len() > limits::REQUEST_LOG_STREAM_BYTES_MAX;
        if !self.answer.truncated {
            self.held += piece.len();
            self.answer.pieces.push(piece.clone());
        }
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    headers.get(header::CONTENT_TYPE).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned)
}

/// Hands over what a call took along.
pub(crate) fn hand_over(way: &mut Way, ending: Ending, status: StatusCode) {
    let Some(taken) = way.taken.take() else { return };
    let Taken { rules, answer, .. } = *taken;
    let is_error = ending != Ending::Ok || status.as_u16() >= 400;
    if rules.log == Logged::Errors && !is_error {
        return;
    }
    let incoming = &way.incoming;
    let request = Body { content_type: content_type(&incoming.headers), pieces: vec![incoming.body.clone()], ..Body::default() };
    let bodies = rules.bodies;
    way.reactor.core.bodies.keep(Kept {
        call: incoming.id,
        tenant: incoming.principal.tenant,
        at: way.reactor.core.clock.now(),
        endpoint: incoming.request.endpoint,
        rules,
        status: status.as_u16(),
        request: (bodies != Bodies::Answer).then_some(request),
        answer: (bodies != Bodies::Request).then_some(answer),
    });
}

/// A tenant's data key, sealed, and the digest of that.
pub type SealedKey = ([u8; 32], Vec<u8>);

impl Core {
    /// The note with a tenant's data key; without one, the one that is given becomes it. None: the tenant is closed, or the node stops.
    pub async fn data_key(&self, tenant: TenantId, (digest, note): SealedKey) -> Option<Vec<u8>> {
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            let known = move |state: &State| {
                let open = state.books.tenants.get(&tenant).is_some_and(|tenant| tenant.made && !tenant.closed);
                open.then(|| (state.desk.notes.get(&NoteId::TenantDataKey(tenant)).cloned(), state.version(StreamId::Tenant(tenant))))
            };
            let (note_there, version) = self.look(known).await??;
            if note_there.is_some() {
                return note_there;
            }
            // of two that make one at once, the second finds the first's
            let event = events::Event::Tenant(tenant, tenant::Event::DataKeyMade { digest });
            let transaction = Transaction {
                guards: vec![Guard::Version(StreamId::Tenant(tenant), version)],
                events: vec![Proposal::new(event, Principal::System, 0)],
                notes: vec![(NoteId::TenantDataKey(tenant), Some(note.clone()))],
            };
            let (reply, answer) = oneshot::channel();
            let group = Group { sequence: None, transactions: vec![Some(transaction)] };
            self.gate.cast(gate::Message::Propose { group, reply }).ok()?;
            let _ = answer.await.ok()?; // whatever came of it shows when the state is read again
        }
        None
    }

    /// Tenants that have a data key. None: the node stops.
    pub async fn data_keys(&self) -> Option<Vec<TenantId>> {
        let known = |state: &State| {
            let notes = state.desk.notes.iter();
            notes.filter_map(|(id, _)| if let NoteId::TenantDataKey(tenant) = id { Some(*tenant) } else { None }).collect()
        };
        self.look(known).await
    }
}
