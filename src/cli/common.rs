//! Arguments and steps that several subcommands share.

use crate::data::{self, DataConfig, DataName, Dataset, Split};
use crate::models::Flow;
use crate::train::{find_checkpoint, load_model, Checkpoint, DeviceChoice, RunConfig};
use crate::Result;
use clap::Args;
use std::path::{Path, PathBuf};
use tch::{nn::VarStore, Device};

/// Where and with how many threads to compute.
#[derive(Debug, Args)]
pub struct Compute {
    /// Device: auto, cpu, cuda or cuda:I [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub threads: Option<i32>,
}

impl Compute {
    /// Sets the number of threads of this process.
    pub fn apply_threads(&self) {
        if let Some(threads) = self.threads {
            tch::set_num_threads(threads);
        }
    }

    /// Sets the threads and picks the device; a choice left to the program is reported on standard error.
    pub fn start(&self) -> Result<Device> {
        self.apply_threads();
        let picked = self.device.unwrap_or(DeviceChoice::Auto).pick()?;
        if self
            .device
            .is_none_or(|choice| choice == DeviceChoice::Auto)
        {
            eprintln!("device: {}", picked.text);
        }
        Ok(picked.device)
    }
}

/// Which images to use instead of those of the run.
#[derive(Debug, Args)]
pub struct Images {
    /// Data set: glyphs, mnist or cifar10 [default: that of the run]
    #[arg(long, value_name = "DATA")]
    data: Option<DataName>,
    /// Folder of the data files [default: that of the run]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Part of the data: train, val or test
    #[arg(long, default_value = "test")]
    pub split: Split,
}

impl Images {
    /// Loads the images, all or the first `limit`.
    pub fn load(&self, run: &RunConfig, limit: Option<usize>) -> Result<Dataset> {
        let mut config = DataConfig {
            limit,
            ..run.data.clone()
        };
        self.select(&mut config);
        data::load_split(&config, run.seed, self.split)
    }

    fn select(&self, config: &mut DataConfig) {
        if let Some(name) = self.data {
            config.name = name;
        }
        if let Some(dir) = &self.data_dir {
            config.dir.clone_from(dir);
        }
    }

    /// Name of the data set in use.
    pub fn name(&self, run: &RunConfig) -> DataName {
        self.data.unwrap_or(run.data.name)
    }
}

/// A model with the content of a checkpoint.
pub struct Loaded {
    /// What the run was made of.
    pub config: RunConfig,
    /// The model.
    pub model: Box<dyn Flow>,
    /// Its variables.
    pub vs: VarStore,
}

/// Loads the model of a `RUN|FILE` argument; which file of a run was taken is reported on standard error.
pub fn load(path: &Path, device: Device) -> Result<Loaded> {
    let file = find_checkpoint(path)?;
    let checkpoint = Checkpoint::open(&file)?;
    if file != path {
        let progress = checkpoint.progress;
        eprintln!(
            "using {} (step {}, epoch {})",
            file.display(),
            progress.step,
            progress.epoch
        );
    }
    let (model, vs) = load_model(&checkpoint, device)?;
    Ok(Loaded {
        config: checkpoint.config,
        model,
        vs,
    })
}

/// Number of trainable and of other scalars in a store.
pub fn scalars(vs: &VarStore) -> (usize, usize) {
    let (mut params, mut buffers) = (0, 0);
    for tensor in vs.variables().values() {
        if tensor.requires_grad() {
            params += tensor.numel();
        } else {
            buffers += tensor.numel();
        }
    }
    (params, buffers)
}
