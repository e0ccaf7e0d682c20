//! Arithmetic of prices. Money is whole pico-dollars and a price per token is whole, so costs are sums of products and nothing is
//! rounded. There is one rule for what is not whole: a price that does not come out even is refused when it is read
//! ([`per_mtok`]). (A mark-up or discount, once there is one, rounds half-even, once, on a call's total.)

use events::{Money, Usage, price::Price};

/// Tokens that prices are quoted for.
const MTOK: i128 = 1_000_000;

/// Reads dollars per million tokens as pico-dollars a token: `0.15` is 150,000. None if it is no plain decimal, is negative or too
/// large, or does not come out even (more than six places).
pub fn per_mtok(text: &str) -> Option<Money> {
    let pico = Money::parse(text).filter(|money| money.0 >= 0)?.0;
    (pico % MTOK == 0).then_some(Money(pico / MTOK))
}

/// The figure that [`per_mtok`] reads as this price of a token.
pub(crate) fn in_mtok(token: Money) -> Money {
    Money(token.0.saturating_mul(MTOK))
}

/// What may occur besides text that goes in and comes out. [`Extras::default`] leaves out no class of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extras {
    /// The most images that may be made, in pieces.
    pub images: u64,
    /// The most hosted searches, in pieces.
    pub searches: u64,
    /// Input may be written to a cache. Some providers do it unasked.
    pub cache_write: bool,
    /// Input may be written to a cache that lives an hour.
    pub cache_write_1h: bool,
    /// Audio may go in or come out.
    pub audio: bool,
}

impl Default for Extras {
    fn default() -> Extras {
        Extras { images: 0, searches: 0, cache_write: true, cache_write_1h: true, audio: true }
    }
}

/// Prices with every class filled in, in pico-dollars.
struct Rates {
    input: i128,
    cache_read: i128,
    cache_write: i128,
    cache_write_1h: i128,
    audio_input: i128,
    output: i128,
    reasoning: i128,
    audio_output: i128,
    image: i128,
    search: i128,
    request: i128,
}

impl Rates {
    /// A class without a price of its own costs what its neighbour costs, and nothing is below zero.
    fn of(price: &Price) -> Rates {
        let or = |own: Option<Money>, neighbour: i128| own.map_or(neighbour, |money| money.0.max(0));
        let (input, output) = (price.input.0.max(0), price.output.0.max(0));
        let cache_write = or(price.cache_write, input);
        Rates {
            input,
            cache_read: or(price.cache_read, input),
            cache_write,
            cache_write_1h: or(price.cache_write_1h, cache_write),
            audio_input: or(price.audio_input, input),
            output,
            reasoning: or(price.reasoning, output),
            audio_output: or(price.audio_output, output),
            image: or(price.image, 0),
            search: or(price.search, 0),
            request: or(price.request, 0),
        }
    }

    fn parts(&self, usage: &Usage) -> [(&'static str, i128, u64); 11] {
        [
            ("input", self.input, usage.input),
            ("cache_read", self.cache_read, usage.cache_read),
            ("cache_write", self.cache_write, usage.cache_write),
            ("cache_write_1h", self.cache_write_1h, usage.cache_write_1h),
            ("audio_input", self.audio_input, usage.audio_input),
            ("output", self.output, usage.output),
            ("reasoning", self.reasoning, usage.reasoning),
            ("audio_output", self.audio_output, usage.audio_output),
            ("images", self.image, usage.images),
            ("searches", self.search, usage.searches),
            ("request", self.request, 1),
        ]
    }

    fn cost(&self, usage: &Usage) -> Money {
        self.parts(usage).into_iter().map(|(_, rate, count)| Money(rate.saturating_mul(count.into()))).sum()
    }

    /// The dearest of the classes that may occur for every token.
    fn ceiling(&self, input_tokens: u64, output_tokens: u64, extras: &Extras) -> Money {
        let if_may = |may: bool, rate: i128| if may { rate } else { 0 };
        let dearest_in = [
            if_may(extras.cache_write, self.cache_write),
            if_may(extras.cache_write_1h, self.cache_write_1h),
            if_may(extras.audio, self.audio_input),
        ];
        let dearest_in = dearest_in.into_iter().fold(self.input.max(self.cache_read), i128::max);
        let dearest_out = self.output.max(self.reasoning).max(if_may(extras.audio, self.audio_output));
        let parts = [
            (dearest_in, input_tokens),
            (dearest_out, output_tokens),
            (self.image, extras.images),
            (self.search, extras.searches),
            (self.request, 1),
        ];
        parts.into_iter().map(|(rate, count)| Money(rate.saturating_mul(count.into()))).sum()
    }
}

/// One class of what was used, and what it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// As in [`Usage`]; `request` is the call itself.
    pub class: &'static str,
    pub count: u64,
    pub each: Money,
    pub cost: Money,
}

/// [`cost`], class by class; what costs nothing and was not used is left out.
pub fn lines(price: &Price, usage: &Usage, tier: Option<&str>) -> Vec<Line> {
    let parts = rates(price, usage, tier).parts(usage).into_iter();
    let line = |(class, rate, count): (&'static str, i128, u64)| Line {
        class,
        count,
        each: Money(rate),
        cost: Money(rate.saturating_mul(count.into())),
    };
    parts.map(line).filter(|line| line.count > 0 && (line.class != "request" || line.each != Money::ZERO)).collect()
}

fn rates(price: &Price, usage: &Usage, tier: Option<&str>) -> Rates {
    let tiered = of_tier(price, tier);
    let long = tiered.long.as_ref().filter(|long| usage.tokens_in() > long.above_tokens);
    Rates::of(long.map_or(tiered, |long| &long.price))
}

/// What a usage costs. `tier` is the service tier that the answer names (else the one asked for); one without prices of its own costs
/// the plain price. A request with more input than the price's threshold is charged at its dearer prices as a whole.
pub fn cost(price: &Price, usage: &Usage, tier: Option<&str>) -> Money {
    rates(price, usage, tier).cost(usage)
}

/// The most that a call with so much input and output can cost: the dearest class that can occur for every token, the dearest tier,
/// long or not. `tier` is what the request asks for: `default`, `standard` and `standard_only` are the plain price; a tier by name may
/// be answered at the plain price too; none or `auto` leaves the choice to the provider, so the dearest counts.
///
/// For every usage within these bounds, and every tier that can come of the one asked for, `cost ≤ ceiling`.
pub fn ceiling(price: &Price, input_tokens: u64, output_tokens: u64, extras: &Extras, tier: Option<&str>) -> Money {
    let named = tier.and_then(|name| price.tiers.iter().find(|(tier, _)| tier == name)).map(|(_, price)| price);
    let is_plain = matches!(tier, Some("default" | "standard" | "standard_only"));
    let all = price.tiers.iter().map(|(_, price)| price).filter(|_| named.is_none() && !is_plain);
    let variants = std::iter::once(price).chain(named).chain(all);
    let ceilings = variants.map(|price| {
        let plain = Rates::of(price).ceiling(input_tokens, output_tokens, extras);
        let long = price.long.as_ref().filter(|long| input_tokens > long.above_tokens);
        long.map_or(plain, |long| plain.max(Rates::of(&long.price).ceiling(input_tokens, output_tokens, extras)))
    });
    ceilings.max().unwrap_or_default()
}

fn of_tier<'a>(price: &'a Price, tier: Option<&str>) -> &'a Price {
    tier.and_then(|name| price.tiers.iter().find(|(tier, _)| tier == name)).map_or(price, |(_, price)| price)
}

#[cfg(test)]
#[path = "price_tests.rs"]
mod tests;
