//! A webhook: where alerts are sent. Its secret is a note, sealed; the event carries the note's digest.

use crate::{Aggregate, Kept, Refusal, State, StreamId, TenantId, Timestamp, WebhookId, alert::Kind};
use serde::{Deserialize, Serialize};

/// What it is told to be, but for its secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub name: String,
    /// It gets this tenant's alerts only, and its URL may not lead inside; None: the operator's, for all.
    pub tenant: Option<TenantId>,
    pub url: String,
    /// Which alerts it gets, ascending; None: all.
    pub alerts: Option<Vec<Kind>>,
}

impl Settings {
    /// Whether it gets an alert of this kind, of this tenant (None: the platform's).
    pub fn takes(&self, kind: Kind, tenant: Option<TenantId>) -> bool {
        self.alerts.as_ref().is_none_or(|alerts| alerts.contains(&kind)) && (self.tenant.is_none() || self.tenant == tenant)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    pub settings: Settings,
    /// Digest of the sealed note.
    pub secret: Option<[u8; 32]>,
    pub made_at: Timestamp,
    pub made: bool,
    pub closed: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make it, or bring what exists to these settings. `secret`: digest of the note that goes with the command; None keeps what is.
    Set {
        settings: Settings,
        secret: Option<[u8; 32]>,
    },
    Close,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Created(Settings),
    Changed(Settings),
    SecretSet { digest: [u8; 32] },
    Closed,
}

impl Aggregate for Webhook {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, command: Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            _ if self.closed => Err(Refusal::Closed),
            Command::Set { settings, secret } => {
                let mut events = Vec::new();
                if !self.made {
                    events.push(Event::Created(settings));
                } else if settings != self.settings {
                    events.push(Event::Changed(settings));
                }
                if let Some(digest) = secret.filter(|digest| Some(*digest) != self.secret) {
                    events.push(Event::SecretSet { digest });
                }
                Ok(events)
            }
            Command::Close if !self.made => Err(Refusal::Unknown),
            Command::Close => Ok(vec![Event::Closed]),
        }
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Created(settings) => {
                *self = Webhook { settings: settings.clone(), secret: None, made_at: at, made: true, closed: false }
            }
            Event::Changed(settings) => self.settings = settings.clone(),
            Event::SecretSet { digest } => self.secret = Some(*digest),
            Event::Closed => self.closed = true,
        }
    }
}

impl Webhook {
    /// Alerts are sent to it.
    pub fn is_open(&self) -> bool {
        self.made && !self.closed
    }
}

impl Kept for Webhook {
    type Id = WebhookId;
    fn stream(id: WebhookId) -> StreamId {
        StreamId::Webhook(id)
    }
    fn find(state: &State, id: WebhookId) -> Option<&Webhook> {
        state.books.webhooks.get(&id)
    }
    fn event(id: WebhookId, event: Event) -> crate::Event {
        crate::Event::Webhook(id, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::given;

    fn settings(url: &str) -> Settings {
        Settings { name: "pager".into(), url: url.into(), ..Settings::default() }
    }

    #[test]
    fn it_is_made_changed_and_closed() {
        let set = |url: &str, secret| Command::Set { settings: settings(url), secret };
        let made = [Event::Created(settings("https://a.example/x")), Event::SecretSet { digest: [1; 32] }];
        given::<Webhook>([]).when(set("https://a.example/x", Some([1; 32]))).then(made.clone());
        given::<Webhook>(made.clone()).when(set("https://a.example/x", None)).then([]);
        given::<Webhook>(made.clone()).when(set("https://b.example/x", None)).then([Event::Changed(settings("https://b.example/x"))]);
        assert!(!given::<Webhook>(made.clone()).when(Command::Close).then([Event::Closed]).is_open());
        given::<Webhook>([]).when(Command::Close).refused(Refusal::Unknown);
        given::<Webhook>(made.into_iter().chain([Event::Closed])).when(set("https://a.example/x", None)).refused(Refusal::Closed);
    }

    #[test]
    fn a_tenants_gets_its_own_alone() {
        let of = |tenant, alerts| Settings { tenant, alerts, ..Settings::default() };
        let (mine, other) = (Some(TenantId(1)), Some(TenantId(2)));
        assert!(of(None, None).takes(Kind::DiskLow, None) && of(None, None).takes(Kind::CallOrphaned, mine));
        let own = of(mine, None);
        assert!(own.takes(Kind::CallOrphaned, mine) && !own.takes(Kind::CallOrphaned, other) && !own.takes(Kind::DiskLow, None));
        let some = of(None, Some(vec![Kind::BudgetOverrun]));
        assert!(some.takes(Kind::BudgetOverrun, other) && !some.takes(Kind::DiskLow, None));
    }
}
