//! Opening: what is sealed is believed by its name, what is not is walked, and the last file may end in a torn write.

use super::{
    Body, Footer, KIND_FOOTER, KIND_HEADER, Notes, RECORDS_AT, Segment, Segments, Settings, UNMADE, offset, open_name, sealed, zero,
};
use crate::{
    disk::{Disk, DiskFile, Note, WALK_STEP},
    frame::{self, Found, Frame, Frames},
};
use std::{
    io,
    sync::{Arc, OnceLock, RwLock},
};

/// No writer comes so far; what claims to is damaged, and nothing is counted past the end of the numbers.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// Takes in each record of the files that are not sealed, in order.
pub type Visit<'a> = &'a mut dyn FnMut(&Frame<'_>) -> io::Result<()>;

/// What a walk through a file came to.
struct Walk {
    count: u64,
    end: u64,
    offsets: Vec<u32>,
    stop: Stop,
}

enum Stop {
    Clean,
    Sealed(Footer),
    Bad(&'static str),
}

impl Segments {
    /// Opens the folder. Sealed files are not read; the others are, record by record.
    ///
    /// # Errors
    /// [`Damage`] (as `InvalidData`): a gap, or something broken below what a later record proves. Else the disk's own, or `visit`'s.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings, visit: Visit<'_>) -> io::Result<(Segments, Notes)> {
        let shared = Arc::new(RwLock::new(Vec::new()));
        let mut this = Segments { disk, settings, shared, next: 0, group: 0, spares: Vec::new(), buffer: Vec::new(), failed: false };
        let mut notes = Notes::new();
        let (sealed, open) = this.files()?;
        let mut segments: Vec<Segment> = Vec::new();
        for (name, first, last) in sealed {
            this.follows(&segments, &name, first)?;
            segments.push(Segment { name, first, count: last - first + 1, body: Body::Sealed { footer: Arc::new(OnceLock::new()) } });
        }
        let last = open.last().map(|(_, first)| *first);
        let mut unfinished = None;
        for (name, first) in open {
            this.follows(&segments, &name, first)?;
            let file = this.disk.open(&name)?;
            let walk = this.walk(&*file, &name, first, visit)?;
            if Some(first) == last {
                unfinished = this.recover(&*file, &name, first, &walk, &mut notes)?;
            } else if let Stop::Bad(why) = walk.stop {
                return Err(this.damage(&name, Some(first + walk.count), walk.end, why));
            }
            let size = file.size()?;
            segments.push(Segment {
                name,
                first,
                count: walk.count,
                body: Body::Open { file, offsets: walk.offsets, end: walk.end, size },
            });
        }
        // Nor may it have made durable what it renamed: a spare that is used again would else be found under its former name.
        this.disk.sync_dir()?;
        this.next = segments.last().map_or(0, Segment::after);
        this.group = this.next;
        *super::writable(&this.shared) = segments;
        if let Some(footer) = unfinished {
            this.finish_seal(footer)?;
        }
        Ok((this, notes))
    }

    /// Sealed and open files in order; what was left half made is taken away.
    #[expect(clippy::type_complexity, reason = "two lists, taken apart at once")]
    fn files(&mut self) -> io::Result<(Vec<(String, u64, u64)>, Vec<(String, u64)>)> {
        let (mut sealed, mut open) = (Vec::new(), Vec::new());
        for name in self.disk.list()? {
            let number = name.strip_suffix(".seg").and_then(|number| number.parse::<u64>().ok());
            match (number, sealed::range_of(&name)) {
                (Some(first), _) if name == open_name(first) && first <= NUMBER_MAX => open.push((name, first)),
                (_, Some((first, last))) if last <= NUMBER_MAX => sealed.push((name, first, last)),
                _ if name.starts_with("spare-") && self.spares.len() < self.settings.spares && self.is_whole_spare(&name)? => {
                    self.spares.push(name)
                }
                _ if name.starts_with("spare-") || name == UNMADE => self.disk.remove(&name)?,
                _ if is_strange(&name) => return Err(self.damage(&name, None, 0, "no name of a file here, but like one")),
                _ => {}
            }
        }
        sealed.sort_by_key(|(_, first, _)| *first);
        open.sort_by_key(|(_, first)| *first);
        Ok((sealed, open))
    }

    fn is_whole_spare(&self, name: &str) -> io::Result<bool> {
        Ok(self.disk.open(name)?.size()? == self.settings.segment_bytes)
    }

    fn follows(&self, before: &[Segment], name: &str, first: u64) -> io::Result<()> {
        match before.last() {
            Some(last) if last.after() != first => Err(self.damage(
                name,
                Some(last.after()),
                0,
                format!("a gap: record {} is missing, the file starts with {first}", last.after()),
            )),
            _ => Ok(()),
        }
    }

    fn walk(&self, file: &dyn DiskFile, name: &str, first: u64, visit: Visit<'_>) -> io::Result<Walk> {
        let mut frames = Frames::new(file, WALK_STEP);
        check_header(&mut frames, self.settings.purpose, first).map_err(|what| self.damage(name, None, 0, what))?;
        let mut walk = Walk { count: 0, end: RECORDS_AT, offsets: Vec::new(), stop: Stop::Clean };
        loop {
            match frames.at(walk.end)? {
                Found::Frame(frame) if frame.number == first + walk.count && frame.kind == KIND_FOOTER => {
                    walk.stop = sealed::parse(&frame).map_or(Stop::Bad("the footer is damaged"), Stop::Sealed);
                    return Ok(walk);
                }
                Found::Frame(frame) if frame.number == first + walk.count && frame.kind != KIND_HEADER => {
                    visit(&frame)?;
                    if walk.count.is_multiple_of(u64::from(self.settings.stride)) {
                        walk.offsets.push(offset(walk.end)?);
                    }
                    walk.end += frame.size();
                    walk.count += 1;
                }
                Found::Frame(_) => return Ok(Walk { stop: Stop::Bad("another record stands here"), ..walk }),
                Found::End => return Ok(walk),
                Found::Bad(why) => return Ok(Walk { stop: Stop::Bad(why), ..walk }),
            }
        }
    }

    /// The end of the last file: clean, a torn write to be dropped, or damage. Answers a footer whose file was not renamed yet.
    fn recover(&self, file: &dyn DiskFile, name: &str, first: u64, walk: &Walk, notes: &mut Notes) -> io::Result<Option<Footer>> {
        if let Stop::Sealed(footer) = &walk.stop {
            return Ok(Some(footer.clone()));
        }
        let expected = first + walk.count;
        let remains = frame::search(file, walk.end, expected)?;
        if let Some(proof) = remains.filter(|remains| remains.group > expected) {
            let what = format!(
                "{}, but record {} at offset {} was written after it was durable",
                stop_text(&walk.stop),
                proof.number,
                proof.offset
            );
            return Err(self.damage(name, Some(expected), walk.end, what));
        }
        let size = file.size()?;
        let full = self.full_name(name);
        if size < self.settings.segment_bytes {
            notes.push(Note(format!("{full}: {size} bytes long, made with {}; the rest is zeros again", self.settings.segment_bytes)));
            file.preallocate(self.settings.segment_bytes)?;
        }
        if remains.is_some() || matches!(walk.stop, Stop::Bad(_)) {
            notes.push(Note(format!("{full}: record {expected} at offset {}: {}: a torn write, dropped", walk.end, stop_text(&walk.stop))));
            zero(file, walk.end, size)?;
        }
        // A process that was killed may not have synced what is read here; from now on it counts as durable.
        file.sync_data()?;
        Ok(None)
    }
}

/// Records in a file whose name is damaged must not go unnoticed.
fn is_strange(name: &str) -> bool {
    name.ends_with(".seg") || (name.starts_with(|first: char| first.is_ascii_digit()) && !name.ends_with(".tree"))
}

fn stop_text(stop: &Stop) -> &'static str {
    match stop {
        Stop::Bad(why) => why,
        Stop::Clean => "nothing stands here",
        Stop::Sealed(_) => "sealed",
    }
}

/// The first record of a file says what it is.
pub(super) fn check_header(frames: &mut Frames<'_>, purpose: u8, first: u64) -> Result<(), String> {
    match frames.at(0).map_err(|error| error.to_string())? {
        Found::Frame(Frame { kind: KIND_HEADER, number, body, .. }) if number == first && body == [purpose; 8] => Ok(()),
        Found::Frame(_) => Err("the header is another file's".into()),
        _ => Err("the header is damaged".into()),
    }
}
