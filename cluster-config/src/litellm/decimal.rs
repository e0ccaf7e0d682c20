//! Decimals as their digits: prices and budgets are moved by powers of ten and never computed.

use crate::tree::Node;

/// Most digits, and most powers of ten: far beyond any price.
const DIGITS_MAX: usize = 64;

/// A number as its digits. A float's digits are the shortest that read as it: what was written, up to 15 of them, and what LiteLLM,
/// which reads floats, takes it for.
pub(super) fn digits(node: &Node) -> Option<String> {
    match node {
        Node::Whole(number) => Some(number.to_string()),
        Node::Float(number) if number.is_finite() => Some(number.to_string()),
        // YAML 1.1, which LiteLLM reads, takes 3e-06 for text
        Node::Text(text) => Some(text.value.trim().to_owned()),
        _ => None,
    }
}

/// The decimal times ten to the power of `places`, plain and without idle zeros: `1.5e-07` by 6 is `0.15`. None if it is no decimal,
/// is below zero or absurdly long.
pub(super) fn shifted(text: &str, places: i32) -> Option<String> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, Some(0)), |(mantissa, power)| (mantissa, power.parse().ok()));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let sized = !(whole.is_empty() && part.is_empty()) && whole.len() <= DIGITS_MAX && part.len() <= DIGITS_MAX;
    let power: i32 = exponent.filter(|power: &i32| power.unsigned_abs() as usize <= DIGITS_MAX)?;
    if !sized || !are_digits(whole) || !are_digits(part) {
        return None;
    }
    let digits = format!("{whole}{part}");
    // where the point stands, counted from the front of the digits
    let point = whole.len() as i32 + power + places;
    let (whole, part) = if point <= 0 {
        (String::new(), format!("{}{digits}", "0".repeat(point.unsigned_abs() as usize)))
    } else {
        let padded = format!("{digits:0<width$}", width = point as usize);
        let (whole, part) = padded.split_at(point as usize);
        (whole.to_owned(), part.to_owned())
    };
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_moved_exactly() {
        for (text, places, moved) in [
            ("1.5e-07", 6, "0.15"),
            ("0.00000015", 6, "0.15"),
            ("3e-06", 6, "3"),
            ("3E-6", 6, "3"),
            ("0.0000025", 6, "2.5"),
            ("1.0000000000000001e-07", 6, "0.10000000000000001"),
            ("0", 6, "0"),
            ("0.0", 0, "0"),
            ("100.50", 0, "100.5"),
            ("1e2", 0, "100"),
            (".5", 3, "500"),
            ("5.", 0, "5"),
            ("+7", 0, "7"),
            ("007", 0, "7"),
            ("12", 3, "12000"),
        ] {
            assert_eq!(shifted(text, places).as_deref(), Some(moved), "{text} by {places}");
        }
        for bad in ["", ".", "e5", "-1", "1e", "1e99", "1e-99", "1.5.2", "1,5", "0x1", "nan", "inf", "1_0", "١", &"9".repeat(65)] {
            assert_eq!(shifted(bad, 6), None, "{bad}");
        }
    }

    #[test]
    fn a_float_keeps_its_digits() {
        let digits = |number: f64| shifted(&digits(&Node::Float(number)).unwrap(), 6);
        assert_eq!(digits(1.5e-7).as_deref(), Some("0.15"));
        assert_eq!(digits(0.1).as_deref(), Some("100000"));
        assert_eq!(super::digits(&Node::Float(f64::NAN)), None);
    }

    proptest! {
        /// Against whole numbers: the digits of a price stay its digits.
        #[test]
        fn millionths_come_back(pico in 0u64..1_000_000_000_000) {
            let token = format!("{pico}e-12");
            let moved = shifted(&token, 6).unwrap();
            prop_assert_eq!(crate::price::per_mtok(&moved).map(|money| money.0), Some(i128::from(pico)));
            let float: f64 = token.parse().unwrap();
            prop_assert_eq!(shifted(&digits(&Node::Float(float)).unwrap(), 6).unwrap(), moved);
        }
    }
}
