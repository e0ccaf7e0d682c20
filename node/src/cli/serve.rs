//! `tollgate serve`: a node.

use super::Failure;
use crate::{
    bodies::{self, RequestLog},
    courier::Courier,
    telemetry::{self, Telemetry},
    threads::{CoreThread, Door, MakePorts, Plan, probe, reactor},
    vault::{Keeping, Vault},
    watch::{DiskBounds, Residual, Watch},
    world::{SystemEntropy, WallClock},
};
use actors::{
    administration::{Administration, ApplyFault, SecretsMaker},
    ports::Entropy,
    root::{Core, Ports, Stage},
};
use clap::{Args, ValueEnum};
use cluster_config::Secrets;
use egress::{Egress, Outbound, Setup};
use events::{envelope::Principal, limits};
use ingress::{Admin, Doors, TestAsked, Webhooks};
use journal::{
    disk::{Disk, MemoryDisk},
    memory::Memory,
};
use projections::Projections;
use raft::RaftJournal;
use std::{convert::Infallible, io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use store::{DataDir, DataDirFault, RealDisk};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, mpsc, watch},
};

/// The books are proved so often.
const PROVE_EVERY: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Flags {
    /// Configuration that is applied at the start.
    #[arg(short = 'f', long = "file")]
    file: Option<PathBuf>,
    /// Where callers are served.
    #[arg(long, default_value = "127.0.0.1:4000")]
    listen: SocketAddr,
    /// Where administration and metrics are served; else on the same address.
    #[arg(long)]
    admin_listen: Option<SocketAddr>,
    /// The data directory.
    #[arg(long, env = "TOLLGATE_DATA_DIR", default_value = "./tollgate-data")]
    data: PathBuf,
    /// Where the journal is kept: replicated and on disk, or in memory and forgotten at the end.
    #[arg(long, value_enum, default_value_t = Kind::Raft)]
    journal: Kind,
    /// Below so many MiB of free disk nothing is admitted.
    #[arg(long, default_value_t = limits::DISK_LOW >> 20)]
    disk_low_mib: u64,
    /// From so many MiB of free disk on it is admitted again.
    #[arg(long, default_value_t = limits::DISK_OK >> 20)]
    disk_ok_mib: u64,
    /// MiB of bodies of calls that are kept, where the configuration asks for it; the oldest go first.
    #[arg(long, default_value_t = limits::REQUEST_LOG_MIB)]
    request_log_mib: u64,
    /// Threads that carry calls; else as many as there are cores.
    #[arg(long)]
    reactors: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Raft,
    Memory,
}

pub fn run(flags: Flags) -> Result<ExitCode, Failure> {
    telemetry::lines()?;
    let vars = |name: &str| std::env::var(name).ok();
    let figures = telemetry::figures()?;
    let config = match &flags.file {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?),
        None => None,
    };
    if let Some(text) = &config {
        cluster_config::parse(text, &vars).map_err(problems)?; // before anything is opened
    }
    let listen = free_address(flags.listen)?;
    let admin_listen = flags.admin_listen.map(free_address).transpose()?;
    let setup = Setup::load(Outbound::from_vars(vars)?)?;
    let telemetry = Arc::new(Telemetry::new(&setup, &vars)?);
    let data = data_dir(&flags)?;
    let vault = Vault::open(data.as_ref().map(|dir| Keeping { folder: &flags.data, is_new: dir.is_new }), &vars)?;
    let disk = projections_disk(data.as_ref());
    let lanes = flags.reactors.unwrap_or_else(cores).clamp(1, limits::LANES_MAX);
    let core_thread = CoreThread::start(make_ports(&flags, data, vault.clone()), lanes)?;
    let core = core_thread.core.clone().with_telemetry(telemetry.clone());
    let settings = bodies::Settings {
        disk: disk.clone(),
        bytes_max: flags.request_log_mib.saturating_mul(1 << 20),
        disk_low: flags.disk_low_mib.saturating_mul(1 << 20),
    };
    let (bodies, keeping) = RequestLog::start(core.clone(), vault.clone(), settings)?;
    let core = core.with_bodies(Arc::new(bodies));
    let (projections, runner) = projections::Runner::start(core.journal.reader(), &*disk, mebibytes(flags.disk_low_mib))?;
    let maker: SecretsMaker = {
        let vault = vault.clone();
        Arc::new(move || Box::new(vault.clone()) as Box<dyn Secrets + Send>)
    };
    let administration = Arc::new(Administration::new(core.clone(), maker));
    let main = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    main.block_on(configure(&administration, config.as_deref(), &vars))?;
    let (close, closing) = watch::channel(false);
    let places = Arc::new(Semaphore::new(limits::CALLS_MAX));
    let tellers = Tellers::new(&flags, &core, &projections, &setup, &vault, disk);
    let plan = Plan {
        core: core.clone(),
        setup,
        hasher: Arc::new(move |secret| vault.hash(secret)),
        places: places.clone(),
        administration,
        admin: Arc::new(Admin::new(&admin_token(&vars))),
        metrics: figures.scraper(core.clone(), places.clone(), projections.clone()),
        projections: projections.clone(),
        queries: Arc::new(Semaphore::new(limits::QUERIES_MAX)),
        backups: Arc::new(Semaphore::new(limits::BACKUPS_MAX)),
        webhooks: tellers.webhooks.clone(),
        closing,
    };
    let mut doors = vec![Door { address: listen, doors: if admin_listen.is_some() { Doors::Calls } else { Doors::All } }];
    doors.extend(admin_listen.map(|address| Door { address, doors: Doors::Admin }));
    let reactors: Vec<_> = (0..lanes).map(|lane| reactor(plan.clone(), lane, doors.clone())).collect::<Result<_, _>>()?;
    drop(plan);
    tell(&format!("tollgate listens on http://{listen}"));
    let code = main.block_on(async {
        tokio::select! {
            code = until_told(&core, &places) => code,
            never = tellers.run(&core, &projections) => match never {},
        }
    });
    close.send_replace(true);
    for reactor in reactors {
        let _ = reactor.join(); // a panic there was told by the hook
    }
    keeping.stop();
    core_thread.stop();
    runner.stop();
    telemetry.stop();
    Ok(code)
}

/// What tells operators how the node is: its watch, the proof of the books, and who delivers alerts.
struct Tellers {
    watch: Watch,
    residual: Residual,
    courier: Arc<Courier>,
    tests: mpsc::UnboundedReceiver<TestAsked>,
    webhooks: Arc<Webhooks>,
}

impl Tellers {
    fn new(flags: &Flags, core: &Core, projections: &Projections, setup: &Arc<Setup>, vault: &Vault, disk: Arc<dyn Disk>) -> Tellers {
        let (webhooks, tests) = Webhooks::new();
        let webhooks = Arc::new(webhooks);
        let wire = Arc::new(Egress::new(setup.clone()));
        let courier = Courier::new(core.clone(), projections.clone(), wire, vault.clone(), webhooks.clone());
        let residual = Residual::default();
        let bounds = DiskBounds { low: mebibytes(flags.disk_low_mib), ok: mebibytes(flags.disk_ok_mib) };
        let watch = Watch::new(core.clone(), projections.clone(), disk, bounds, residual.clone());
        Tellers { watch, residual, courier, tests, webhooks }
    }

    async fn run(self, core: &Core, projections: &Projections) -> Infallible {
        tokio::select! {
            never = prove_again(core, projections, &self.residual) => never,
            never = self.watch.run() => never,
            never = self.courier.run(self.tests) => never,
        }
    }
}

/// Opens and locks the data directory; None: the journal is in memory.
fn data_dir(flags: &Flags) -> Result<Option<DataDir>, Failure> {
    if flags.journal == Kind::Memory {
        return Ok(None);
    }
    let opened = RealDisk::new(&flags.data)
        .map_err(DataDirFault::Io)
        .and_then(|disk| DataDir::open(Arc::new(disk), SystemEntropy.draw().to_be_bytes()));
    opened.map(Some).map_err(|fault| format!("{}: {fault}", flags.data.display()).into())
}

/// Where projections lie: beside the journal, or in memory with it.
fn projections_disk(data: Option<&DataDir>) -> Arc<dyn Disk> {
    data.map_or_else(|| Arc::new(MemoryDisk::new()) as Arc<dyn Disk>, |data| data.root.clone())
}

fn make_ports(flags: &Flags, data: Option<DataDir>, vault: Vault) -> MakePorts {
    let clock = Arc::new(WallClock);
    let settings = raft::Settings {
        clock: clock.clone(),
        fail_stop: Arc::new(fail_stop),
        disk_low: mebibytes(flags.disk_low_mib),
        disk_ok: mebibytes(flags.disk_ok_mib),
    };
    Box::new(move || {
        Box::pin(async move {
            let journal: Arc<dyn journal::Journal> = match data {
                Some(dir) => Arc::new(RaftJournal::open(dir, settings).await?),
                None => Arc::new(Memory::new(clock.clone())),
            };
            Ok(Ports { journal, clock, entropy: Arc::new(SystemEntropy), vault: Arc::new(vault), fail_stop: Arc::new(fail_stop) })
        })
    })
}

/// A store failed: nothing that is answered from now on could be trusted.
fn fail_stop(why: String) {
    tracing::error!(why, "the journal has failed; the process ends");
    telemetry::flush();
    std::process::exit(70); // EX_SOFTWARE
}

fn mebibytes(count: u64) -> u64 {
    count.saturating_mul(1 << 20)
}

fn cores() -> u16 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u16)
}

fn free_address(address: SocketAddr) -> Result<SocketAddr, Failure> {
    probe(address).map_err(|error| format!("cannot listen on {address}: {error}").into())
}

fn admin_token(vars: &dyn Fn(&str) -> Option<String>) -> String {
    vars("TOLLGATE_ADMIN_TOKEN").filter(|token| !token.is_empty()).unwrap_or_else(|| {
        let token = format!("tg-admin-{:032x}", SystemEntropy.draw());
        tell(&format!("administrator's token (shown once; set TOLLGATE_ADMIN_TOKEN to choose it): {token}"));
        token
    })
}

/// Applies the file, or what the environment says; and the price book, if there is none.
async fn configure(
    administration: &Administration,
    config: Option<&str>,
    vars: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<(), Failure> {
    if let Some(provider) = administration.sealed_by_another().await {
        return Err(format!(
            "the master key does not open the secret of provider `{provider}`: it is not the one that this data was written with; put the right one back"
        )
        .into());
    }
    administration.ship_catalogue().await.map_err(apply_failure)?;
    let applied = match config {
        Some(text) => administration.apply(text, vars, false, false, Principal::System).await,
        // what is configured already stays as it is: nobody asked for a key that lets everything in
        None if administration.is_configured().await => return Ok(()),
        None => administration.apply_config(cluster_config::from_environment(vars), false, false, Principal::System).await,
    };
    let applied = applied.map_err(apply_failure)?;
    for (key, secret) in &applied.secrets {
        let what = if key.starts_with("webhook ") { key.clone() } else { format!("key {key}") };
        tell(&format!("{what} (shown once): {secret}"));
    }
    tracing::info!(changes = applied.changes.len(), position = %applied.position, "the configuration is applied");
    Ok(())
}

/// On standard output, which a node can do without.
fn tell(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

fn apply_failure(fault: ApplyFault) -> Failure {
    match fault {
        ApplyFault::Problems(list) => problems(list),
        ApplyFault::Stopped { done, why } => format!("after {done} changes: {why}").into(),
    }
}

fn problems(list: Vec<cluster_config::Problem>) -> Failure {
    let lines: Vec<String> = list.iter().map(|problem| format!("  {}: {}", problem.path, problem.message)).collect();
    format!("the configuration has {} problems:\n{}", list.len(), lines.join("\n")).into()
}

/// Proves the books from time to time, for the figures.
async fn prove_again(core: &Core, projections: &Projections, differs: &Residual) -> Infallible {
    let (residual, position) = (metrics::gauge!("tollgate_ledger_residual"), metrics::gauge!("tollgate_ledger_proved_position"));
    residual.set(0.0);
    loop {
        tokio::time::sleep(PROVE_EVERY).await;
        match ingress::prove(core, projections).await {
            Ok(proof) => {
                if proof.residual() != 0 {
                    tracing::error!(residual = %proof.residual(), position = proof.position(), "the books do not close: `tollgate proof` says where");
                }
                differs.set(proof.residual() != 0);
                residual.set(proof.residual() as f64);
                position.set(proof.position() as f64);
            }
            Err(why) => tracing::warn!(why, "the books could not be proved"),
        }
    }
}

/// Runs until SIGTERM or SIGINT, then lets what runs end; a second signal ends at once.
async fn until_told(core: &Core, places: &Arc<Semaphore>) -> ExitCode {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be received");
        return ExitCode::FAILURE;
    };
    let told = async |term: &mut tokio::signal::unix::Signal, int: &mut tokio::signal::unix::Signal| {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    };
    told(&mut term, &mut int).await;
    tracing::info!("stopping: nothing new is taken, what runs may end");
    core.enter(Stage::Draining);
    let all = limits::CALLS_MAX as u32;
    let over = async {
        if tokio::time::timeout(limits::DRAIN_WAIT, places.acquire_many(all)).await.is_err() {
            tracing::warn!("what still runs is cut, and recorded");
            core.enter(Stage::Cut);
            let _ = tokio::time::timeout(limits::RECORD_WAIT + Duration::from_secs(1), places.acquire_many(all)).await;
        }
    };
    tokio::select! {
        () = over => ExitCode::SUCCESS,
        () = told(&mut term, &mut int) => {
            tracing::warn!("told twice: the process ends at once");
            telemetry::flush();
            std::process::exit(130);
        }
    }
}
