//! The data directory: whose it is, who holds it, what it lies on.

use super::{Check, Flags, fail, master_key, ok, warn};
use events::limits;
use journal::disk::{Disk as _, Overlay};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use store::{DataDir, DataDirFault, RealDisk};

/// `node_answers`: somebody may well hold it.
pub fn check(flags: &Flags, node_answers: bool) -> Vec<Check> {
    let folder = flags.data.as_path();
    if !folder.exists() {
        return not_there(flags);
    }
    let Ok(disk) = RealDisk::new(folder) else {
        return vec![fail(format!("{} is no folder", folder.display()), "give the data directory with --data")];
    };
    let mut checks: Vec<Check> = vec![owner(folder)];
    let is_new = !folder.join("VERSION").exists();
    let opened = if is_new { Ok(None) } else { DataDir::open_existing(Arc::new(Overlay::new(Arc::new(disk.clone())))).map(Some) };
    match opened {
        Ok(data) => {
            let is_new = data.as_ref().is_none_or(|dir| dir.is_new);
            let what = if is_new { "is empty: the first start begins it" } else { "is a node's, and nobody holds it" };
            checks.push(ok(format!("{} {what}", folder.display())));
            checks.extend(master_key::check(folder, data, is_new));
        }
        Err(DataDirFault::Locked) => {
            checks.push(held(folder, node_answers));
            checks.extend(master_key::check(folder, None, false));
        }
        Err(why) => {
            checks.push(fail(format!("{}: {why}", folder.display()), "give another folder with --data, or put back what was there"))
        }
    }
    checks.push(space(&disk, flags.disk_low_mib));
    checks.extend(file_system(folder));
    checks.push(syncs(folder));
    checks
}

/// The disk is looked at where the folder is going to be.
fn not_there(flags: &Flags) -> Vec<Check> {
    let folder = flags.data.as_path();
    let mut above = folder.ancestors().skip(1).map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    let Some(parent) = above.find(|parent| parent.exists()) else { return Vec::new() };
    if let Err(error) = write_and_sync(parent, 1) {
        let what = format!("{} cannot be made: {}: {error}", folder.display(), parent.display());
        return vec![fail(what, "give a folder that may be written with --data")];
    }
    let mut checks = vec![ok(format!("{} is not there: the first start makes it", folder.display()))];
    checks.extend(master_key::check(folder, None, true));
    checks.extend(RealDisk::new(parent).ok().map(|disk| space(&disk, flags.disk_low_mib)));
    checks.extend(file_system(parent));
    checks.push(syncs(parent));
    checks
}

fn owner(folder: &Path) -> Check {
    let (Ok(theirs), Ok(ours)) = (fs::metadata(folder), fs::metadata("/proc/self")) else {
        return warn(format!("{}: its owner cannot be seen", folder.display()), "run this as the user that runs the node");
    };
    let shown = folder.display();
    if theirs.mode() & 0o022 != 0 {
        return warn(format!("others may write into {shown} (mode {:o})", theirs.mode() & 0o777), format!("chmod go-w {shown}"));
    }
    match (theirs.uid(), ours.uid()) {
        (uid, own) if uid == own => ok(format!("{shown} is ours")),
        (uid, 0) => warn(
            format!("{shown} belongs to user {uid}, and this is root"),
            format!("run the node as user {uid}: what root makes there, it cannot open"),
        ),
        (uid, own) => fail(
            format!("{shown} belongs to user {uid}, this is user {own}"),
            format!("run the node as user {uid}, or chown -R {own} {shown}"),
        ),
    }
}

/// The lock's holder, as the kernel lists it.
fn held(folder: &Path, node_answers: bool) -> Check {
    let inode = fs::metadata(folder.join("LOCK")).map(|lock| lock.ino()).unwrap_or_default();
    let holder = fs::read_to_string("/proc/locks").ok().and_then(|locks| holder(&locks, inode));
    let command = holder.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok()).map(|name| name.trim().to_owned());
    let who = match (holder, command) {
        (Some(pid), Some(name)) => format!("process {pid} ({name})"),
        (Some(pid), None) => format!("process {pid}"),
        (None, _) => "a process that is not to be seen from here".to_owned(),
    };
    let what = format!("{} is held by {who}", folder.display());
    if node_answers { ok(what) } else { warn(what, "if it is no node that is meant to run, stop it: two cannot hold one directory") }
}

/// `12: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`.
fn holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let parts: Vec<&str> = line.split_whitespace().filter(|part| *part != "->").collect();
        let is_it = parts.get(5)?.rsplit(':').next()?.parse::<u64>().ok()? == inode;
        is_it.then(|| parts.get(4)?.parse().ok()).flatten()
    })
}

fn space(disk: &RealDisk, low_mib: u64) -> Check {
    let Ok(free) = disk.free_space().map(|bytes| bytes >> 20) else {
        return warn("the free disk cannot be seen", "look with df");
    };
    let what = format!("{free} MiB of disk are free; below {low_mib} MiB a node admits nothing");
    match free {
        _ if free < low_mib => fail(what, "free some, or move the data directory"),
        _ if free < low_mib.saturating_mul(limits::DISK_OK / limits::DISK_LOW) => warn(what, "free some soon"),
        _ => ok(what),
    }
}

fn file_system(folder: &Path) -> Option<Check> {
    let path = fs::canonicalize(folder).ok()?;
    let kind = kind(&fs::read_to_string("/proc/mounts").ok()?, &path)?;
    let shown = folder.display();
    Some(match kind.as_str() {
        "tmpfs" | "ramfs" => warn(format!("{shown} lies in memory ({kind})"), "a restart of the machine forgets everything: use a disk"),
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "glusterfs" | "afs" => warn(
            format!("{shown} lies on a network ({kind})"),
            "locks and syncs of such file systems may be lies: use a disk of this machine",
        ),
        "overlay" => warn(format!("{shown} lies in a container's own layer ({kind})"), "it goes with the container: mount a volume"),
        _ if kind.starts_with("fuse") => warn(format!("{shown} lies on {kind}"), "see that what it has synced survives a power cut"),
        _ => ok(format!("{shown} lies on {kind}")),
    })
}

/// The file system of the longest mount point that the path lies below.
fn kind(mounts: &str, path: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut parts = line.split(' ').skip(1);
        Some((PathBuf::from(parts.next()?.replace("\\040", " ")), parts.next()?))
    });
    mounts.filter(|(point, _)| path.starts_with(point)).max_by_key(|(point, _)| point.as_os_str().len()).map(|(_, kind)| kind.to_owned())
}

const SYNCS: usize = 20;
const SYNCED_BYTES: usize = 4_096;
/// Each admission and each record wait for one.
const SLOW: Duration = Duration::from_millis(20);
const TOO_SLOW: Duration = Duration::from_millis(500);

fn syncs(folder: &Path) -> Check {
    match write_and_sync(folder, SYNCS) {
        Ok(mut took) => {
            took.sort();
            let (middle, worst) = (took[took.len() / 2], took[took.len() - 1]);
            speed(middle, worst)
        }
        Err(error) => fail(
            format!("{} cannot be written: {error}", folder.display()),
            "give it to the user that runs the node, and see that the disk is not read-only",
        ),
    }
}

fn speed(middle: Duration, worst: Duration) -> Check {
    let what = format!("a sync takes {:.1} ms, {:.1} ms at worst", middle.as_secs_f64() * 1e3, worst.as_secs_f64() * 1e3);
    let todo = "every call waits for two of these: use a local SSD";
    match middle {
        _ if middle >= TOO_SLOW => fail(what, todo),
        _ if middle >= SLOW => warn(what, todo),
        _ => ok(what),
    }
}

/// How long each took; the file is gone then.
fn write_and_sync(folder: &Path, times: usize) -> std::io::Result<Vec<Duration>> {
    let path = folder.join(format!("doctor-{}.tmp", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    let mut write = || -> std::io::Result<Duration> {
        let start = Instant::now();
        file.write_all(&[0; SYNCED_BYTES])?;
        file.sync_data()?;
        Ok(start.elapsed())
    };
    let took = (0..times).map(|_| write()).collect();
    fs::remove_file(&path)?;
    took
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn a_lock_has_a_holder() {
        let locks = "1: POSIX  ADVISORY  WRITE 10 fe:00:7 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 12 fe:00:1234 0 EOF\n";
        assert_eq!((holder(locks, 1_234), holder(locks, 9)), (Some(4_711), None));
    }

    #[test]
    fn the_longest_mount_point_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\nserver:/x /srv/my\\040data nfs4 rw 0 0\n";
        assert_eq!(kind(mounts, Path::new("/var/lib")).as_deref(), Some("ext4"));
        assert_eq!(kind(mounts, Path::new("/run/x")).as_deref(), Some("tmpfs"));
        assert_eq!(kind(mounts, Path::new("/runs")).as_deref(), Some("ext4"));
        assert_eq!(kind(mounts, Path::new("/srv/my data/x")).as_deref(), Some("nfs4"));
    }

    #[test]
    fn slow_disks_are_told() {
        let status = |ms| speed(Duration::from_millis(ms), Duration::from_millis(ms)).status;
        assert_eq!((status(1), status(30), status(900)), (Status::Ok, Status::Warn, Status::Fail));
    }

    #[test]
    fn nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write_and_sync(folder.path(), 3).unwrap().len(), 3);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
