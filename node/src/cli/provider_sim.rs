//! `tollgate provider-sim`.

use super::Failure;
use std::process::ExitCode;

pub fn run(flags: &::provider_sim::Flags) -> Result<ExitCode, Failure> {
    let listen = flags.listen;
    let settings = flags.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let sim = ::provider_sim::Sim::bind(listen, settings).await.map_err(|error| format!("cannot listen on {}: {error}", listen))?;
        println!("provider-sim listens on http://{}", sim.address());
        sim.run(async { drop(tokio::signal::ctrl_c().await) }).await?;
        Ok(ExitCode::SUCCESS)
    })
}
