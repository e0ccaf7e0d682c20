//! All that may happen, over all nouns. What is stored of an event is the encoding of [`Body`]; a changed form is a new variant
//! behind the old ones, never a change to one of them.

use crate::{
    AlertId, BudgetId, CallId, KeyId, ModelId, NodeId, Owner, ProviderId, ScopeId, StreamId, TenantId, TokenId, WebhookId, alert, budget,
    call, catalogue,
    codec::{self, Undecodable},
    key, model, node, policy, provider, scope, tenant, token, webhook,
};
use serde::{Deserialize, Serialize};

/// An event and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Tenant(TenantId, tenant::Event),
    Scope(ScopeId, scope::Event),
    Key(KeyId, key::Event),
    Provider(ProviderId, provider::Event),
    Model(ModelId, model::Event),
    Catalogue(catalogue::Event),
    Budget(BudgetId, budget::Event),
    Node(NodeId, node::Event),
    Call(CallId, call::Event),
    Policy(Owner, policy::Event),
    Token(TokenId, token::Event),
    Webhook(WebhookId, webhook::Event),
    Alert(AlertId, alert::Event),
}

/// An event without its stream, which the envelope names. Variants are only ever added, at the end.
#[derive(Deserialize)]
enum Body {
    Tenant(tenant::Event),
    Scope(scope::Event),
    Key(key::Event),
    Provider(provider::Event),
    Model(model::Event),
    Catalogue(catalogue::Event),
    Budget(budget::Event),
    Node(node::Event),
    Call(call::Event),
    Policy(policy::Event),
    Token(token::Event),
    Webhook(webhook::Event),
    Alert(alert::Event),
}

/// [`Body`] to be written: the same variants in the same order, held by the golden bytes.
#[derive(Serialize)]
enum Written<'a> {
    Tenant(&'a tenant::Event),
    Scope(&'a scope::Event),
    Key(&'a key::Event),
    Provider(&'a provider::Event),
    Model(&'a model::Event),
    Catalogue(&'a catalogue::Event),
    Budget(&'a budget::Event),
    Node(&'a node::Event),
    Call(&'a call::Event),
    Policy(&'a policy::Event),
    Token(&'a token::Event),
    Webhook(&'a webhook::Event),
    Alert(&'a alert::Event),
}

impl Event {
    /// The stream that it belongs to.
    pub fn stream(&self) -> StreamId {
        match self {
            Event::Tenant(id, _) => StreamId::Tenant(*id),
            Event::Scope(id, _) => StreamId::Scope(*id),
            Event::Key(id, _) => StreamId::Key(*id),
            Event::Provider(id, _) => StreamId::Provider(*id),
            Event::Model(id, _) => StreamId::Model(*id),
            Event::Catalogue(_) => StreamId::Catalogue,
            Event::Budget(id, _) => StreamId::Budget(*id),
            Event::Node(id, _) => StreamId::Node(*id),
            Event::Call(id, _) => StreamId::Call(*id),
            Event::Policy(owner, _) => StreamId::Policy(*owner),
            Event::Token(id, _) => StreamId::Token(*id),
            Event::Webhook(id, _) => StreamId::Webhook(*id),
            Event::Alert(id, _) => StreamId::Alert(*id),
        }
    }

    /// Its bytes, which are stored and hashed as they are.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&match self {
            Event::Tenant(_, event) => Written::Tenant(event),
            Event::Scope(_, event) => Written::Scope(event),
            Event::Key(_, event) => Written::Key(event),
            Event::Provider(_, event) => Written::Provider(event),
            Event::Model(_, event) => Written::Model(event),
            Event::Catalogue(event) => Written::Catalogue(event),
            Event::Budget(_, event) => Written::Budget(event),
            Event::Node(_, event) => Written::Node(event),
            Event::Call(_, event) => Written::Call(event),
            Event::Policy(_, event) => Written::Policy(event),
            Event::Token(_, event) => Written::Token(event),
            Event::Webhook(_, event) => Written::Webhook(event),
            Event::Alert(_, event) => Written::Alert(event),
        })
    }

    /// Reads the bytes of an event of `stream`.
    pub fn decode(stream: StreamId, bytes: &[u8]) -> Result<Event, Undecodable> {
        Ok(match (stream, codec::decode::<Body>(bytes)?) {
            (StreamId::Tenant(id), Body::Tenant(event)) => Event::Tenant(id, event),
            (StreamId::Scope(id), Body::Scope(event)) => Event::Scope(id, event),
            (StreamId::Key(id), Body::Key(event)) => Event::Key(id, event),
            (StreamId::Provider(id), Body::Provider(event)) => Event::Provider(id, event),
            (StreamId::Model(id), Body::Model(event)) => Event::Model(id, event),
            (StreamId::Catalogue, Body::Catalogue(event)) => Event::Catalogue(event),
            (StreamId::Budget(id), Body::Budget(event)) => Event::Budget(id, event),
            (StreamId::Node(id), Body::Node(event)) => Event::Node(id, event),
            (StreamId::Call(id), Body::Call(event)) => Event::Call(id, event),
            (StreamId::Policy(owner), Body::Policy(event)) => Event::Policy(owner, event),
            (StreamId::Token(id), Body::Token(event)) => Event::Token(id, event),
            (StreamId::Webhook(id), Body::Webhook(event)) => Event::Webhook(id, event),
            (StreamId::Alert(id), Body::Alert(event)) => Event::Alert(id, event),
            (stream, _) => return Err(Undecodable(format!("an event of another noun in {stream}"))),
        })
    }
}
