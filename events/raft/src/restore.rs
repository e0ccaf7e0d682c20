//! A data directory is made of a backup: history and state as of its position, an empty log, and as the first act an event that says so.
//! A mark is there until all of that is on disk; with it nobody opens the directory.

use crate::{RaftJournal, Settings, stores::Mark, types::Membership};
use events::{
    Event,
    envelope::Principal,
    node,
    transaction::{Group, GroupOutcome, Outcome, Proposal, Transaction},
};
use journal::{
    Journal,
    backup::{self, Manifest, Row, Sink},
    disk::Disk,
    history::History,
};
use std::{
    io::{self, Read},
    sync::Arc,
};
use store::{DataDir, Meta, Restoring, StateStore, Stored, state::CACHE_BYTES};

/// Writes what a backup holds, as it is read.
struct Into<'a> {
    marked: Option<Restoring>,
    made: Option<(DataDir, History)>,
    step: &'a mut dyn FnMut(u64, u64),
    events: u64,
}

impl Sink for Into<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> io::Result<()> {
        let Some(marked) = self.marked.take() else { return Err(io::Error::other("a second manifest")) };
        let dir = marked.of(manifest.cluster).map_err(io::Error::other)?;
        let (history, _) = History::open(dir.history.clone())?;
        self.made = Some((dir, history));
        self.events = manifest.n;
        Ok(())
    }

    fn leaves(&mut self, first: u64, leaves: &[Vec<u8>]) -> io::Result<()> {
        let Some((_, history)) = &mut self.made else { return Err(io::Error::other("events before the manifest")) };
        history.append(leaves)?;
        (self.step)(first + leaves.len() as u64, self.events);
        Ok(())
    }
}

/// Makes history and state in an empty folder, durable; the mark is there before the first byte is read, and stays:
/// [`DataDir::end_restoring`] takes it away.
///
/// # Errors
/// The folder is not empty, the backup is not whole, or the disk's own: what was written so far is of no use.
pub fn unpack(root: Arc<dyn Disk>, from: &mut dyn Read, step: &mut dyn FnMut(u64, u64)) -> io::Result<(DataDir, Manifest)> {
    let marked = DataDir::begin_restoring(root).map_err(io::Error::other)?;
    let mut into = Into { marked: Some(marked), made: None, step, events: 0 };
    let (manifest, rows) = backup::read(from, &mut into)?;
    let Some((dir, mut history)) = into.made else { return Err(io::Error::other("a backup without a manifest")) };
    history.sync()?;
    drop(history);
    StateStore::open(&*dir.state, CACHE_BYTES)?.replace(&stored(&manifest, rows))?;
    Ok((dir, manifest))
}

/// The state as of the backup, before the first entry of a log of its own.
fn stored(manifest: &Manifest, rows: Vec<Row>) -> Stored {
    let mark = Mark { applied: None, membership: Membership::default(), n: manifest.n, digests: manifest.digests, time: manifest.time };
    Stored { rows, meta: Meta { frontier: manifest.frontier.clone(), ..mark.meta() } }
}

/// Makes a data directory of a backup in an empty folder: the next start goes on there.
///
/// # Errors
/// See [`unpack`].
pub async fn restore(
    root: Arc<dyn Disk>,
    from: &mut (dyn Read + Send),
    settings: Settings,
    step: &mut (dyn FnMut(u64, u64) + Send),
) -> io::Result<Manifest> {
    let (dir, manifest) = unpack(root.clone(), from, step)?;
    let journal = RaftJournal::open(dir, settings).await?;
    let said = say(&journal, &manifest).await;
    journal.stop().await;
    said?;
    DataDir::end_restoring(&*root)?;
    Ok(manifest)
}

/// The first act: an event that says what the cluster was brought back from.
async fn say(journal: &RaftJournal, manifest: &Manifest) -> io::Result<()> {
    let node = journal::look(journal, |state| state.books.nodes.iter().next().map(|(id, _)| *id));
    let node = node.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no node ever joined in this backup"))?;
    let event = Event::Node(node, node::Event::Restored { position: manifest.n, made_at: manifest.made_at });
    let transaction = Transaction { events: vec![Proposal::new(event, Principal::System, 0)], ..Transaction::default() };
    let group = Group { sequence: None, transactions: vec![Some(transaction)] };
    match journal.append(vec![group]).await.map_err(io::Error::other)?.as_slice() {
        [GroupOutcome::Done(outcomes)] if outcomes.as_slice() == [Outcome::Taken] => Ok(()),
        other => Err(io::Error::other(format!("the event that says so was not taken: {other:?}"))),
    }
}
