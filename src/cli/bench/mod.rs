//! `inverse-flow bench`: measurements with a reference in the same run.

mod all_reduce;
mod distributed;
mod head;
mod kinds;
mod model;
mod op;
mod shape;

use clap::{Args, Subcommand};

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
    Distributed(distributed::DistributedArgs),
}

impl BenchArgs {
    /// Whether it measures several processes.
    pub fn is_distributed(&self) -> bool {
        matches!(self.what, What::Distributed(_))
    }

    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        match &self.what {
            What::Op(args) => args.run(),
            What::Model(args) => args.run(),
            What::Distributed(args) => args.run(),
        }
    }
}
