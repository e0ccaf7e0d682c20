//! The master key: who may read it, and whether it is the one that the data was written with.

use super::{super::progress::Progress, Check, fail, ok};
use crate::{
    vault::{Keeping, Vault},
    world::WallClock,
};
use cluster_config::Secrets as _;
use raft::{RaftJournal, Settings};
use std::{os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};
use store::DataDir;

/// `data`: the directory if it is there, is ours, and no node holds it; `is_new`: nothing was sealed yet.
pub fn check(folder: &Path, data: Option<DataDir>, is_new: bool) -> Vec<Check> {
    let vars = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_named = vars("TOLLGATE_MASTER_KEY_FILE").is_some();
    let file = match (vars("TOLLGATE_MASTER_KEY"), vars("TOLLGATE_MASTER_KEY_FILE")) {
        (Some(_), _) => None,
        (None, Some(path)) => Some(path.into()),
        (None, None) => Some(folder.join("master.key")),
    };
    let mut checks: Vec<Check> = file.iter().filter_map(|path| readable_by_others(path)).collect();
    if is_new && !is_named && file.as_ref().is_some_and(|path| !path.exists()) {
        checks.push(ok("a master key is made at the first start; keep a copy of it elsewhere"));
        return checks;
    }
    match Vault::open(Some(Keeping { folder, is_new: false }), &vars) {
        Err(why) => checks.push(fail(format!("the master key: {why}"), "put the right one back, or set TOLLGATE_MASTER_KEY_FILE")),
        Ok(vault) => checks.push(data.map_or_else(|| ok("the master key can be read"), |data| opens(data, &vault))),
    }
    checks
}

fn readable_by_others(path: &Path) -> Option<Check> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let what = format!("others may read the master key {} (mode {:o})", path.display(), mode & 0o777);
    (mode & 0o077 != 0).then(|| fail(what, format!("chmod 600 {}", path.display())))
}

/// Opens the data as a start does, over a disk that keeps what is written to itself.
fn opens(data: DataDir, vault: &Vault) -> Check {
    let _progress = Progress::start("reading the data", "events");
    let settings = Settings { clock: Arc::new(WallClock), fail_stop: Arc::new(|_| {}), disk_low: 0, disk_ok: 0 };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format!("the data cannot be read: {error}"), "try again"),
    };
    let journal = match runtime.block_on(RaftJournal::open(data, settings)) {
        Ok(journal) => journal,
        Err(why) => return fail(format!("the data cannot be opened: {why}"), "`tollgate verify` says what is damaged"),
    };
    let (sealed, lost) = journal::look(&journal, |state| {
        let sealed = state.books.providers.iter().filter(|(_, provider)| !provider.closed && provider.secret.is_some());
        let names: Vec<_> = sealed.map(|(id, provider)| (provider.settings.name.clone(), vault.unsealed(*id, state).is_some())).collect();
        (names.len(), names.into_iter().find(|(_, opened)| !opened).map(|(name, _)| name))
    });
    match lost {
        Some(name) => fail(
            format!("the master key does not open the secret of provider {name}"),
            "it is not the one that this data was written with: put the right one back",
        ),
        None if sealed == 0 => ok("the master key can be read; the data has no secret to try it on"),
        None => ok(format!("the master key opens all {sealed} secrets of the data")),
    }
}
