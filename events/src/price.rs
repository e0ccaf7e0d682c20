//! Prices as data. The arithmetic is in `cluster-config/src/price.rs`.

use crate::Money;
use serde::{Deserialize, Serialize};

/// Prices of one model, per token or piece, in pico-dollars. A class without a price of its own costs what its neighbour costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Nested")]
pub struct Price {
    pub input: Money,
    pub output: Money,
    /// None: as input.
    pub cache_read: Option<Money>,
    /// None: as input.
    pub cache_write: Option<Money>,
    /// None: as `cache_write`.
    pub cache_write_1h: Option<Money>,
    /// None: as output.
    pub reasoning: Option<Money>,
    /// None: as input.
    pub audio_input: Option<Money>,
    /// None: as output.
    pub audio_output: Option<Money>,
    /// A made image.
    pub image: Option<Money>,
    /// A hosted search.
    pub search: Option<Money>,
    /// A flat sum a request.
    pub request: Option<Money>,
    /// Dearer prices for requests with more input than so many tokens; the whole request is charged at them.
    pub long: Option<Box<Long>>,
    /// Other prices by service tier, such as `priority` and `flex`.
    pub tiers: Vec<(String, Price)>,
}

/// See [`Price::long`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Long {
    pub above_tokens: u64,
    pub price: Price,
}

/// How deep prices may lie in prices when they are read: a tier with a long price needs three. Without an end a hostile frame of a few
/// kilobytes nests deep enough to overflow the stack, which aborts the process.
type Nested = Read<Read<Read<Read<End>>>>;

/// A price as it is read: its own fields in their order, and inner prices of one level less.
#[derive(Deserialize)]
struct Read<Inner> {
    input: Money,
    output: Money,
    cache_read: Option<Money>,
    cache_write: Option<Money>,
    cache_write_1h: Option<Money>,
    reasoning: Option<Money>,
    audio_input: Option<Money>,
    audio_output: Option<Money>,
    image: Option<Money>,
    search: Option<Money>,
    request: Option<Money>,
    long: Option<ReadLong<Inner>>,
    tiers: Vec<(String, Inner)>,
}

#[derive(Deserialize)]
struct ReadLong<Inner> {
    above_tokens: u64,
    price: Inner,
}

/// The level at which nothing more may lie.
enum End {}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: serde::Deserializer<'de>>(_bytes: D) -> Result<End, D::Error> {
        Err(serde::de::Error::custom("prices are nested too deep"))
    }
}

impl From<End> for Price {
    fn from(end: End) -> Price {
        match end {}
    }
}

impl<Inner: Into<Price>> From<Read<Inner>> for Price {
    fn from(read: Read<Inner>) -> Price {
        Price {
            input: read.input,
            output: read.output,
            cache_read: read.cache_read,
            cache_write: read.cache_write,
            cache_write_1h: read.cache_write_1h,
            reasoning: read.reasoning,
            audio_input: read.audio_input,
            audio_output: read.audio_output,
            image: read.image,
            search: read.search,
            request: read.request,
            long: read.long.map(|long| Box::new(Long { above_tokens: long.above_tokens, price: long.price.into() })),
            tiers: read.tiers.into_iter().map(|(name, tier)| (name, tier.into())).collect(),
        }
    }
}

/// What is known of a model besides its price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The most tokens that one answer can have, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// The most tokens that go in.
    pub context_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    /// A price in a price, so many times, now as what long requests cost, now as a tier.
    fn nested(levels: usize) -> Price {
        (0..levels).fold(Price { input: Money(7), ..Price::default() }, |price, level| match level % 2 {
            0 => Price { long: Some(Box::new(Long { above_tokens: 200_000, price })), ..Price::default() },
            _ => Price { tiers: vec![("priority".into(), price)], ..Price::default() },
        })
    }

    #[test]
    fn prices_read_back_as_deep_as_they_are_needed() {
        for levels in 0..4 {
            assert_eq!(codec::decode(&codec::encode(&nested(levels))), Ok(nested(levels)), "{levels} levels");
        }
    }

    #[test]
    fn prices_that_are_nested_deeper_are_an_error_and_not_an_abort() {
        for levels in [4, 5, 1_000] {
            let error = codec::decode::<Price>(&codec::encode(&nested(levels))).unwrap_err();
            assert!(error.0.contains("too deep"), "{levels} levels: {error}");
        }
    }
}
