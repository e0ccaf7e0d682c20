use super::*;
use proptest::prelude::*;

fn masked(rules: &[&str], text: &str) -> String {
    Mask::new(rules.iter().copied(), false).body(text.as_bytes()).text
}

const DETECTORS: [&str; 8] = ["secret", "email", "iban", "credit_card", "us_ssn", "ipv6", "ipv4", "phone"];

#[test]
fn paths_replace_whatever_stands_there() {
    let body = r#"{"user" : "ada", "messages":[{"role":"user","content":"hi"},{"role":"tool","content":[{"x":1}]}], "a b": 1e5}"#;
    assert_eq!(
        masked(&["$.messages[*].content", "$['a b']"], body),
        r#"{"user" : "ada", "messages":[{"role":"user","content":"[masked]"},{"role":"tool","content":"[masked]"}], "a b": "[masked]"}"#
    );
    let found = Mask::new(["$.user", "$.none"], false).body(body.as_bytes());
    assert_eq!(found.hit, BTreeSet::from(["$.user".to_owned()]));
}

#[test]
fn rules_are_read_or_refused() {
    for right in ["$.a", "$.a.b[*].c", "$['a.b'][*]", "$[*].x", "email"] {
        assert!(right.parse::<Rule>().is_ok(), "{right}");
    }
    for wrong in ["", "$", "a.b", "$.", "$..a", "$.a[0]", "$['a", "$['']", "$.*", "e-mail", "$.a b'"] {
        assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
    }
}

#[test]
fn detectors_find_what_they_are_for() {
    let cases = [
        ("email", "write to Ada.Love+x@mail.example.co.uk, please", "write to [email], please"),
        ("email", "jürgen@exämple.de", "[email]"),
        ("phone", "call +49 (30) 1234-5678 now", "call [phone] now"),
        ("phone", "call (555) 123-4567 or 555.123.4567 or 030 1234567", "call [phone] or [phone] or [phone]"),
        ("credit_card", "4111 1111 1111 1111 until 12/29", "[credit_card] until 12/29"),
        ("credit_card", "5500-0000-0000-0004", "[credit_card]"),
        ("ipv4", "from 192.168.0.17.", "from [ipv4]."),
        ("ipv6", "from 2001:db8::ff00:42:8329, and fe80::1:", "from [ipv6], and [ipv6]:"),
        ("iban", "to DE89 3704 0044 0532 0130 00 today", "to [iban] today"),
        ("iban", "GB82WEST12345698765432", "[iban]"),
        ("us_ssn", "mine is 123-45-6789", "mine is [us_ssn]"),
        ("secret", "key=sk-proj-abcdefghijklmnop1234 AKIAABCDEFGHIJKLMNOP", "key=[secret] [secret]"),
        ("secret", "Authorization: Bearer abcdefghijklmnop.qrst", "Authorization: Bearer [secret]"),
        ("secret", "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b", "a [secret] b"),
        ("secret", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijkl", "[secret]"),
    ];
    for (rule, text, wanted) in cases {
        assert_eq!(masked(&[rule], text), wanted, "{rule}");
        let body = serde_json::json!({"content": [text]}).to_string();
        assert_eq!(masked(&[rule], &body), serde_json::json!({"content": [wanted]}).to_string(), "{rule} in JSON");
    }
}

#[test]
fn detectors_leave_what_only_looks_alike() {
    let plain = [
        "at 2026-11-26 17:35:32, in 1732640000123 ms, 12:30:45 and std::vec::Vec",
        "pi is 3.14159265358979323846 and 0.4111111111111111",
        "1.2.3 and 1.2.3.4.5 and 300.1.1.1, room 101 10 12, 4111 1111 1111 1112",
        "a@b, @home, sk-short, bearer of news, 000-12-3456, DE00 3704 1044 1532 1130 10",
    ];
    for text in plain {
        assert_eq!(masked(&DETECTORS, text), text);
    }
}

#[test]
fn arguments_of_tools_are_looked_into_and_numbers_too() {
    let body = r#"{"arguments":"{\"to\": \"\\u0061da@example.com\", \"n\": 1}","card":4111111111111111}"#;
    assert_eq!(masked(&["email", "credit_card"], body), r#"{"arguments":"{\"to\": \"[email]\", \"n\": 1}","card":"[credit_card]"}"#);
    let escaped = r#"{"content":"\u0061da\u0040example.com"}"#;
    assert_eq!(masked(&["email"], escaped), r#"{"content":"[email]"}"#);
    assert_eq!(masked(&["email"], r#"{"ada@example.com":1}"#), r#"{"[email]":1}"#);
}

#[test]
fn media_leaves_its_size() {
    let image = "iVBORw0KGgoAAAANSUhEUg".repeat(40);
    let body = format!(r#"{{"url":"data:image/png;base64,{image}","data":"{image}"}}"#);
    let size = image.len() / 4 * 3;
    assert_eq!(
        masked(&[], &body),
        format!(r#"{{"url":"data:image/png;base64,[{size} bytes of base64]","data":"[{size} bytes of base64]"}}"#)
    );
    assert_eq!(Mask::new([], true).body(body.as_bytes()).text, body);
    let words = "lorem ipsum dolor ".repeat(100) + &"x".repeat(2_000);
    assert_eq!(masked(&[], &words), words);
}

#[test]
fn what_is_too_deep_or_broken_is_one_text() {
    let deep = format!("{}\"ada@example.com\"{}", "[".repeat(1_000), "]".repeat(1_000));
    assert!(!masked(&["email"], &deep).contains("ada@"));
    assert_eq!(masked(&["email"], r#"{"a":"ada@example.com"#), r#"{"a":"[email]"#);
}

/// Values that detectors must find wherever they stand between words.
fn values() -> impl Strategy<Value = (usize, &'static str)> {
    prop::sample::select(vec![
        (1, "ada@example.com"),
        (7, "+4930123456789"),
        (7, "555-123-4567"),
        (3, "4111111111111111"),
        (6, "10.11.12.13"),
        (5, "2001:db8::8a2e:370:7334"),
        (2, "DE89370400440532013000"),
        (4, "123-45-6789"),
        (0, "sk-abcdefghijklmnopqrstuvwx"),
    ])
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof!["[ -~äß\n\"\\\\]{0,40}", "[0-9@.:+ ()-]{0,40}", "[a-z0-9@.]{0,30}"];
    let leaf = prop_oneof![
        text.prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-c@.0-9]{1,8}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_json_is_json_and_masking_twice_is_masking_once(body in json()) {
        let rules = [&DETECTORS[..], &["$.a", "$.b[*].c", "$[*]['a']"]].concat();
        let once = masked(&rules, &body.to_string());
        prop_assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok(), "{}", once);
        prop_assert_eq!(masked(&rules, &once), once);
    }

    #[test]
    fn any_bytes_are_masked_the_same_twice(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let once = Mask::new(DETECTORS, false).body(&body).text;
        prop_assert_eq!(masked(&DETECTORS, &once), once);
    }

    #[test]
    fn nothing_of_a_value_remains(before in "([A-Za-z,]{1,9} ){0,4}", (at, value) in values(), after in "( [A-Za-z,]{1,9}){0,4}", nested in 0..3usize) {
        let text = format!("{before}{value}{after}");
        let mut body = serde_json::json!({"content": text}).to_string();
        for _ in 0..nested {
            body = serde_json::json!({"arguments": body}).to_string();
        }
        let found = Mask::new([DETECTORS[at]], false).body(body.as_bytes());
        prop_assert!(!found.text.contains(value), "{}", found.text);
        prop_assert!(found.hit.contains(DETECTORS[at]));
        prop_assert_eq!(masked(&[], &body), body);
    }
}
