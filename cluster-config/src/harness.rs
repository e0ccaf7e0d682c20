//! For tests: a state, the view that is kept up beside it, and a way from a file to both.

use crate::{Change, Plan, Problem, Secrets, Step, View, parse, plan, shipped_catalogue};
use events::{
    Event, Kept, NoteId, ProviderId, State, Timestamp, WebhookId,
    envelope::Principal,
    key::KeyHash,
    transaction::{Group, GroupOutcome, Guard, Outcome, Proposal, Transaction},
};

/// Seals nothing, hashes by repetition, and counts what it makes.
#[derive(Default)]
pub(crate) struct PlainSecrets {
    made: u32,
}

impl Secrets for PlainSecrets {
    fn seal(&mut self, _provider: ProviderId, secret: &str) -> ([u8; 32], Vec<u8>) {
        (self.hash(secret).0, secret.into())
    }

    fn unsealed(&self, provider: ProviderId, state: &State) -> Option<String> {
        state.desk.notes.get(&NoteId::ProviderSecret(provider)).map(|note| String::from_utf8_lossy(note).into_owned())
    }

    fn seal_webhook(&mut self, _webhook: WebhookId, secret: &str) -> ([u8; 32], Vec<u8>) {
        (self.hash(secret).0, secret.into())
    }

    fn unsealed_webhook(&self, webhook: WebhookId, state: &State) -> Option<String> {
        state.desk.notes.get(&NoteId::WebhookSecret(webhook)).map(|note| String::from_utf8_lossy(note).into_owned())
    }

    fn make_webhook(&mut self) -> String {
        format!("whsec_{}", self.make())
    }

    fn hash(&self, secret: &str) -> KeyHash {
        let mut hash = [0; 32];
        hash.iter_mut().zip(secret.bytes().cycle()).for_each(|(to, from)| *to = from);
        KeyHash(hash)
    }

    fn make(&mut self) -> String {
        self.made += 1;
        format!("made-secret-{}", self.made)
    }

    fn seal_at(&mut self, place: &[u8], text: &[u8]) -> Vec<u8> {
        [place, text].concat()
    }

    fn unsealed_at(&self, place: &[u8], note: &[u8]) -> Option<Vec<u8>> {
        note.strip_prefix(place).map(<[u8]>::to_vec)
    }
}

#[derive(Default)]
pub(crate) struct World {
    pub state: State,
    pub view: View,
    pub secrets: PlainSecrets,
}

impl World {
    pub fn new() -> World {
        World::default()
    }

    /// With the prices that are shipped.
    pub fn with_catalogue() -> World {
        let mut world = World::new();
        world.carry_out(Step::Catalogue(shipped_catalogue()));
        world
    }

    /// What a file would change; nothing is.
    pub fn plan(&mut self, text: &str, prune: bool) -> Result<Plan, Vec<Problem>> {
        let config = parse(text, &|_| None)?;
        plan(&config, &self.state, prune, &mut self.secrets).map(|(plan, _)| plan)
    }

    /// Applies a file, and sees that applying it again does nothing.
    pub fn apply(&mut self, text: &str, prune: bool) -> Vec<Change> {
        let planned = self.plan(text, prune);
        let Plan { changes, steps } = planned.unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        steps.into_iter().for_each(|step| self.carry_out(step));
        let again = self.plan(text, prune).expect("it was planned before");
        assert!(again.changes.is_empty() && again.steps.is_empty(), "applied twice: {:?}\n{text}", again.changes);
        changes
    }

    /// As a keeper decides it.
    pub fn carry_out(&mut self, step: Step) {
        match step {
            Step::Tenant(id, command) => self.decide::<events::tenant::Tenant>(id, command, Vec::new()),
            Step::Scope(id, command) => self.decide::<events::scope::Scope>(id, command, Vec::new()),
            Step::Key(id, command) => self.decide::<events::key::Key>(id, command, Vec::new()),
            Step::Model(id, command) => self.decide::<events::model::Model>(id, command, Vec::new()),
            Step::Budget(id, command) => self.decide::<events::budget::Budget>(id, command, Vec::new()),
            Step::Policy(owner, command) => self.decide::<events::policy::Policy>(owner, command, Vec::new()),
            Step::Catalogue(command) => self.decide::<events::catalogue::Catalogue>(events::CatalogueId, command, Vec::new()),
            Step::Webhook(id, command, notes) => self.decide::<events::webhook::Webhook>(id, command, notes),
            Step::Provider(id, command, note) => {
                let notes = note.into_iter().map(|note| (NoteId::ProviderSecret(id), Some(note))).collect();
                self.decide::<events::provider::Provider>(id, command, notes);
            }
        }
    }

    fn decide<A: Kept>(&mut self, id: A::Id, command: A::Command, notes: Vec<(NoteId, Option<Vec<u8>>)>)
    where
        A::Refusal: std::fmt::Debug,
    {
        let events =
            A::find(&self.state, id).unwrap_or(&A::default()).decide(command, Timestamp(1)).expect("a planned step is not refused");
        self.take(events.into_iter().map(|event| A::event(id, event)).collect(), notes);
    }

    /// An event as it is.
    pub fn record(&mut self, event: Event, notes: Vec<(NoteId, Option<Vec<u8>>)>) {
        self.take(vec![event], notes);
    }

    fn take(&mut self, events: Vec<Event>, notes: Vec<(NoteId, Option<Vec<u8>>)>) {
        let Some(stream) = events.first().map(Event::stream) else { return };
        let guards = vec![Guard::Version(stream, self.state.version(stream))];
        let events = events.into_iter().map(|event| Proposal::new(event, Principal::System, 0)).collect();
        let transactions = vec![Some(Transaction { guards, events, notes })];
        let mut records = Vec::new();
        let outcome =
            self.state.apply(&Group { sequence: None, transactions }, Timestamp(1), &mut records).expect("our own events are known");
        assert_eq!(outcome, GroupOutcome::Done(vec![Outcome::Taken]));
        for record in &records {
            self.view.apply(&self.state, record);
        }
        // what binds no call leaves the view at an earlier position
        let mut whole = View::from_state(&self.state);
        whole.position = self.view.position;
        assert!(self.view == whole, "the view that was kept up is not the state's, after {:?}", records.last());
    }
}
