//! What the machine gives: open files, memory.

use super::{Check, fail, ok, warn};
use events::limits;

/// A call has a connection to its caller and one to its provider; logs, stores and listeners take some more.
const FILES_WANTED: u64 = limits::CALLS_MAX as u64 * 2 + 500;
/// Too few for listeners and stores alone.
const FILES_MIN: u64 = 256;
/// A node with its projections and a few calls.
const MEMORY_MIN_MIB: u64 = 128;
/// With thousands of calls at once.
const MEMORY_WANTED_MIB: u64 = 512;

pub fn check() -> Vec<Check> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let group = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<u64>().ok()).map(|bytes| bytes >> 20);
    let free = read("/proc/meminfo").and_then(|text| available_mib(&text));
    let files = read("/proc/self/limits").and_then(|text| open_files(&text));
    [files.map(files_check), free.map(|free| memory_check(group.map_or(free, |group| free.min(group))))].into_iter().flatten().collect()
}

fn files_check(soft: u64) -> Check {
    let what = format!("{soft} files may be open; {} calls at once need {FILES_WANTED}", limits::CALLS_MAX);
    let todo = format!("ulimit -n {FILES_WANTED}, or LimitNOFILE={FILES_WANTED} in the unit");
    match soft {
        0..FILES_MIN => fail(what, todo),
        FILES_MIN..FILES_WANTED => warn(what, todo),
        _ => ok(what),
    }
}

fn memory_check(mib: u64) -> Check {
    let what = format!("{mib} MiB of memory are free for a node");
    let todo = format!("give it {MEMORY_WANTED_MIB} MiB: the kernel ends what has no memory left");
    match mib {
        0..MEMORY_MIN_MIB => fail(what, todo),
        MEMORY_MIN_MIB..MEMORY_WANTED_MIB => warn(what, todo),
        _ => ok(what),
    }
}

/// The soft limit of `/proc/self/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// `MemAvailable` of `/proc/meminfo`.
fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn what_the_machine_says_is_read() {
        assert_eq!(
            open_files("Limit  Soft Hard Units\nMax open files            1024                 524288               files\n"),
            Some(1_024)
        );
        assert_eq!(open_files("Max open files  unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(available_mib("MemTotal: 9 kB\nMemAvailable:    2048000 kB\n"), Some(2_000));
    }

    #[test]
    fn too_little_is_told() {
        assert_eq!(
            (files_check(64).status, files_check(1_024).status, files_check(1 << 20).status),
            (Status::Fail, Status::Warn, Status::Ok)
        );
        assert_eq!(
            (memory_check(64).status, memory_check(200).status, memory_check(4_096).status),
            (Status::Fail, Status::Warn, Status::Ok)
        );
    }
}
