//! What operators are told of: thresholds, overruns, orphans, and what nodes see; by position, with what is still so.

mod query;
#[cfg(test)]
mod tests;

pub use query::{Query, Standing, Told, open, pending};

use crate::{Draft, Fault, Projection, World, key::Key};
use events::{
    AlertId, BudgetId, CallId, Event, KeyId, Money, StreamId, TenantId, Timestamp,
    alert::{self, Kind},
    budget, call,
    envelope::{Envelope, Recorded},
    money::amount_text,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Default)]
pub(crate) struct Alerts;

/// One alert, under the position of the event that it follows from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub kind: Kind,
    /// None: the platform's.
    pub tenant: Option<TenantId>,
    pub at: Timestamp,
    /// The id of what it is about, or a projection's name.
    pub subject: String,
    /// For people: what happened to what.
    pub message: String,
    /// Facts by name, as JSON.
    data: String,
    /// It ends by itself then: with its window, or at once.
    pub until: Option<Timestamp>,
    /// It was ended by another event.
    pub closed_at: Option<Timestamp>,
}

impl Alert {
    /// Facts by name.
    pub fn data(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_default() // it was written by us
    }

    /// When it ended; None: it is so now.
    pub fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.closed_at.into_iter().chain(self.until.filter(|until| *until <= now)).min()
    }
}

/// Alerts by position.
fn row(n: u64) -> Key {
    Key::of(b'a').u64(n)
}

/// By the position of an event that ended one: the position of that one.
fn ended(n: u64) -> Key {
    Key::of(b'e').u64(n)
}

/// Those that another event may end, by what they are about: the position of the last.
fn standing(stream: StreamId) -> Key {
    let (kind, number) = stream.to_parts();
    Key::of(b'o').u8(kind).u128(number)
}

impl Projection for Alerts {
    fn name(&self) -> &'static str {
        "alerts"
    }

    fn form(&self) -> u32 {
        2
    }

    fn writes_while_low(&self) -> bool {
        true
    }

    fn fold(&mut self, record: &Recorded, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let envelope = &record.envelope;
        let made = match &*record.event {
            Event::Call(id, call::Event::Finished(finished)) if finished.overrun > Money::ZERO => Some(overrun(*id, finished, world)),
            Event::Call(id, call::Event::Orphaned(orphaned)) => Some(orphan(*id, orphaned, world)),
            Event::Call(..) => None,
            Event::Budget(id, event) => {
                if matches!(event, budget::Event::Alerted { .. } | budget::Event::Closed | budget::Event::LimitSet { .. }) {
                    // the next share takes the place of the one before
                    close(envelope, !matches!(event, budget::Event::Alerted { .. }), draft)?;
                }
                threshold(*id, event, world)
            }
            Event::Alert(id, event) => {
                close(envelope, matches!(event, alert::Event::Cleared), draft)?;
                seen(*id, event)
            }
            _ => None,
        };
        let Some(made) = made else { return Ok(()) };
        let happened = matches!(made.kind, Kind::BudgetOverrun | Kind::CallOrphaned);
        let alert = Alert {
            kind: made.kind,
            tenant: world.state.tenant_of_record(record),
            at: envelope.at,
            subject: made.subject,
            message: made.message,
            data: made.data.to_string(),
            until: if happened { Some(envelope.at) } else { made.until },
            closed_at: None,
        };
        draft.put(row(envelope.n), &alert);
        if !happened {
            draft.put(standing(envelope.stream), &envelope.n);
        }
        Ok(())
    }
}

/// Ends what is so about the stream of an event; `tells`: whoever was told that it is so is told.
fn close(envelope: &Envelope, tells: bool, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let Some(n) = draft.take::<u64>(&standing(envelope.stream))? else { return Ok(()) };
    if let Some(mut alert) = draft.get::<Alert>(&row(n))? {
        if tells && alert.ended_at(envelope.at).is_none() {
            draft.put(ended(envelope.n), &n);
        }
        alert.closed_at = Some(envelope.at);
        draft.put(row(n), &alert);
    }
    Ok(())
}

/// What an event says of an alert.
struct Made {
    kind: Kind,
    subject: String,
    message: String,
    data: Value,
    until: Option<Timestamp>,
}

fn threshold(id: BudgetId, event: &budget::Event, world: &World) -> Option<Made> {
    let budget::Event::Alerted { window, threshold_ppm } = event else { return None };
    let budget = world.state.books.budgets.get(&id)?;
    let identity = &budget.identity;
    let (owner, unit, every) = (identity.owner, identity.unit, identity.every);
    let name = world.state.owner_name(owner);
    let limit = amount_text(unit, budget.terms.limit);
    let threshold = Money(i128::from(*threshold_ppm) * 1_000_000).to_string();
    let of = [owner.level(), name.unwrap_or_default()].join(" ");
    let message = format!("{threshold} of {limit} {} ({}) of {} is spent", unit.as_str(), every.as_str(), of.trim_end());
    let until = every.end(*window);
    let data = json!({
        "budget": id.to_string(), "level": owner.level(), "owner": name, "owner_id": owner.to_string(), "unit": unit.as_str(),
        "every": every.as_str(), "limit": limit, "threshold": threshold, "window": window.to_string(),
        "resets_at": until.map(|end| end.to_string()), "hard": budget.terms.hard,
    });
    Some(Made { kind: Kind::BudgetThreshold, subject: id.to_string(), message, data, until })
}

fn key_name(key: KeyId, world: &World) -> Option<&str> {
    world.state.books.keys.get(&key).map(|key| key.name.as_str())
}

fn overrun(id: CallId, finished: &call::Finished, world: &World) -> Made {
    let key = key_name(finished.key, world);
    let message = format!("a call of key {} was billed {} USD above its ceiling", key.unwrap_or_default(), finished.overrun);
    let data = json!({
        "call": id.to_string(), "key": key, "key_id": finished.key.to_string(), "model": finished.model,
        "overrun": {"USD": finished.overrun.to_string()}, "cost": {"USD": finished.used.cost.to_string()},
    });
    Made { kind: Kind::BudgetOverrun, subject: id.to_string(), message, data, until: None }
}

fn orphan(id: CallId, orphaned: &call::Orphaned, world: &World) -> Made {
    let key = key_name(orphaned.key, world);
    let charged = orphaned.charged.cost;
    let message = format!("a call of key {} was left open by a node that ended; {charged} USD are charged for it", key.unwrap_or_default());
    let data = json!({
        "call": id.to_string(), "key": key, "key_id": orphaned.key.to_string(), "model": orphaned.model, "node": orphaned.node.to_string(),
        "charged": {"USD": charged.to_string()},
    });
    Made { kind: Kind::CallOrphaned, subject: id.to_string(), message, data, until: None }
}

fn seen(id: AlertId, event: &alert::Event) -> Option<Made> {
    let alert::Event::Raised { subject, detail } = event else { return None };
    let kind = id.kind()?;
    let data = json!({"node": id.node().to_string(), "name": subject, "detail": detail});
    let about = match kind {
        Kind::BreakerOpen => events::ProviderId(id.subject()).to_string(),
        Kind::ProjectionLag => subject.clone(),
        _ => id.node().to_string(),
    };
    Some(Made { kind, subject: about, message: detail.clone(), data, until: None })
}
