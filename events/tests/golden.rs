//! Golden bytes: `golden/TYPE.hex` has a leaf (envelope and body) with one sample of every event that was ever written, and
//! `golden/TYPE.json` how strangers read it. From 0.1.0 on no file here changes: a changed event is a new variant with a new type.
//! `UPDATE_GOLDEN=1` writes what is missing or differs.

#[path = "samples/files.rs"]
mod files;
mod samples;

use events::{
    Event, Position, State,
    cloudevent::{render, type_name},
    envelope::{Envelope, Principal, Recorded},
};
use files::folder;
use std::{collections::BTreeSet, fs};

fn update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

/// The event in an envelope in which every field has a value of its own.
fn recorded(event: Event, n: u64) -> Recorded {
    let tenant = match &event {
        Event::Provider(..) | Event::Model(..) | Event::Catalogue(_) | Event::Node(..) => None,
        _ => Some(samples::TENANT),
    };
    let envelope = Envelope {
        n,
        stream: event.stream(),
        version: 3,
        tenant,
        at: samples::at(),
        principal: Principal::Admin(2),
        cause: 16,
        policy: 12,
    };
    let leaf = envelope.leaf(&event.encode()).into();
    Recorded { envelope, event: event.into(), leaf }
}

/// A state that knows the names of what the samples name.
fn state() -> State {
    let mut state = State::default();
    for event in samples::all() {
        state.replay(&recorded(event, state.position())).expect("the next one");
    }
    state
}

fn to_hex(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(32).map(line).collect()
}

fn compare(name: &str, now: &str) {
    let path = folder().join(name);
    match fs::read_to_string(&path) {
        Ok(golden) if golden == now => {}
        _ if update() => fs::write(&path, now).expect("golden can be written"),
        Ok(golden) => panic!("{name} differs. What was written must read for ever: make a new variant.\ngolden:\n{golden}\nnow:\n{now}"),
        Err(error) => panic!("{name}: {error}; UPDATE_GOLDEN=1 writes it"),
    }
}

#[test]
fn every_event_encodes_to_its_golden_bytes() {
    let forms = samples::forms().into_iter().chain(samples::all().into_iter().map(|event| ("", event)));
    for (mark, event) in forms {
        compare(&format!("{}{mark}.hex", type_name(&event)), &to_hex(&recorded(event, 17).leaf));
    }
}

#[test]
fn every_event_reads_as_its_golden_json() {
    let state = state();
    for event in samples::all() {
        let rendered = render(&recorded(event.clone(), 17), &state, "c1");
        let text = serde_json::to_string_pretty(&rendered).expect("a value prints") + "\n";
        assert!(!text.contains("secret@") && !text.contains("key=secret"), "{text}");
        let name = format!("{}.json", type_name(&event));
        // compared as values: whether fields come sorted is decided by a feature of serde_json that any crate of a build may set
        let golden =
            fs::read_to_string(folder().join(&name)).ok().and_then(|golden| serde_json::from_str::<serde_json::Value>(&golden).ok());
        if golden != Some(rendered) {
            compare(&name, &text);
        }
    }
}

/// Also those that are written no more.
#[test]
fn all_golden_bytes_still_read() {
    let samples = samples::all();
    let mut read = 0;
    for (name, leaf) in files::leaves() {
        let record = Recorded::read(&leaf).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Some(type_name(&record.event)), name.split('+').next());
        assert_eq!((record.envelope.n, record.envelope.version, record.envelope.at), (17, 3, samples::at()), "{name}");
        let body = record.event.encode();
        assert_eq!(record.envelope.leaf(&body), leaf, "{name}: written again it is the same");
        if let Some(sample) = samples.iter().find(|sample| type_name(sample) == name) {
            assert_eq!(*record.event, *sample, "{name}");
        }
        read += 1;
    }
    assert!(read >= samples.len(), "{read} files, {} samples", samples.len());
}

#[test]
fn every_variant_has_one_sample_and_one_type() {
    let samples = samples::all();
    let rows: BTreeSet<&str> = samples.iter().map(samples::row).collect();
    let types: BTreeSet<&str> = samples.iter().map(type_name).collect();
    assert_eq!(
        (rows.len(), types.len()),
        (samples.len(), samples.len()),
        "a sample of another variant than its row's, or a type used twice"
    );
    for name in types {
        let parts: Vec<&str> = name.split('.').collect();
        assert!(matches!(parts[..], ["tollgate", _, _, "v1"]), "{name}");
    }
}

#[test]
fn the_record_of_a_call_reads_as_the_surface_says() {
    let event = samples::all().into_iter().find(|event| type_name(event) == "tollgate.call.finished.v1").expect("a sample");
    let rendered = render(&recorded(event, 17), &state(), "CLUSTER");
    let of = |name: &str| &rendered[name];
    assert_eq!(
        (of("specversion"), of("id"), of("source")),
        (&"1.0".into(), &Position::new(17).to_string().into(), &"tollgate/CLUSTER".into())
    );
    assert_eq!((of("time"), of("tenant"), of("subject")), (&"2026-11-22T00:00:00Z".into(), &"acme".into(), &of("data")["call"]));
    let data = of("data");
    for (name, wanted) in
        [("outcome", "ok"), ("key", "key_3"), ("model", "fast"), ("provider", "openai"), ("cost", "0.0001"), ("overrun", "0.000000000001")]
    {
        assert_eq!(data[name], wanted, "{name}");
    }
    assert_eq!(
        (data["attempts"].as_u64(), data["estimated"].as_bool(), data["usage"]["cache_write_1h"].as_u64()),
        (Some(7), Some(true), Some(40))
    );
}
