//! What was asked and answered, by call id: the provider's own books, to hold the gateway's against.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

/// Ids that are remembered; the oldest goes first.
const IDS_MAX: usize = 100_000;

/// One call id. Several requests may bear it: retries, or none at all ("").
#[derive(Debug, Default)]
struct Entry {
    id: Arc<str>,
    asked: u64,
    /// Of the last request; 0 if it got no answer.
    status: u16,
    /// Whether the last request's answer is whole.
    finished: bool,
    input: u64,
    output: u64,
}

/// Figures since the start or the last clearing.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    asked: u64,
    finished: u64,
    input: u64,
    output: u64,
    /// By the order of their first request.
    calls: BTreeMap<u64, Entry>,
    places: HashMap<Arc<str>, u64>,
    next_place: u64,
}

impl Stats {
    /// A request was read completely and gets this status and bills this input. Returns how often its id was asked before.
    pub(crate) fn asked(&mut self, id: &str, status: u16, input: u64) -> u64 {
        self.asked += 1;
        self.input += input;
        let entry = self.entry(id);
        entry.asked += 1;
        entry.status = status;
        entry.finished = false;
        entry.input += input;
        entry.asked - 1
    }

    /// An answer is over: its last byte was handed over, or it broke off after so many tokens.
    pub(crate) fn closed(&mut self, id: &str, output: u64, whole: bool) {
        self.output += output;
        self.finished += u64::from(whole);
        let entry = self.entry(id);
        entry.output += output;
        entry.finished = whole;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Stats::default();
    }

    fn entry(&mut self, id: &str) -> &mut Entry {
        let place = match self.places.get(id) {
            Some(place) => *place,
            None => self.take_place(id),
        };
        self.calls.entry(place).or_default()
    }

    fn take_place(&mut self, id: &str) -> u64 {
        if self.calls.len() >= IDS_MAX
            && let Some((_, oldest)) = self.calls.pop_first()
        {
            self.places.remove(&oldest.id);
        }
        let (place, id) = (self.next_place, Arc::<str>::from(id));
        self.next_place += 1;
        self.places.insert(id.clone(), place);
        self.calls.insert(place, Entry { id, ..Entry::default() });
        place
    }

    /// All of it as JSON.
    pub(crate) fn to_json(&self) -> String {
        let (asked, finished, input, output) = (self.asked, self.finished, self.input, self.output);
        let mut out = String::with_capacity(128 + self.calls.len() * 128);
        let _ = write!(out, r#"{{"asked":{asked},"finished":{finished},"tokens":{{"input":{input},"output":{output}}},"calls":{{"#);
        for (n, entry) in self.calls.values().enumerate() {
            let Entry { id, asked, status, finished, input, output } = entry;
            let (comma, id) = (if n == 0 { "" } else { "," }, serde_json::Value::from(&**id));
            let _ =
                write!(out, r#"{comma}{id}:{{"asked":{asked},"status":{status},"input":{input},"output":{output},"finished":{finished}}}"#);
        }
        out.push_str("}}\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(stats: &Stats) -> Value {
        serde_json::from_str(&stats.to_json()).expect("valid JSON")
    }

    #[test]
    fn totals_are_the_sum_of_the_calls() {
        let mut stats = Stats::default();
        assert_eq!((stats.asked("a", 500, 0), stats.asked("a", 200, 10), stats.asked("b\"", 200, 5)), (0, 1, 0));
        stats.closed("a", 0, false);
        stats.closed("a", 16, true);
        stats.closed("b\"", 3, false);
        let expected = json!({"asked": 3, "finished": 1, "tokens": {"input": 15, "output": 19}, "calls": {
            "a": {"asked": 2, "status": 200, "input": 10, "output": 16, "finished": true},
            "b\"": {"asked": 1, "status": 200, "input": 5, "output": 3, "finished": false}}});
        assert_eq!(read(&stats), expected);
        stats.clear();
        assert_eq!(read(&stats), json!({"asked": 0, "finished": 0, "tokens": {"input": 0, "output": 0}, "calls": {}}));
    }

    #[test]
    fn the_oldest_id_makes_room() {
        let mut stats = Stats::default();
        for n in 0..IDS_MAX + 5 {
            stats.asked(&format!("call_{n}"), 200, 1);
        }
        assert_eq!((stats.calls.len(), stats.places.len(), stats.asked), (IDS_MAX, IDS_MAX, IDS_MAX as u64 + 5));
        assert!(!stats.places.contains_key("call_4") && stats.places.contains_key("call_5"));
    }
}
