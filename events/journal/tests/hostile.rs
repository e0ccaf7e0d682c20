//! Files of a log and of a history, changed by a hostile hand that can also count checksums: opening, reading, going on and verifying
//! give values or errors, never a panic and never a loop without end; what is refused is named as damage.

use journal::{
    disk::{Damage, Disk, MemoryDisk},
    frame::{self, Found},
    history::History,
    log::{LogBackend, LogOp, SegmentLog},
    segments::Settings,
    verify::{self, Findings},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::{
    io,
    sync::{Arc, LazyLock},
};

static LOG: LazyLock<MemoryDisk> = LazyLock::new(|| {
    let disk = MemoryDisk::new();
    let mut log = open_log(&disk).expect("an empty disk opens");
    for index in 1..40u64 {
        let mut ops = vec![LogOp::Vote(vec![index as u8]), append(index)];
        ops.extend((index % 7 == 0).then(|| LogOp::Purge(index - 6)));
        ops.extend((index % 5 == 0).then_some([LogOp::TruncateAfter(Some(index - 1)), append(index)]).into_iter().flatten());
        log.commit(&ops).expect("it follows");
    }
    disk.copy()
});

static HISTORY: LazyLock<MemoryDisk> = LazyLock::new(|| {
    let disk = MemoryDisk::new();
    let mut history = open_history(&disk).expect("an empty disk opens");
    for number in 0..40u64 {
        history.append(&[vec![number as u8; 30 + number as usize]]).expect("there is room");
        history.sync().expect("the disk is whole");
    }
    disk.copy()
});

fn append(index: u64) -> LogOp {
    LogOp::Append { index, entry: vec![index as u8; 20] }
}

fn open_log(disk: &MemoryDisk) -> io::Result<SegmentLog> {
    Ok(SegmentLog::open_with(Arc::new(disk.clone()), Settings { segment_bytes: 512, ..Settings::log() })?.0)
}

fn open_history(disk: &MemoryDisk) -> io::Result<History> {
    Ok(History::open_with(Arc::new(disk.clone()), Settings { segment_bytes: 512, stride: 3, ..Settings::history() })?.0)
}

/// One change of one file.
#[derive(Clone, Debug)]
enum Harm {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index),
    /// A record that says something else, with a checksum that is right: kind, number, group, body.
    Forge(Index, Option<u8>, Option<u64>, u64, Option<Vec<u8>>),
    /// A byte of a record's body, with a checksum that is right.
    ForgeByte(Index, Index, u8),
    Rename(u64, Option<u64>),
    Copy(u64, Option<u64>),
    Remove,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..50u64, (u64::MAX - 2)..=u64::MAX, any::<u64>()]
}

fn harm() -> impl Strategy<Value = Harm> {
    let body = || vec(prop_oneof![any::<u8>(), 0..4u8, 250..=255u8], 0..40);
    let kind = prop_oneof![0..9u8, 0xFE..=0xFFu8];
    prop_oneof![
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        1 => (any::<Index>(), body()).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        1 => any::<Index>().prop_map(Harm::Cut),
        4 => (any::<Index>(), proptest::option::of(kind), proptest::option::of(number()), 0..3u64, proptest::option::of(body()))
            .prop_map(|(at, kind, number, back, body)| Harm::Forge(at, kind, number, back, body)),
        4 => (any::<Index>(), any::<Index>(), any::<u8>()).prop_map(|(at, byte, to)| Harm::ForgeByte(at, byte, to)),
        1 => (number(), proptest::option::of(number())).prop_map(|(first, last)| Harm::Rename(first, last)),
        1 => (number(), proptest::option::of(number())).prop_map(|(first, last)| Harm::Copy(first, last)),
        1 => Just(Harm::Remove),
    ]
}

fn segment_name(first: u64, last: Option<u64>) -> String {
    last.map_or(format!("{first:020}.seg"), |last| format!("{first:020}-{last:020}-0123456789abcdef.seg"))
}

/// Writes one of the records at the head of a file anew.
fn forge(bytes: &[u8], at: Index, change: impl Fn(&mut u8, &mut u64, &mut Vec<u8>), back: u64) -> Vec<u8> {
    let mut starts = Vec::new();
    let mut end = 0;
    while let Found::Frame(found) = frame::read(&bytes[end..]) {
        starts.push(end);
        end += found.size() as usize;
    }
    let Some(start) = (!starts.is_empty()).then(|| starts[at.index(starts.len())]) else { return bytes.to_vec() };
    let Found::Frame(found) = frame::read(&bytes[start..]) else { unreachable!("it was just found") };
    let (mut kind, mut number, mut body) = (found.kind, found.number, found.body.to_vec());
    change(&mut kind, &mut number, &mut body);
    let mut out = bytes[..start].to_vec();
    frame::write(&mut out, kind, number, number.saturating_sub(back), &[&body]).expect("it is small");
    out.extend_from_slice(&bytes[start + found.size() as usize..]);
    out
}

fn do_harm(disk: &MemoryDisk, harms: &[(Index, Harm)]) {
    for (file, harm) in harms {
        let names = disk.list().expect("the disk is whole");
        let Some(name) = (!names.is_empty()).then(|| names[file.index(names.len())].clone()) else { return };
        let mut bytes = disk.bytes(&name).expect("it is listed");
        match harm.clone() {
            Harm::Set(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Harm::Set(..) => {}
            Harm::Insert(at, new) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, new);
            }
            Harm::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Harm::Forge(at, new_kind, new_number, back, new_body) => {
                let change = |kind: &mut u8, number: &mut u64, body: &mut Vec<u8>| {
                    (*kind, *number) = (new_kind.unwrap_or(*kind), new_number.unwrap_or(*number));
                    *body = new_body.clone().unwrap_or(std::mem::take(body));
                };
                bytes = forge(&bytes, at, change, back);
            }
            Harm::ForgeByte(at, byte, to) => {
                let change = |_: &mut u8, _: &mut u64, body: &mut Vec<u8>| {
                    if !body.is_empty() {
                        let at = byte.index(body.len());
                        body[at] = to;
                    }
                };
                bytes = forge(&bytes, at, change, 0);
            }
            Harm::Rename(first, last) => disk.rename(&name, &segment_name(first, last)).expect("it is listed"),
            Harm::Copy(first, last) => disk.put(&segment_name(first, last), bytes.clone()),
            Harm::Remove => disk.remove(&name).expect("it is listed"),
        }
        if !matches!(harm, Harm::Rename(..) | Harm::Copy(..) | Harm::Remove) {
            disk.put(&name, bytes);
        }
    }
}

/// What is refused is damage, and named.
fn refused(error: &io::Error) {
    assert!(Damage::of(error).is_some(), "{error:?}");
}

fn try_log(disk: &MemoryDisk) {
    for life in 0..3 {
        let mut log = match open_log(disk) {
            Ok(log) => log,
            Err(error) => return refused(&error),
        };
        let _ = log.must_reach(20);
        if let Err(error) = log.read(log.first().unwrap_or_default(), u64::MAX, usize::MAX) {
            refused(&error);
        }
        let next = log.last().map_or(1, |last| last.saturating_add(1));
        let ops = [append(next), LogOp::Purge(next.saturating_sub(3 * life)), LogOp::TruncateAfter(Some(next)), LogOp::Committed(vec![1])];
        if ops.iter().any(|op| log.commit(std::slice::from_ref(op)).is_err()) {
            return;
        }
    }
}

fn try_history(disk: &MemoryDisk) {
    let below: Arc<dyn Disk> = Arc::new(disk.copy());
    verify::history(&below, 40, &mut Findings::default(), &mut |_, _, _| {});
    for life in 0..3 {
        let mut history = match open_history(disk) {
            Ok(history) => history,
            Err(error) => return refused(&error),
        };
        let reader = history.reader();
        let len = reader.len();
        for error in [
            reader.leaves(0, usize::MAX, usize::MAX).err(),
            reader.read(0, usize::MAX, usize::MAX).err(),
            reader.leaf_hashes(len).err(),
            history.manifest().err(),
        ] {
            error.iter().for_each(refused);
        }
        if history.accept(len.saturating_sub(2), &[[7; 30], [8; 30], [9; 30]]).is_err() {
            return;
        }
        if life == 1 {
            history.seal().expect("it could be written to");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs(harms in vec((any::<Index>(), harm()), 1..5)) {
        let disk = LOG.copy();
        do_harm(&disk, &harms);
        try_log(&disk);
    }

    #[test]
    fn histories(harms in vec((any::<Index>(), harm()), 1..5)) {
        let disk = HISTORY.copy();
        do_harm(&disk, &harms);
        try_history(&disk);
    }

    /// A record reads back, or is none.
    #[test]
    fn records(bytes in vec(any::<u8>(), 0..80), kind: u8, number: u64, back in 0..4u64, harm in proptest::option::of((any::<Index>(), 1..=255u8))) {
        let _ = frame::read(&bytes);
        let mut out = Vec::new();
        let group = number.saturating_sub(back);
        frame::write(&mut out, kind, number, group, &[&bytes]).expect("it is small");
        let whole = out.clone();
        if let Some((at, mask)) = harm {
            let at = at.index(out.len());
            out[at] ^= mask;
        }
        match frame::read(&out) {
            Found::Frame(found) => {
                prop_assert_eq!(&out, &whole);
                prop_assert_eq!((found.kind, found.number, found.group, found.body), (kind, number, group, bytes.as_slice()));
            }
            Found::End => prop_assert!(false, "no record is taken for none"),
            Found::Bad(_) => prop_assert_ne!(&out, &whole),
        }
    }
}
