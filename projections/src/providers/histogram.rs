//! Counts of values in buckets that grow with them: a quantile is off by at most 1/16.

use serde::{Deserialize, Serialize};

/// Values below this have a bucket each; above, each power of two has so many.
const FINE: u64 = 16;
const FINE_BITS: u32 = FINE.ilog2();

/// See the module. Sparse: buckets in order, with their counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram(Vec<(u16, u64)>);

fn bucket(value: u64) -> u16 {
    if value < FINE {
        return value as u16;
    }
    let power = value.ilog2();
    let part = (value >> (power - FINE_BITS)) - FINE;
    (u64::from(power - FINE_BITS + 1) * FINE + part) as u16
}

/// The least value of a bucket, and the least behind it.
fn bounds(bucket: u16) -> (u64, u64) {
    let bucket = u64::from(bucket);
    if bucket < FINE {
        return (bucket, bucket + 1);
    }
    let (power, part) = (bucket / FINE - 1, bucket % FINE);
    let low = (FINE + part) << power;
    (low, low.saturating_add(1 << power))
}

impl Histogram {
    pub fn count(&mut self, value: u64) {
        self.bump(bucket(value), 1);
    }

    fn bump(&mut self, bucket: u16, count: u64) {
        match self.0.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(count),
            Err(at) => self.0.insert(at, (bucket, count)),
        }
    }

    pub fn add(&mut self, other: &Histogram) {
        for (bucket, count) in &other.0 {
            self.bump(*bucket, *count);
        }
    }

    /// Values that were counted.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The value below which a share of all lies, in the middle of its bucket; None: nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = ((self.total() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.0.iter().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        found.map(|(bucket, _)| {
            let (low, next) = bounds(*bucket);
            low + (next - low) / 2
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        for value in (0..5_000).chain((0..64).map(|power| 1u64 << power)).chain([u64::MAX, u64::MAX - 1]) {
            let (low, next) = bounds(bucket(value));
            assert!(low <= value && (value < next || next == u64::MAX), "{value}: {low}..{next}");
            assert!(value < FINE || next - low <= low / FINE + 1, "{value}");
        }
    }

    #[test]
    fn quantiles_are_near_and_sums_are_sums() {
        let (mut all, mut half) = (Histogram::default(), Histogram::default());
        for value in 1..=1_000 {
            if value % 2 == 0 { half.count(value) } else { all.count(value) }
        }
        all.add(&half);
        assert_eq!(all.total(), 1_000);
        for (share, exact) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (0.001, 1.0)] {
            let found = all.quantile(share).unwrap() as f64;
            assert!((found - exact).abs() <= exact / 16.0 + 1.0, "{share}: {found}");
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
