//! Figures for operators: closed sets of labels, handles made once a reactor.

use dialects::Endpoint;
use events::call::Outcome;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Handles of one reactor.
pub struct Handles {
    calls: [[Counter; 3]; 6],
    refused: Counter,
    pub in_flight: Gauge,
    pub overhead: Histogram,
    pub first_byte: Histogram,
    pub duration: Histogram,
    pub input_tokens: Counter,
    pub output_tokens: Counter,
    pub released: Counter,
    pub estimated: Counter,
    pub overrun: Counter,
    pub duplicate: Counter,
    pub aborted: Counter,
    pub attempts: Counter,
}

const OUTCOMES: [Outcome; 3] = [Outcome::Ok, Outcome::Failed, Outcome::Aborted];

impl Default for Handles {
    fn default() -> Handles {
        Handles {
            calls: Endpoint::ALL.map(|endpoint| {
                OUTCOMES.map(|outcome| counter!("tollgate_calls_total", "endpoint" => endpoint.as_str(), "outcome" => outcome.as_str()))
            }),
            refused: counter!("tollgate_calls_refused_total"),
            in_flight: gauge!("tollgate_calls_in_flight"),
            overhead: histogram!("tollgate_overhead_seconds"),
            first_byte: histogram!("tollgate_time_to_first_byte_seconds"),
            duration: histogram!("tollgate_call_duration_seconds"),
            input_tokens: counter!("tollgate_tokens_total", "direction" => "input"),
            output_tokens: counter!("tollgate_tokens_total", "direction" => "output"),
            released: counter!("tollgate_calls_released_total"),
            estimated: counter!("tollgate_calls_estimated_total"),
            overrun: counter!("tollgate_calls_overrun_total"),
            duplicate: counter!("tollgate_records_duplicate_total"),
            aborted: counter!("tollgate_calls_aborted_total"),
            attempts: counter!("tollgate_attempts_total"),
        }
    }
}

impl Handles {
    pub fn call(&self, endpoint: Endpoint, outcome: Outcome) -> &Counter {
        let place = Endpoint::ALL.iter().position(|known| *known == endpoint).unwrap_or(0);
        &self.calls[place][outcome as usize]
    }

    pub fn refused(&self) {
        self.refused.increment(1);
    }
}
