//! `inverse-flow bench`: measurements with a reference in the same run.

mod model;
mod op;
mod shape;

use super::doctor::float32;
use crate::words::{self, counted};
use clap::{Args, Subcommand};
use tch::Device;

/// Measure speed, always beside a reference in the same run
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Op(op::OpArgs),
    Model(model::ModelArgs),
}

/// What a measurement runs on, for the head of its text: a GPU with its precision, and threads.
fn head(device: Device) -> String {
    let threads = counted(tch::get_num_threads(), "thread");
    match device {
        Device::Cpu => format!("cpu, {threads}"),
        gpu => format!(
            "{}, float32: {}, {threads}",
            words::device(gpu),
            float32(gpu)
        ),
    }
}

impl BenchArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        match &self.what {
            What::Op(args) => args.run(),
            What::Model(args) => args.run(),
        }
    }
}
