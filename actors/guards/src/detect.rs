//! What personal fields look like. Each detector gives the places of what it finds in a text; all of them go by bytes, and what is not ASCII
//! is as good as a letter.

use crate::mask::Detector;
use std::{net::Ipv6Addr, ops::Range};

/// The text with everything that a detector finds replaced by its name in brackets. None: it finds nothing.
pub(crate) fn replace(detector: Detector, text: &str) -> Option<String> {
    let found = merged(find(detector, text.as_bytes()));
    (!found.is_empty()).then(|| spliced(text, found.into_iter().map(|range| (range, format!("[{}]", detector.as_str())))))
}

fn find(detector: Detector, text: &[u8]) -> Vec<Range<usize>> {
    match detector {
        Detector::Secret => secrets(text),
        Detector::Email => emails(text),
        Detector::Iban => each_start(text, iban),
        Detector::CreditCard => each_start(text, credit_card),
        Detector::UsSsn => each_start(text, us_ssn),
        Detector::Ipv6 => each_start(text, ipv6),
        Detector::Ipv4 => each_start(text, ipv4),
        Detector::Phone => each_start(text, phone),
    }
}

/// Without images and sound: long runs of base64, and what a data URL holds. None: there is none.
pub(crate) fn without_base64(text: &str) -> Option<String> {
    const RUN_MIN: usize = 256;
    const MARK: &[u8] = b";base64,";
    let bytes = text.as_bytes();
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/_-=".contains(byte);
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let run = bytes[at..].iter().take_while(|byte| is_base64(byte)).count();
        let has = |test: fn(&u8) -> bool| bytes[at..at + run].iter().any(test);
        // a word however long is none
        let is_mixed = || has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
        if run > 0 && (bytes[..at].ends_with(MARK) || (run >= RUN_MIN && is_mixed())) {
            found.push((at..at + run, format!("[{} bytes of base64]", run / 4 * 3)));
        }
        at += run.max(1);
    }
    (!found.is_empty()).then(|| spliced(text, found.into_iter()))
}

fn spliced(text: &str, found: impl Iterator<Item = (Range<usize>, String)>) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (range, instead) in found {
        out.push_str(&text[at..range.start]);
        out.push_str(&instead);
        at = range.end;
    }
    out.push_str(&text[at..]);
    out
}

/// In order, those that overlap as one.
fn merged(mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found {
        match merged.last_mut().filter(|last| range.start < last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => merged.push(range),
        }
    }
    merged
}

/// A letter, a digit, or a byte of a letter that is not ASCII.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// No word goes on there.
fn is_edge(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|byte| !is_word(*byte))
}

/// Tries a detector at each place where no word is under way; goes on behind what it finds.
fn each_start(text: &[u8], detect: fn(&[u8], usize) -> Option<usize>) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let starts = at == 0 || !is_word(text[at - 1]);
        match detect(text, at).filter(|_| starts) {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

fn emails(text: &[u8]) -> Vec<Range<usize>> {
    let is_local = |byte: &u8| is_word(*byte) || b"._%+-'&".contains(byte);
    let is_domain = |byte: &u8| is_word(*byte) || b".-".contains(byte);
    let ats = text.iter().enumerate().filter(|(_, byte)| **byte == b'@').map(|(at, _)| at);
    let found = ats.filter_map(|at| {
        let local = text[..at].iter().rev().take_while(|byte| is_local(byte)).count();
        let mut domain = &text[at + 1..at + 1 + text[at + 1..].iter().take_while(|byte| is_domain(byte)).count()];
        while let [rest @ .., b'.' | b'-'] = domain {
            domain = rest;
        }
        let top = domain.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
        let is_named = top.len() >= 2 && top.len() < domain.len().saturating_sub(1) && !top[0].is_ascii_digit();
        (local > 0 && is_named).then(|| at - local..at + 1 + domain.len())
    });
    found.collect()
}

/// How secrets begin, and how many letters of a token follow at least.
const PREFIXES: [(&[u8], usize); 20] = [
    (b"sk-", 16),
    (b"sk_", 16),
    (b"rk_live_", 16),
    (b"pk_live_", 16),
    (b"whsec_", 16),
    (b"ghp_", 20),
    (b"gho_", 20),
    (b"ghs_", 20),
    (b"ghu_", 20),
    (b"github_pat_", 20),
    (b"glpat-", 16),
    (b"xoxb-", 10),
    (b"xoxp-", 10),
    (b"xapp-", 10),
    (b"AKIA", 16),
    (b"ASIA", 16),
    (b"AIza", 30),
    (b"hf_", 20),
    (b"tg-token-", 16),
    (b"tg-admin-", 16),
];

fn secrets(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = each_start(text, known_secret);
    found.extend(each_start(text, web_token));
    found.extend(bearers(text));
    found.extend(private_keys(text));
    found
}

fn token_length(text: &[u8], more: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte) || more.contains(byte)).count()
}

fn known_secret(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    let (prefix, least) = PREFIXES.iter().find(|(prefix, _)| rest.starts_with(prefix))?;
    let length = token_length(&rest[prefix.len()..], b"");
    (length >= *least).then_some(at + prefix.len() + length)
}

/// A JSON web token: three parts, the first of which is a JSON object.
fn web_token(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    let length = rest.starts_with(b"eyJ").then(|| token_length(rest, b"."))?;
    let dots = rest[..length].iter().filter(|byte| **byte == b'.').count();
    (dots >= 2 && length >= 30).then_some(at + length)
}

/// What follows the word `Bearer`.
fn bearers(text: &[u8]) -> Vec<Range<usize>> {
    const WORD: &[u8] = b"bearer ";
    const LEAST: usize = 16;
    let at = text.windows(WORD.len()).enumerate().filter(|(_, window)| window.eq_ignore_ascii_case(WORD)).map(|(at, _)| at + WORD.len());
    at.map(|at| at..at + token_length(&text[at..], b".~+/=")).filter(|range| range.len() >= LEAST).collect()
}

/// From `-----BEGIN … PRIVATE KEY-----` to the end of its last line, or of the text.
fn private_keys(text: &[u8]) -> Vec<Range<usize>> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const KIND: &[u8] = b"PRIVATE KEY-----";
    const END: &[u8] = b"-----END ";
    const TITLE_MAX: usize = 40;
    let place =
        |from: usize, to: usize, what: &[u8]| text[from..to].windows(what.len()).position(|window| window == what).map(|at| from + at);
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(begin) = place(at, text.len(), BEGIN) {
        at = begin + BEGIN.len();
        let Some(kind) = place(at, text.len().min(at + TITLE_MAX), KIND) else { continue };
        let end = place(kind, text.len(), END);
        let end = end.and_then(|end| place(end, text.len().min(end + END.len() + TITLE_MAX), KIND)).map(|end| end + KIND.len());
        at = end.unwrap_or(text.len());
        found.push(begin..at);
    }
    found
}

/// Digits with one separator at most between two of them: where the n-th digit ends, and the digits.
fn digits(text: &[u8], at: usize, most: usize) -> (Vec<usize>, Vec<u8>) {
    let (mut ends, mut digits, mut next) = (Vec::new(), Vec::new(), at);
    while digits.len() < most {
        if !digits.is_empty() && text.get(next).is_some_and(|byte| b" -".contains(byte)) {
            next += 1;
        }
        let Some(digit) = text.get(next).filter(|byte| byte.is_ascii_digit()) else { break };
        digits.push(digit - b'0');
        next += 1;
        ends.push(next);
    }
    (ends, digits)
}

fn credit_card(text: &[u8], at: usize) -> Option<usize> {
    const LEAST: usize = 13;
    const MOST: usize = 19;
    let is_fraction = at > 0 && text[at - 1] == b'.';
    if is_fraction || !text[at].is_ascii_digit() {
        return None;
    }
    let (ends, digits) = digits(text, at, MOST);
    let fits = |count: &usize| is_edge(text, ends[count - 1]) && is_issued(&digits) && luhn(&digits[..*count]);
    (LEAST..=ends.len()).rev().find(fits).map(|count| ends[count - 1])
}

/// Cards begin with 3 to 6, or 22 to 27: times in milliseconds do not.
fn is_issued(digits: &[u8]) -> bool {
    matches!(digits, [3..=6, ..] | [2, 2..=7, ..])
}

fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u32 = digits.iter().rev().enumerate().map(|(at, digit)| u32::from(if at % 2 == 1 { doubled(*digit) } else { *digit })).sum();
    sum.is_multiple_of(10)
}

fn us_ssn(text: &[u8], at: usize) -> Option<usize> {
    let number = text.get(at..at + 11)?;
    let is_dash = |place: usize| place == 3 || place == 6;
    let formed = number.iter().enumerate().all(|(place, byte)| if is_dash(place) { *byte == b'-' } else { byte.is_ascii_digit() });
    let given = !matches!(&number[..3], b"000" | b"666") && number[0] != b'9' && &number[4..6] != b"00" && &number[7..] != b"0000";
    let is_part = (at > 0 && text[at - 1] == b'-') || text.get(at + 11) == Some(&b'-');
    (formed && given && !is_part && is_edge(text, at + 11)).then_some(at + 11)
}

fn ipv4(text: &[u8], at: usize) -> Option<usize> {
    let run = text[at..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let mut address = &text[at..at + run];
    while let [rest @ .., b'.'] = address {
        address = rest;
    }
    let parts: Vec<&[u8]> = address.split(|byte| *byte == b'.').collect();
    let is_byte =
        |part: &&[u8]| (1..=3).contains(&part.len()) && part.iter().fold(0u32, |all, digit| all * 10 + u32::from(digit - b'0')) < 256;
    let is_part = at > 0 && text[at - 1] == b'.';
    (parts.len() == 4 && parts.iter().all(is_byte) && !is_part && is_edge(text, at + address.len())).then_some(at + address.len())
}

fn ipv6(text: &[u8], at: usize) -> Option<usize> {
    const LONGEST: usize = 45;
    if at > 0 && b":.".contains(&text[at - 1]) {
        return None;
    }
    let run = text[at..].iter().take_while(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)).count().min(LONGEST);
    let mut address = &text[at..at + run];
    loop {
        let digits = address.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
        if digits < 2 {
            return None;
        }
        let read = std::str::from_utf8(address).ok().and_then(|address| address.parse::<Ipv6Addr>().ok());
        if read.is_some() && is_edge(text, at + address.len()) {
            return Some(at + address.len());
        }
        match address {
            [rest @ .., b':' | b'.'] => address = rest,
            _ => return None,
        }
    }
}

fn iban(text: &[u8], at: usize) -> Option<usize> {
    const LEAST: usize = 15;
    const MOST: usize = 34;
    let head = text.get(at..at + 4)?;
    if !(head[..2].iter().all(u8::is_ascii_alphabetic) && head[2..].iter().all(u8::is_ascii_digit)) {
        return None;
    }
    let (mut letters, mut ends, mut next) = (Vec::new(), Vec::new(), at);
    while letters.len() < MOST {
        if !letters.is_empty() && text.get(next) == Some(&b' ') {
            next += 1;
        }
        let Some(letter) = text.get(next).filter(|byte| byte.is_ascii_alphanumeric()) else { break };
        letters.push(letter.to_ascii_uppercase());
        next += 1;
        ends.push(next);
    }
    let fits = |count: &usize| is_edge(text, ends[count - 1]) && checks(&letters[..*count]);
    (LEAST..=ends.len()).rev().find(fits).map(|count| ends[count - 1])
}

/// ISO 7064: the number with its head at the end leaves 1 by 97.
fn checks(letters: &[u8]) -> bool {
    let (head, rest) = letters.split_at(4);
    let left = rest.iter().chain(head).fold(0u32, |left, letter| match letter {
        b'0'..=b'9' => (left * 10 + u32::from(letter - b'0')) % 97,
        _ => (left * 100 + u32::from(letter - b'A') + 10) % 97,
    });
    left == 1
}

/// `+` and 8 to 15 digits; or 3, 3 and 4 digits; or a number that begins with 0 and has an area code. Dates and plain numbers are none.
fn phone(text: &[u8], at: usize) -> Option<usize> {
    const DIGITS_MAX: usize = 15;
    const SEPARATORS: &[u8] = b" -./()";
    let is_part = at > 0 && b".-+/".contains(&text[at - 1]);
    let opens = text[at] == b'+' || text[at] == b'(' || text[at].is_ascii_digit();
    if is_part || !opens {
        return None;
    }
    let is_international = text[at] == b'+';
    let mut next = at + usize::from(is_international || text[at] == b'(');
    let (mut groups, mut total, mut best) = (Vec::new(), 0, None);
    loop {
        let group = text[next..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        total += group;
        if group == 0 || total > DIGITS_MAX {
            return best;
        }
        groups.push(group);
        next += group;
        let first_is_0 = text[next - group..].first() == Some(&b'0') && groups.len() == 1;
        let trunk = first_is_0 || (groups.len() > 1 && text[at + usize::from(text[at] == b'(')] == b'0');
        if is_edge(text, next) && is_number(is_international, trunk, &groups, total) {
            best = Some(next);
        }
        let separators = text[next..].iter().take(2).take_while(|byte| SEPARATORS.contains(byte)).count();
        if separators == 0 {
            return best;
        }
        next += separators;
    }
}

fn is_number(is_international: bool, trunk: bool, groups: &[usize], total: usize) -> bool {
    match groups {
        _ if is_international => total >= 8,
        [3, 3, 4] | [1, 3, 3, 4] => true,
        _ if trunk => total >= 10 && groups.len() > 1 && groups.iter().all(|group| *group >= 2),
        _ => false,
    }
}
