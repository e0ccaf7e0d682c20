use super::*;
use journal::disk::MemoryDisk;

fn open(disk: &MemoryDisk) -> Rows {
    Rows::open(disk, "views", "usage", 1 << 20).unwrap()
}

fn shown(rows: &Rows, from: &str, before: &str, order: Order) -> Vec<String> {
    let mut seen = Vec::new();
    let mut see = |key: &[u8], value: &[u8]| {
        seen.push(format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)));
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    rows.reading().unwrap().visit(from.as_bytes(), before.as_bytes(), order, &mut see).unwrap();
    seen
}

#[test]
fn rows_are_shown_from_either_end_until_told_to_stop() {
    let rows = open(&MemoryDisk::new());
    let write = |writing: &mut Writing<'_>| (0..9).try_for_each(|number| writing.put(format!("k{number}").as_bytes(), b"v"));
    rows.write(false, write).unwrap();
    assert_eq!(shown(&rows, "k2", "k9", Order::Ascending), ["k2=v", "k3=v", "k4=v"]);
    assert_eq!(shown(&rows, "k0", "k8", Order::Descending), ["k7=v", "k6=v", "k5=v"]);
    assert_eq!(shown(&rows, "k8", "z", Order::Ascending), ["k8=v"]);
    assert!(shown(&rows, "z", "a", Order::Ascending).is_empty());
}

#[test]
fn a_transaction_that_fails_leaves_nothing_and_a_reader_sees_one_moment() {
    let disk = MemoryDisk::new();
    let rows = open(&disk);
    rows.write(true, |writing| writing.put(b"a", b"1").and_then(|()| writing.set_meta(b"1"))).unwrap();
    let reading = rows.reading().unwrap();
    let failed = rows.write(true, |writing| {
        writing.put(b"a", b"2")?;
        assert_eq!(writing.get(b"a")?.as_deref(), Some(&b"2"[..]));
        Err(StoreFault::Engine { place: "here".into(), what: "told to".into() })
    });
    assert!(failed.is_err());
    rows.write(true, |writing| writing.remove(b"a").and_then(|()| writing.set_meta(b"2"))).unwrap();
    assert_eq!((reading.get(b"a").unwrap().as_deref(), reading.meta().unwrap().as_deref()), (Some(&b"1"[..]), Some(&b"1"[..])));
    drop(reading);
    assert_eq!((rows.reading().unwrap().get(b"a").unwrap(), rows.meta().unwrap().as_deref()), (None, Some(&b"2"[..])));
    drop(rows);
    assert_eq!(open(&disk).meta().unwrap().as_deref(), Some(&b"2"[..]));
}
