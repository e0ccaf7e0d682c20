//! How long a start takes behind many events: `cargo run --release -p tollgate-raft --example restart -- 5000000`. A child fills a data
//! directory and is killed; then the directory is opened as it is, and once more after a clean stop.

use events::{Boot, Timestamp, transaction::Group};
use journal::{
    Clock, Journal, look,
    suite::{House, finish, seq},
};
use raft::{RaftJournal, Settings};
use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use store::{DataDir, RealDisk};

/// Calls in one group.
const GROUP: u64 = 250;

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64)
    }
}

async fn open(folder: &Path) -> RaftJournal {
    let dir = DataDir::open(Arc::new(RealDisk::new(folder).expect("a folder")), [1; 16]).expect("a data directory");
    let settings = Settings { clock: Arc::new(Wall), fail_stop: Arc::new(|why| panic!("{why}")), disk_low: 0, disk_ok: 0 };
    RaftJournal::open(dir, settings).await.expect("it opens")
}

/// Appends admissions and records, then is killed in the middle of more.
async fn fill(folder: &Path, events: u64) {
    let house = House::new(Arc::new(open(folder).await)).await;
    let mut number = 0;
    let mut call = 0u128;
    loop {
        let calls: Vec<u128> = (call..call + u128::from(GROUP)).collect();
        call += u128::from(GROUP);
        let admissions = calls.iter().map(|call| Some(house.admit(*call, Boot(11), 0))).collect();
        let records = calls.iter().map(|call| Some(finish(*call, 0))).collect();
        for transactions in [admissions, records] {
            number += 1;
            house.journal.append(vec![Group { sequence: seq(Boot(11), number), transactions }]).await.expect("it appends");
        }
        if house.position() >= events {
            std::process::abort();
        }
    }
}

async fn timed(what: &str, folder: &Path) {
    let start = Instant::now();
    let journal = open(folder).await;
    let took = start.elapsed();
    println!("{what}: {:.2} s to {} events", took.as_secs_f64(), look(&journal, events::State::position));
    journal.stop().await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, verb, folder, events] = &arguments[..]
        && verb == "fill"
    {
        return fill(Path::new(folder), events.parse().expect("a number")).await;
    }
    let events = arguments.get(1).cloned().unwrap_or_else(|| "5000000".into());
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let start = Instant::now();
    let status = Command::new(&arguments[0]).arg("fill").arg(folder).arg(&events).status().expect("a child");
    assert!(!status.success(), "it aborts");
    println!("filled in {:.1} s", start.elapsed().as_secs_f64());
    timed("after a kill", folder).await;
    timed("after a clean stop", folder).await;
    let dir = DataDir::open(Arc::new(RealDisk::new(folder).expect("a folder")), [1; 16]).expect("a data directory");
    let start = Instant::now();
    let report = raft::verify(&dir);
    println!("verify: {:.1} s, {} events, {} damages", start.elapsed().as_secs_f64(), report.events, report.damages.len());
}
