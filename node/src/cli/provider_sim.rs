//! `tollgate provider-sim`.

use super::Failure;
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    behaviour: provider_sim::Flags,
}

pub fn run(flags: Flags) -> Result<ExitCode, Failure> {
    let listen = flags.behaviour.listen;
    let settings = flags.behaviour.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let sim = provider_sim::Sim::bind(listen, settings).await.map_err(|error| format!("cannot listen on {}: {error}", listen))?;
        println!("provider-sim listens on http://{}", sim.address());
        sim.run(async { drop(tokio::signal::ctrl_c().await) }).await?;
        Ok(ExitCode::SUCCESS)
    })
}
