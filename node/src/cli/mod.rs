//! The command line.

mod alerts;
mod apply;
mod backup;
mod calls;
mod changes;
mod client;
mod completion;
mod describe;
mod diff;
mod doctor;
mod explain;
mod export;
mod get;
mod import;
mod key;
mod kinds;
mod list;
mod openapi;
mod progress;
mod proof;
mod provider_sim;
mod rebuild;
mod replay;
mod restore;
mod say;
mod serve;
mod table;
mod token;
mod usage;
mod verify;
mod version;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The AI gateway whose budgets hold.
#[derive(Parser)]
#[command(name = "tollgate", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// Nothing but results and errors: no progress, no notes.
    #[arg(long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    verb: Verb,
}

/// What scripts may rely on.
const EXIT_CODES: &str = "\
Exit codes:
  0   done; `diff`: nothing differs
  1   not done, one line on standard error says why; `diff`: something differs; `proof`, `verify`, `explain`, `replay --diff`,
      `doctor`: what was checked is not as it must be
  2   the command line is wrong; `diff`: it could not be told";

/// What a node reads besides its flags.
const SERVE_VARIABLES: &str = "\
Environment:
  TOLLGATE_ADMIN_TOKEN             the administrator's token; else one is made and printed
  TOLLGATE_MASTER_KEY[_FILE]       seals the providers' secrets; else one is made
  OPENAI_API_KEY, …                without a file, each provider whose usual variable is set is there
  RUST_LOG                         which lines are shown; `info,openraft=warn` unless said
  OTEL_EXPORTER_OTLP_ENDPOINT, …   where spans go, and OpenTelemetry's other variables (README, Telemetry)
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY, SSL_CERT_FILE   how providers and the collector are reached";

#[derive(Subcommand)]
enum Verb {
    /// Runs a node.
    #[command(after_long_help = SERVE_VARIABLES)]
    Serve(serve::Flags),
    /// Applies a configuration file to a running node.
    Apply(apply::Flags),
    /// What a file would change, field by field; exit code 1 if anything.
    Diff(diff::Flags),
    /// What there is of a kind: tenants, scopes, keys, providers, models, tokens, budgets.
    Get(get::Flags),
    /// Everything that is known of one thing.
    Describe(describe::Flags),
    /// Virtual keys: makes, rotates, blocks and revokes them.
    #[command(subcommand)]
    Key(key::Verb),
    /// What was used, by any dimension.
    Usage(usage::Flags),
    /// Calls, as they are, or as they end.
    Calls(calls::Flags),
    /// What operators are told of, as it is, or as it comes.
    Alerts(alerts::Flags),
    /// Why a call went where it went, and what it cost: its decision made again.
    Explain(explain::Flags),
    /// Whether the books close now: each budget's limit, settled, held and free, and the records behind them.
    Proof(proof::Flags),
    /// The whole configuration back as a file, secrets as `keep`.
    Export(export::Flags),
    /// Administrators' tokens: who may ask and change what.
    #[command(subcommand)]
    Token(token::Verb),
    /// Builds a projection anew from the whole history, while the node serves.
    Rebuild(rebuild::Flags),
    /// Turns another gateway's configuration into one of ours, and lists what was left.
    Import(import::Flags),
    /// Folds the history of a node that does not run, to any position or time, and prints what it comes to.
    Replay(replay::Flags),
    /// Makes a sealed copy of a node's history and state while it serves, or checks one.
    #[command(after_long_help = backup::HELP)]
    Backup(backup::Flags),
    /// Makes a data directory of a backup.
    Restore(restore::Flags),
    /// Checks a data directory, or a backup, and names what is damaged.
    Verify(verify::Flags),
    /// Checks what a node needs here, and says what to do: addresses, disk, clock, limits, providers, keys, configuration.
    Doctor(doctor::Flags),
    /// What a shell needs to complete our words.
    Completion(completion::Flags),
    /// Prints the OpenAPI document of administration.
    Openapi,
    /// Runs a provider of our own, for first steps, load and faults.
    ProviderSim(::provider_sim::Flags),
    /// Prints the version.
    Version,
}

/// Runs the verb; an error goes to stderr, in one line, and makes the exit code 1.
pub fn run(cli: Cli) -> ExitCode {
    say::set_quiet(cli.quiet);
    if !matches!(cli.verb, Verb::Serve(_) | Verb::ProviderSim(_)) {
        say::end_with_the_reader();
    }
    let done = match cli.verb {
        Verb::Serve(flags) => serve::run(flags),
        Verb::Apply(flags) => apply::run(&flags),
        Verb::Diff(flags) => Ok(diff::run(&flags)),
        Verb::Get(flags) => get::run(&flags),
        Verb::Describe(flags) => describe::run(&flags),
        Verb::Key(verb) => key::run(&verb),
        Verb::Usage(flags) => usage::run(&flags),
        Verb::Calls(flags) => calls::run(&flags),
        Verb::Alerts(flags) => alerts::run(&flags),
        Verb::Explain(flags) => explain::run(&flags),
        Verb::Proof(flags) => proof::run(&flags),
        Verb::Export(flags) => export::run(&flags),
        Verb::Token(verb) => token::run(&verb),
        Verb::Rebuild(flags) => rebuild::run(&flags),
        Verb::Import(flags) => import::run(&flags),
        Verb::Replay(flags) => replay::run(&flags),
        Verb::Backup(flags) => backup::run(&flags),
        Verb::Restore(flags) => restore::run(&flags),
        Verb::Verify(flags) => verify::run(&flags),
        Verb::Doctor(flags) => doctor::run(&flags),
        Verb::Completion(flags) => completion::run(&flags),
        Verb::Openapi => openapi::run(),
        Verb::ProviderSim(flags) => provider_sim::run(&flags),
        Verb::Version => version::run(),
    };
    crate::telemetry::flush();
    match done {
        Ok(code) => code,
        Err(why) if say::is_reader_gone(&why) => ExitCode::from(say::READER_GONE),
        Err(why) => {
            eprintln!("tollgate: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Why a verb could not do its work.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
