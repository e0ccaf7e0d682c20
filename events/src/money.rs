//! Money and the other figures that a budget counts.

use serde::{Deserialize, Serialize};
use std::{fmt, iter::Sum, ops};

/// Pico-dollars (10⁻¹² USD): a price per token is an integer, so a cost is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Money(pub i128);

/// Pico-dollars in a dollar.
pub const PICO: i128 = 1_000_000_000_000;

impl Money {
    pub const ZERO: Money = Money(0);

    /// Whole dollars.
    pub const fn usd(dollars: i64) -> Money {
        Money(dollars as i128 * PICO)
    }

    /// Reads a plain decimal such as `12.0345`, at most 12 places and [`crate::limits::MONEY_PICO_MAX`].
    pub fn parse(text: &str) -> Option<Money> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 18 || part.len() > 12 || !is_number(whole) || !is_number(part) || digits.ends_with('.') {
            return None;
        }
        let mut pico: i128 = whole.parse::<i128>().ok()? * PICO;
        if !part.is_empty() {
            pico += part.parse::<i128>().ok()? * 10i128.pow(12 - part.len() as u32);
        }
        (pico <= crate::limits::MONEY_PICO_MAX).then_some(Money(sign * pico))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, sign) = (self.0.unsigned_abs(), if self.0 < 0 { "-" } else { "" });
        let (whole, part) = (size / PICO as u128, size % PICO as u128);
        if part == 0 {
            return write!(f, "{sign}{whole}");
        }
        write!(f, "{sign}{whole}.{}", format!("{part:012}").trim_end_matches('0'))
    }
}

impl ops::Add for Money {
    type Output = Money;
    fn add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
}

impl ops::Sub for Money {
    type Output = Money;
    fn sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }
}

impl ops::AddAssign for Money {
    fn add_assign(&mut self, other: Money) {
        *self = *self + other;
    }
}

impl ops::SubAssign for Money {
    fn sub_assign(&mut self, other: Money) {
        *self = *self - other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(parts: I) -> Money {
        parts.fold(Money::ZERO, ops::Add::add)
    }
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unit {
    Usd,
    Tokens,
    Requests,
}

impl Unit {
    /// The word of the configuration and of JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Usd => "USD",
            Unit::Tokens => "tokens",
            Unit::Requests => "requests",
        }
    }
}

/// An amount in some budget's unit: pico-dollars, tokens or requests.
pub type Amount = i128;

/// An amount as strangers read it: a decimal string in its unit.
pub fn amount_text(unit: Unit, amount: Amount) -> String {
    match unit {
        Unit::Usd => Money(amount).to_string(),
        Unit::Tokens | Unit::Requests => amount.to_string(),
    }
}

/// What one call holds or used, once in each unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    pub cost: Money,
    pub tokens: u64,
    pub requests: u64,
}

impl Figures {
    /// The figure in one unit.
    pub fn of(&self, unit: Unit) -> Amount {
        match unit {
            Unit::Usd => self.cost.0,
            Unit::Tokens => self.tokens.into(),
            Unit::Requests => self.requests.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_read_back() {
        for (text, pico) in
            [("0", 0), ("50", 50 * PICO), ("12.0345", 12_034_500_000_000), ("0.000000000001", 1), ("-1.5", -1_500_000_000_000)]
        {
            assert_eq!(Money::parse(text), Some(Money(pico)), "{text}");
            assert_eq!(Money(pico).to_string(), text);
        }
        for bad in ["", ".", "1.", ".5", "1e3", "0.0000000000001", "9999999999999999999", "1,5", "+1", "--1", "NaN"] {
            assert_eq!(Money::parse(bad), None, "{bad}");
        }
    }
}
