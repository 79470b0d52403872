//! `inverse-flow data`: get and check the files of data sets, and look at or pack one's own.

mod download;
mod fetch;
mod source;

use anyhow::Result;
use clap::{Args, Subcommand};
use fetch::DataSet;
use source::{Inspect, Pack};

/// Look at data, pack them, or download and check published files
#[derive(Debug, Args)]
pub struct DataArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what a folder of pictures or a file of arrays holds: count, sizes, classes, splits, what is damaged
    #[command(after_help = "Example: inverse-flow data inspect photos --grid photos.png")]
    Inspect(Inspect),
    /// Write all images of a source into one file, which later runs start from at once and read as they go
    #[command(
        after_help = "Example: inverse-flow data pack photos photos.pack --image 3x32x32 --fit resize --skip-damaged
Then: inverse-flow train --data photos.pack --out runs/photos"
    )]
    Pack(Pack),
    /// Download what is missing, then check everything
    ///
    /// INVERSE_FLOW_MNIST_URL, INVERSE_FLOW_CIFAR10_URL and so on name other folders to download from. Fashion-MNIST, KMNIST and
    /// CIFAR-100 are then data by their folders: --data data/fashion-mnist
    Fetch(DataSet),
    /// Check every file against the published contents
    Verify(DataSet),
}

impl DataArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A file that is missing or wrong, or a download that failed, with what to place where by hand.
    pub fn run(&self) -> Result<()> {
        match &self.action {
            Action::Inspect(inspect) => inspect.run(),
            Action::Pack(pack) => pack.run(),
            Action::Fetch(target) => target.fetch(),
            Action::Verify(target) => target.verify(),
        }
    }
}
