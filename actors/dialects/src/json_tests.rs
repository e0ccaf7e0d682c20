use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;
use crate::text::next_special;

fn skips(body: &[u8]) -> Read<Range<usize>> {
    let mut cursor = Cursor::new(body);
    let span = cursor.span()?;
    cursor.end()?;
    Ok(span)
}

/// JSON values of a few levels, as text with some white space.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}|[\\x00-\\x7f]{0,20}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-z_\"\\\\]{0,8}", inner), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    });
    (value, any::<bool>()).prop_map(|(value, pretty)| if pretty { format!("{value:#}") } else { value.to_string() })
}

proptest! {
    #[test]
    fn it_takes_what_serde_takes(text in json_text()) {
        prop_assert_eq!(skips(text.as_bytes()), Ok(0..text.len()));
    }

    /// A changed, lost or added character: both readers agree whether it is still JSON.
    #[test]
    fn it_refuses_what_serde_refuses(text in json_text(), at in any::<prop::sample::Index>(), new in "[\\[\\]{}\",:0-9eE+.\\-tfnul\\\\ \n\u{1}]{0,2}", cut in 0..3usize) {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len() + 1);
        chars.splice(at..(at + cut).min(chars.len()), new.chars());
        let text: String = chars.into_iter().collect();
        prop_assert_eq!(skips(text.as_bytes()).is_ok(), serde_json::from_str::<&RawValue>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn it_agrees_with_serde_on_scraps(text in "[\\[\\]{}\",:0-9eE+.\\-truefalsn\\\\ ]{0,12}") {
        prop_assert_eq!(skips(text.as_bytes()).is_ok(), serde_json::from_str::<&RawValue>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = skips(&bytes);
        let _ = Cursor::new(&bytes).text_bytes();
        let _ = Cursor::new(&bytes).count();
    }

    #[test]
    fn strings_decode_and_measure_as_serde_reads_them(text in "\\PC{0,20}|[\\x00-\\x7f]{0,20}|\u{10000}\u{7ff}\u{800}é") {
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        for body in [Value::from(text.as_str()).to_string(), format!("\"{escaped}\"")] {
            let read = Cursor::new(body.as_bytes()).string().expect("JSON").expect("a string");
            prop_assert_eq!(read.decode().expect("no lone surrogate"), text.as_str());
            prop_assert_eq!(read.len(), text.len() as u64);
            prop_assert_eq!(&*read.bytes(), text.as_bytes());
        }
    }

    #[test]
    fn the_next_special_byte_is_the_first(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x1eu8..0x24, 0x5au8..0x5e], 0..40), from in 0..40usize) {
        let from = from.min(bytes.len());
        let naive = (from..bytes.len()).find(|at| matches!(bytes[*at], b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len());
        prop_assert_eq!(next_special(&bytes, from), naive);
    }
}

#[test]
fn depth_is_bounded_and_the_byte_is_named() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(skips(nested(limits::JSON_DEPTH_MAX).as_bytes()).is_ok());
    let invalid = skips(nested(limits::JSON_DEPTH_MAX + 1).as_bytes()).expect_err("too deep");
    assert_eq!(invalid.code, "invalid_json");
    assert!(invalid.message.contains("at byte 128"), "{}", invalid.message);
    assert!(skips("[".repeat(1_000_000).as_bytes()).is_err());
    assert!(skips("{\"a\":".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn counts_are_lenient_and_integers_are_not() {
    let count = |text: &str| Cursor::new(text.as_bytes()).count().expect("JSON");
    let integer = |text: &str| Cursor::new(text.as_bytes()).integer().expect("JSON");
    assert_eq!([count("12"), count("12.0"), count("1.2e1"), count("0")], [Some(12), Some(12), Some(12), Some(0)]);
    assert_eq!([count("-1"), count("null"), count("\"12\""), count("{}"), count("-0.5")], [None; 5]);
    assert_eq!(count("99999999999999999999999"), Some(limits::COUNT_MAX));
    assert_eq!(
        [integer("12"), integer("12.0"), integer("-1"), integer("1e2"), integer("99999999999999999999")],
        [Some(12), None, None, None, None]
    );
}

#[test]
fn marks_tell_plain_text_from_the_rest() {
    let marks = |text: &str| {
        let mut cursor = Cursor::new(text.as_bytes());
        cursor.skip().expect("JSON");
        cursor.marks
    };
    assert_eq!(
        marks(r#"[{"role":"user","content":[{"type":"text","text":"image_url \"type\":\"image\" cache_control"}]}]"#),
        Marks::default()
    );
    assert!(marks(r#"{"type":"image"}"#).unplain);
    assert!(marks(r#"{"type":"te\u0078t"}"#).unplain);
    assert!(marks(r#"{"file_id":1}"#).unplain);
    assert!(marks(r#"{"\u0066ile_id":1}"#).unplain);
    assert_eq!(marks(r#"{"cache_control":{"type":"ephemeral","ttl":"1h"}}"#), Marks { unplain: false, cache: true, hour: true });
    assert_eq!(marks(r#"{"cache_control":{"type":"ephemeral","ttl":"5m"}}"#), Marks { unplain: false, cache: true, hour: false });
}
