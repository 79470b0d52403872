//! The rows of Tables 7, 9 and 10: Inverse-Flow of two levels of 32 steps over the input size, the batch size and the
//! kernel size.
//!
//! The backbone is the one of Table 6 with twice the steps: it reproduces the parameters that Table 10 prints, 7x7 apart
//! (4,408,640 here, 4.407 million there: that row was counted without the splines' 29 parameters a step). Tables 7 and 9
//! measure time and memory only, on images of sizes that no data set here has: random ones stand in.

use super::super::{Decay, RunConfig, TrainConfig};
use super::parts::{augmented, run, Preset};
use super::table6::backbone;
use crate::data::DataName;
use crate::models::{GlowConfig, InverseFlowConfig, Mixing};

/// The tables of this file.
pub const TABLES: [&str; 3] = ["table7", "table9", "table10"];
/// Sides of the images of Table 7.
pub const SIDES: [u16; 5] = [16, 32, 64, 128, 256];
/// Batch sizes of Table 9.
pub const BATCHES: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Kernel sizes of Table 10.
pub const KERNELS: [i64; 6] = [2, 3, 5, 7, 9, 11];
/// Side of the images of Table 9, which does not print it: the time of one sample is the one that Table 7 has for
/// this size.
pub const TABLE9_SIDE: u16 = 128;

pub(super) fn presets() -> Vec<Preset> {
    let sizes = SIDES.into_iter().map(|side| {
        let about = format!("Inverse-Flow, L=2 K=32, on random images of 3x{side}x{side}");
        Preset::new(format!("table7/{side}"), about, on_noise(side, 100))
    });
    let batches = BATCHES.into_iter().map(|batch| {
        let about = format!(
            "Inverse-Flow, L=2 K=32, on random images of 3x{TABLE9_SIDE}x{TABLE9_SIDE}, batches of {batch}"
        );
        Preset::new(format!("table9/{batch}"), about, on_noise(TABLE9_SIDE, batch))
    });
    let kernels = KERNELS.into_iter().map(|kernel| {
        let about =
            format!("Inverse-Flow, L=2 K=32, on CIFAR-10 with filters of {kernel}x{kernel}");
        let config = augmented(run(DataName::Cifar10, model(32, kernel), recipe(100)));
        Preset::new(format!("table10/{kernel}"), about, config)
    });
    sizes.chain(batches).chain(kernels).collect()
}

fn model(side: u16, kernel: i64) -> GlowConfig {
    let mixing = Mixing::InverseFlow(InverseFlowConfig {
        kernel,
        ..InverseFlowConfig::default()
    });
    GlowConfig {
        image: DataName::Noise(side).chw(),
        steps: 32,
        ..backbone(mixing)
    }
}

fn on_noise(side: u16, batch: usize) -> RunConfig {
    run(DataName::Noise(side), model(side, 3), recipe(batch))
}

fn recipe(batch_size: usize) -> TrainConfig {
    TrainConfig {
        batch_size,
        lr: 1e-4,
        warmup_epochs: 2.0,
        decay: Decay::Constant,
        ..TrainConfig::default()
    }
}
