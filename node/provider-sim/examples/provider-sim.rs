//! The simulator alone: `cargo run -p tollgate-provider-sim --example provider-sim -- --listen 127.0.0.1:4010`.

use clap::Parser;
use provider_sim::{Flags, Sim};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let flags = Line::parse().flags;
    let settings = flags.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let sim = Sim::bind(flags.listen, settings).await?;
        println!("provider-sim listens on http://{}", sim.address());
        sim.run(std::future::pending()).await?;
        Ok(())
    })
}
