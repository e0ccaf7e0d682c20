//! `tollgate backup`: a sealed copy of history and state, of a running node over its API, or of a data directory.

use super::{
    Failure,
    client::{Client, Connection},
    replay::History,
};
use ::backup::{Identity, Recipient, seal};
use clap::Args;
use events::{Position, limits::BACKUP_RECIPIENTS_MAX};
use journal::{
    Clock,
    backup::{Manifest, Nowhere, read, write},
};
use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What people must know before they need one.
pub const HELP: &str = "\
A backup holds the whole history, the books and the sealed secrets of providers, as of one position. The master key is not in it: keep
a copy of it, and of the identity, apart from the backups. Files are in the age format (v1); `age -d` opens them too.

  tollgate backup --new-identity backup.key            once; prints whom to seal for
  tollgate backup --to tollgate.backup --recipient age1…
  tollgate backup --check tollgate.backup --identity backup.key
  tollgate restore --from tollgate.backup --identity backup.key --data ./restored";

#[derive(Args)]
pub struct Flags {
    /// Makes an identity that opens backups, in a new file, and prints whom to seal for.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "check"])]
    new_identity: Option<PathBuf>,
    /// Reads a backup through and proves it.
    #[arg(long, value_name = "FILE", requires = "identity", conflicts_with = "to")]
    check: Option<PathBuf>,
    /// The file of the identity that opens it.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Where the backup is written; nothing is overwritten.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["new_identity", "check"])]
    to: Option<PathBuf>,
    /// Whom it is sealed for; may be given again.
    #[arg(long, value_name = "age1…")]
    recipient: Vec<String>,
    /// A file of recipients, one a line.
    #[arg(long, value_name = "FILE")]
    recipients_file: Option<PathBuf>,
    /// The data directory of a node that does not run; else a running node is asked.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The node's administration address.
    #[arg(long, env = "TOLLGATE_URL", default_value = "http://127.0.0.1:4000")]
    url: String,
    /// The administrator's token.
    #[arg(long, env = "TOLLGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    match (&flags.new_identity, &flags.check, &flags.identity, &flags.to) {
        (Some(path), ..) => new_identity(path)?,
        (_, Some(path), Some(identity), _) => {
            let manifest = check(path, identity)?;
            println!("whole: {}", told(&manifest));
        }
        (.., Some(to)) => make(flags, to)?,
        _ => return Err("say where it is to be written: --to FILE".into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn named(path: &Path) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| format!("{}: {error}", path.display()).into()
}

fn new_identity(path: &Path) -> Result<(), Failure> {
    let identity = Identity::generate();
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(named(path))?;
    file.write_all(identity.file().as_bytes()).and_then(|()| file.sync_all()).map_err(named(path))?;
    for recipient in identity.recipients() {
        println!("{recipient}");
    }
    Ok(())
}

/// The identity in a file.
///
/// # Errors
/// It cannot be read. What stands in it is not repeated.
pub fn identity(path: &Path) -> Result<Identity, Failure> {
    let text = std::fs::read_to_string(path).map_err(named(path))?;
    Identity::parse(&text).map_err(|why| format!("{}: {why}", path.display()).into())
}

/// A backup, opened.
///
/// # Errors
/// There is no such file, or the identity does not open it.
pub fn opened(path: &Path, identity_file: &Path) -> Result<impl std::io::Read + Send + use<>, Failure> {
    let identity = identity(identity_file)?;
    let file = File::open(path).map_err(named(path))?;
    ::backup::open(&identity, BufReader::new(file)).map_err(named(path))
}

/// Reads a backup through and proves it.
///
/// # Errors
/// It is not whole.
pub fn check(path: &Path, identity_file: &Path) -> Result<Manifest, Failure> {
    let mut from = BufReader::new(opened(path, identity_file)?);
    Ok(read(&mut from, &mut Nowhere).map_err(named(path))?.0)
}

/// What a backup is, in a line.
pub fn told(manifest: &Manifest) -> String {
    format!(
        "{} events up to {}, position {}, tree head {}, books {:032x}; made at {} by {}",
        manifest.n,
        manifest.time,
        Position::new(manifest.n),
        manifest.head_text(),
        manifest.digests.books,
        manifest.made_at,
        manifest.build
    )
}

fn recipients(flags: &Flags) -> Result<Vec<Recipient>, Failure> {
    let mut all: Vec<Recipient> = flags.recipient.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    if let Some(path) = &flags.recipients_file {
        let text = std::fs::read_to_string(path).map_err(named(path))?;
        all.extend(::backup::recipients(&text).map_err(|why| format!("{}: {why}", path.display()))?);
    }
    match all.len() {
        1..=BACKUP_RECIPIENTS_MAX => Ok(all),
        0 => Err("say whom it is sealed for: --recipient age1…; `tollgate backup --new-identity FILE` makes one".into()),
        _ => Err(format!("at most {BACKUP_RECIPIENTS_MAX} recipients").into()),
    }
}

/// Writes beside the place, and puts it there once it is whole and on disk.
fn make(flags: &Flags, to: &Path) -> Result<(), Failure> {
    let recipients = recipients(flags)?;
    if to.exists() {
        return Err(format!("{}: it is there already, and a backup overwrites nothing", to.display()).into());
    }
    let part = PathBuf::from(format!("{}.part", to.display()));
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&part).map_err(named(&part))?;
    file.try_lock().map_err(|error| format!("{}: another backup is being written there: {error}", part.display()))?;
    file.set_len(0).map_err(named(&part))?;
    let mut out = BufWriter::new(file);
    let made = match &flags.data {
        Some(data) => offline(data, &recipients, &mut out),
        None => online(flags, &recipients, &mut out),
    };
    let written = || -> Result<(File, u64), Failure> {
        made?;
        let file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let bytes = file.metadata().map_err(named(&part))?.len();
        Ok((file, bytes))
    };
    let (_locked, bytes) = match written() {
        Ok(written) => written,
        Err(why) => {
            let _ = std::fs::remove_file(&part); // it is of no use, and told as what it is by its name
            return Err(why);
        }
    };
    if to.exists() {
        let _ = std::fs::remove_file(&part); // the other one is whole
        return Err(format!("{}: it came to be there meanwhile, and a backup overwrites nothing", to.display()).into());
    }
    std::fs::rename(&part, to).map_err(named(to))?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(named(folder))?;
    println!("{}: {bytes} bytes; `tollgate backup --check` proves it. The master key is not in it.", to.display());
    Ok(())
}

fn online(flags: &Flags, recipients: &[Recipient], out: &mut dyn Write) -> Result<(), Failure> {
    let token = flags.token.as_deref().ok_or("say who asks: --token or TOLLGATE_TOKEN; or --data of a node that does not run")?;
    let list = recipients.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    Client::open(&Connection::new(&flags.url, token))?.download("backup", &[("recipient", list)], out)
}

fn offline(data: &Path, recipients: &[Recipient], out: &mut dyn Write) -> Result<(), Failure> {
    let history = History::open(data)?;
    let (reader, taken) = history.taken()?;
    let mut sealing = seal(recipients, out)?;
    let made = (env!("CARGO_PKG_VERSION"), crate::world::WallClock.now());
    write(&*reader, &taken, made, &mut sealing, &mut |_| ())?;
    sealing.finish()?.flush()?;
    Ok(())
}
