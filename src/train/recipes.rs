//! How the published flows were trained, for presets to start from.
//!
//! What the programs do that a recipe cannot hold: MaCow and ButterflyFlow initialise on 2048 images, crop and flip
//! theirs, average 8 noise draws in an evaluation and train for up to 10,000 epochs; Woodbury-Glow stops the decay at a
//! hundredth of the first rate (after 90 epochs); all of them choose the best epoch on the test set, which this crate
//! does on a held-out part of the training set.

use super::{Decay, TrainConfig};

/// MaCow on CIFAR-10: Adam 1e-3, batch 512, 50 steps of warm-up, then 0.999997 a step, no clipping.
pub fn macow() -> TrainConfig {
    TrainConfig {
        epochs: 10_000,
        batch_size: 512,
        lr: 1e-3,
        warmup_steps: Some(50),
        decay: Decay::ExponentialSteps { factor: 0.999_997 },
        clip_norm: None,
        ..TrainConfig::default()
    }
}

/// ButterflyFlow on CIFAR-10: as [`macow`], with batch 128 and 10 steps of warm-up.
pub fn butterfly() -> TrainConfig {
    TrainConfig {
        batch_size: 128,
        warmup_steps: Some(10),
        ..macow()
    }
}

/// Woodbury-Glow on CIFAR-10: Adam 1e-3 with weight decay 2e-7, batch 16, 0.95 an epoch, gradients clipped by value and
/// by norm at 0.1.
///
/// The program's loss is in bits per dimension; ours is in nats per image, so that the clipping limits are multiplied by
/// `dims ln 2`. The weight decay, which is added to the gradient, is too.
pub fn woodbury(dims: i64) -> TrainConfig {
    let unit = dims as f64 * std::f64::consts::LN_2;
    TrainConfig {
        epochs: 100,
        batch_size: 16,
        lr: 1e-3,
        eps: 1e-8 * unit,
        weight_decay: 2e-7 * unit,
        warmup_steps: Some(0),
        decay: Decay::Exponential { factor: 0.95 },
        clip_value: Some(0.1 * unit),
        clip_norm: Some(0.1 * unit),
        ..TrainConfig::default()
    }
}

/// MintNet on CIFAR-10: Adam 1e-3 in the form of AMSGrad with `eps` 1e-4, batch 32, a cosine to 0 over 300 epochs.
pub fn mintnet_cifar10() -> TrainConfig {
    TrainConfig {
        epochs: 300,
        batch_size: 32,
        lr: 1e-3,
        eps: 1e-4,
        amsgrad: true,
        warmup_steps: Some(0),
        decay: Decay::Cosine { epochs: 300 },
        clip_norm: None,
        ..TrainConfig::default()
    }
}

/// MintNet on MNIST: as [`mintnet_cifar10`], with a tenth of the rate after each of the epochs 250, 350 and 450 of 600.
pub fn mintnet_mnist() -> TrainConfig {
    TrainConfig {
        epochs: 600,
        decay: Decay::Milestones {
            factor: 0.1,
            epochs: vec![250, 350, 450],
        },
        ..mintnet_cifar10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::presets;

    #[test]
    fn recipes_are_valid() {
        for train in [
            macow(),
            butterfly(),
            woodbury(3 * 32 * 32),
            mintnet_cifar10(),
            mintnet_mnist(),
        ] {
            let mut config = presets::by_name(presets::DEFAULT).unwrap();
            config.train = train;
            config.validate().unwrap();
        }
    }
}
