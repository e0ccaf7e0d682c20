//! Flips, cuts and files that are gone or called something else.

use super::*;

/// What must not happen: that something else is served, or that something is missing and nothing was said.
fn named_or_right(disk: &MemoryDisk, next: u64, last_group: u64, place: &str) {
    let (segments, notes) = match open(disk) {
        Ok(opened) => opened,
        Err(error) => return assert!(Damage::of(&error).is_some(), "{place}: {error}"),
    };
    let first = segments.first().unwrap_or_default();
    match all(&segments, first) {
        Ok(read) => {
            let there = first + read.len() as u64;
            assert!(read == bodies(0..there), "{place}: something else was served");
            assert!(there == next || (there >= last_group && !notes.is_empty()), "{place}: {there} of {next} records, {notes:?}");
        }
        Err(error) => assert!(Damage::of(&error).is_some_and(|damage| damage.file.starts_with("log/")), "{place}: {error}"),
    }
}

/// Two sealed files, then two that are not; the last group has two records.
fn stored() -> (MemoryDisk, u64, u64) {
    let (disk, mut segments) = new();
    for _ in 0..2 {
        append(&mut segments, 4);
        segments.seal("0123456789abcdef", vec![3; 20]).unwrap();
    }
    append(&mut segments, 9);
    let last_group = segments.next();
    let (one, two) = (body(last_group, 0), body(last_group + 1, 0));
    segments.append(&[(1, &[&one]), (1, &[&two])]).unwrap();
    segments.sync().unwrap();
    assert_eq!(segments.reader().ranges().iter().filter(|(_, _, sealed)| !sealed).count(), 2);
    (disk.copy(), segments.next(), last_group)
}

#[test]
fn a_flip_anywhere_is_named_or_does_no_harm() {
    let (disk, next, last_group) = stored();
    for name in disk.list().unwrap() {
        for offset in 0..disk.bytes(&name).unwrap().len() as u64 {
            for mask in [1 << (offset % 8), 0x80 >> (offset % 7)] {
                let flipped = disk.copy();
                assert!(flipped.flip(&name, offset, mask));
                named_or_right(&flipped, next, last_group, &format!("{name} at {offset}"));
            }
        }
    }
}

#[test]
fn a_flip_below_the_last_group_is_damage_and_the_place_is_named() {
    let (disk, _, last_group) = stored();
    let name = names(&disk, ".seg").pop().unwrap();
    let (segments, _) = open(&disk).unwrap();
    let (first, _, _) = *segments.reader().ranges().last().unwrap();
    let mut offset = RECORDS_AT;
    for number in first..last_group {
        let size = frame::size(body(number, 0).len());
        for at in offset..offset + size {
            let flipped = disk.copy();
            flipped.flip(&name, at, 4);
            let error = open(&flipped).err().unwrap_or_else(|| panic!("record {number}, byte {at} was not missed"));
            let damage = Damage::of(&error).unwrap();
            assert_eq!((damage.file.clone(), damage.record, damage.offset), (format!("log/{name}"), Some(number), offset), "{error}");
        }
        offset += size;
    }
}

#[test]
fn a_flip_in_the_last_group_is_a_torn_write_and_the_next_append_goes_on() {
    let (disk, next, last_group) = stored();
    let name = names(&disk, ".seg").pop().unwrap();
    let (_, end) = open(&disk).unwrap().0.end();
    let start = end - frame::size(body(last_group, 0).len()) - frame::size(body(last_group + 1, 0).len());
    for at in start..end {
        let flipped = disk.copy();
        flipped.flip(&name, at, 0x10);
        let (mut segments, notes) = open(&flipped).unwrap();
        assert!((last_group..next).contains(&segments.next()));
        assert!(notes.len() == 1 && notes[0].contains(&name) && notes[0].contains("dropped"), "{notes:?}");
        append(&mut segments, 3);
        let (again, notes) = open(&flipped).unwrap();
        assert_eq!(notes, [] as [&str; 0], "what was dropped does not show again");
        assert_eq!(all(&again, 0).unwrap(), bodies(0..again.next()));
    }
}

#[test]
fn records_behind_a_torn_one_are_gone_for_good() {
    let (disk, mut segments) = new();
    append(&mut segments, 1);
    let (_, start) = segments.end();
    let torn: Vec<Vec<u8>> = (1..5).map(|number| body(number, 1)).collect();
    let parts: Vec<[&[u8]; 1]> = torn.iter().map(|body| [body.as_slice()]).collect();
    segments.append(&parts.iter().map(|body| (1, body.as_slice())).collect::<Vec<_>>()).unwrap();
    disk.flip(&open_name(0), start + 30, 1);
    let (mut segments, notes) = open(&disk).unwrap();
    assert_eq!((segments.next(), notes.len()), (1, 1));
    append(&mut segments, 1);
    let (segments, notes) = open(&disk).unwrap();
    assert_eq!((all(&segments, 0).unwrap(), notes), (bodies(0..2), Vec::new()));
}

#[test]
fn every_cut_of_a_file_is_named_or_drops_the_last_group_only() {
    let (disk, next, last_group) = stored();
    for name in disk.list().unwrap() {
        for left in (0..disk.bytes(&name).unwrap().len() as u64).step_by(3) {
            let cut = disk.copy();
            assert!(cut.cut(&name, left));
            let shows = matches!(open(&cut.copy()), Ok((segments, _)) if segments.next() < last_group);
            // Nothing in the last file itself proves what a cut took from its end: log and state prove it to each other.
            if !shows {
                named_or_right(&cut, next, last_group, &format!("{name} cut to {left}"));
            } else {
                assert_eq!(Some(&name), disk.list().unwrap().last(), "cut to {left}");
            }
        }
    }
}

#[test]
fn a_flip_in_a_name_is_named() {
    let (disk, next, _) = stored();
    for name in disk.list().unwrap() {
        for bit in 0..name.len() * 8 {
            let mut other = name.clone().into_bytes();
            other[bit / 8] ^= 1 << (bit % 8);
            let Ok(other) = String::from_utf8(other) else { continue };
            if other.contains('/') {
                continue;
            }
            let renamed = disk.copy();
            renamed.rename(&name, &other).unwrap();
            named_or_right(&renamed, next, next, &format!("{name} is called {other}"));
        }
    }
}

#[test]
fn a_file_that_is_gone_leaves_a_gap_that_is_named() {
    let (disk, _, _) = stored();
    let (segments, _) = open(&disk).unwrap();
    let ranges = segments.reader().ranges();
    let names = names(&disk, ".seg");
    for at in 1..ranges.len() - 1 {
        let gone = disk.copy();
        let ordered: Vec<&String> =
            ranges.iter().map(|(first, ..)| names.iter().find(|name| name.starts_with(&format!("{first:020}"))).unwrap()).collect();
        gone.remove(ordered[at]).unwrap();
        let error = open(&gone).err().expect("a gap");
        assert!(error.to_string().contains(&format!("record {} is missing", ranges[at].0)), "{error}");
        assert_eq!(Damage::of(&error).unwrap().file, format!("log/{}", ordered[at + 1]));
    }
}

#[test]
fn a_file_of_another_family_is_not_taken_for_one_of_these() {
    let (disk, mut segments) = new();
    append(&mut segments, 2);
    let other = Settings { purpose: 8, ..settings() };
    let error = Segments::open(Arc::new(disk), other, &mut |_| Ok(())).err().unwrap();
    assert!(error.to_string().contains("another file's"), "{error}");
}

/// No writer comes near the end of the numbers, and nothing is counted past it.
#[test]
fn numbers_that_no_writer_reaches_are_no_names() {
    for name in
        [open_name(u64::MAX), open_name(u64::MAX - 1), format!("{:020}-{}-tag.seg", 0, u64::MAX), format!("{:020}-{}-tag.seg", 7, u64::MAX)]
    {
        let disk = MemoryDisk::new();
        let first = name[..20].parse().unwrap();
        let mut file = Vec::new();
        frame::write(&mut file, KIND_HEADER, first, first, &[&[settings().purpose; 8]]).unwrap();
        for number in (first..=u64::MAX).take(2) {
            frame::write(&mut file, 1, number, number, &[b"x"]).unwrap();
        }
        disk.put(&name, file);
        let error = open(&disk).err().unwrap();
        assert_eq!(Damage::of(&error).unwrap().file, format!("log/{name}"), "{error}");
    }
}
