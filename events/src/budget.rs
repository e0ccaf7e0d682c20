//! A budget: a limit over windows of time, on a scope, a key, a tenant or the platform. Its figures are in [`Window`]s.

use crate::{Aggregate, Amount, BudgetId, Every, Kept, Owner, Refusal, State, StreamId, Timestamp, Unit};
use serde::{Deserialize, Serialize};

/// Which calls a budget covers; empty lists cover all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Filter {
    /// Names of models, with wildcards.
    pub models: Vec<String>,
    /// Names of providers.
    pub providers: Vec<String>,
    /// Tags, `key=value`.
    pub tags: Vec<String>,
}

/// What makes a budget this one and no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    pub owner: Owner,
    pub unit: Unit,
    pub every: Every,
    pub only: Filter,
}

impl Default for Identity {
    fn default() -> Identity {
        Identity { owner: Owner::Platform, unit: Unit::Usd, every: Every::Total, only: Filter::default() }
    }
}

/// What can change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// In the budget's unit.
    pub limit: Amount,
    /// Refuses what does not fit; else it only counts and alerts.
    pub hard: bool,
    /// Shares of the limit at which an alert is due, in millionths, ascending.
    pub alert_at_ppm: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    pub identity: Identity,
    pub terms: Terms,
    pub made_at: Timestamp,
    pub made: bool,
    pub closed: bool,
    /// The window and the highest threshold that was alerted in it.
    pub alerted: Option<(Timestamp, u32)>,
}

/// The figures of one budget in one window. `limit = settled + held + free` at every position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub settled: Amount,
    pub held: Amount,
    /// Σ over the window's calls of what was used above what was held.
    pub overrun: Amount,
    /// Calls that hold.
    pub open_calls: u64,
    /// Orphans whose charge may still be replaced.
    pub orphans: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Open it, or bring what exists to these terms; a closed one opens again with its books as they are.
    Set {
        identity: Identity,
        terms: Terms,
    },
    Close,
    /// A threshold has been passed in a window.
    Alert {
        window: Timestamp,
        threshold_ppm: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Opened { identity: Identity, terms: Terms },
    LimitSet { limit: Amount },
    TermsSet { hard: bool, alert_at_ppm: Vec<u32> },
    Closed,
    Reopened,
    Alerted { window: Timestamp, threshold_ppm: u32 },
}

/// What a budget owes.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Tell that this share of the limit is spent or held.
    Alert { window: Timestamp, threshold_ppm: u32 },
}

impl Aggregate for Budget {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = Effect;

    fn decide(&self, command: Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Set { identity, terms } if !self.made => Ok(vec![Event::Opened { identity, terms }]),
            Command::Set { identity, .. } if identity != self.identity => {
                Err(Refusal::Invalid("a budget cannot change its owner, unit, window or filter".into()))
            }
            Command::Set { terms, .. } => Ok(self.changes(terms)),
            _ if !self.made => Err(Refusal::Unknown),
            Command::Close if self.closed => Ok(Vec::new()),
            Command::Close => Ok(vec![Event::Closed]),
            Command::Alert { window, threshold_ppm } if self.alerted >= Some((window, threshold_ppm)) => Ok(Vec::new()),
            Command::Alert { window, threshold_ppm } => Ok(vec![Event::Alerted { window, threshold_ppm }]),
        }
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Opened { identity, terms } => {
                *self = Budget { identity: identity.clone(), terms: terms.clone(), made_at: at, made: true, closed: false, alerted: None };
            }
            Event::LimitSet { limit } => self.terms.limit = *limit,
            Event::TermsSet { hard, alert_at_ppm } => {
                self.terms.hard = *hard;
                self.terms.alert_at_ppm.clone_from(alert_at_ppm);
            }
            Event::Closed => self.closed = true,
            Event::Reopened => self.closed = false,
            Event::Alerted { window, threshold_ppm } => self.alerted = Some((*window, *threshold_ppm)),
        }
    }

    fn owed(&self, state: &State) -> Vec<Effect> {
        let window = self.identity.every.window(state.desk.time());
        let due = state
            .budget_id(&self.identity)
            .and_then(|id| state.books.windows.get(&(id, window)))
            .and_then(|figures| self.threshold_passed(window, figures));
        due.map(|threshold_ppm| Effect::Alert { window, threshold_ppm }).into_iter().collect()
    }
}

impl Budget {
    fn changes(&self, terms: Terms) -> Vec<Event> {
        let mut events = Vec::new();
        if self.closed {
            events.push(Event::Reopened);
        }
        if terms.limit != self.terms.limit {
            events.push(Event::LimitSet { limit: terms.limit });
        }
        if (terms.hard, &terms.alert_at_ppm) != (self.terms.hard, &self.terms.alert_at_ppm) {
            events.push(Event::TermsSet { hard: terms.hard, alert_at_ppm: terms.alert_at_ppm });
        }
        events
    }

    /// The highest threshold that is passed in this window and was not alerted yet.
    pub fn threshold_passed(&self, window: Timestamp, figures: &Window) -> Option<u32> {
        let used = figures.settled.saturating_mul(1_000_000);
        let passed = self.terms.alert_at_ppm.iter().rev().find(|ppm| used >= self.terms.limit.saturating_mul(i128::from(**ppm)));
        passed.copied().filter(|ppm| self.alerted < Some((window, *ppm)))
    }
}

impl Kept for Budget {
    type Id = BudgetId;
    fn stream(id: BudgetId) -> StreamId {
        StreamId::Budget(id)
    }
    fn find(state: &State, id: BudgetId) -> Option<&Budget> {
        state.books.budgets.get(&id)
    }
    fn event(id: BudgetId, event: Event) -> crate::Event {
        crate::Event::Budget(id, event)
    }
}

#[cfg(test)]
mod tests;
