//! The flags of `train` that make a configuration.

use crate::cli::pictures::{Pictures, Shape};
use crate::cli::values;
use crate::data::{image_shape, Source};
use crate::flows::Bits;
use crate::models::Overrides;
use crate::nn::Precision;
use crate::train::{Decay, RunConfig};
use clap::Args;
use std::path::PathBuf;

/// What a run is about; most of it is fixed once it has begun.
#[derive(Debug, Args)]
#[group(id = "Model", multiple = true)]
pub struct Model {
    /// Named settings to start from; see below
    #[arg(long, value_name = "P", value_parser = values::preset(), hide_possible_values = true)]
    pub preset: Option<String>,
    /// JSON file with any of the keys of a run's config.json
    #[arg(long, value_name = "F")]
    pub config: Option<PathBuf>,
    /// Flow family, such as finc or macow; alone it stands for --preset quick/M
    #[arg(long, value_name = "M", value_parser = values::model(), hide_possible_values = true)]
    pub model: Option<String>,
    /// glyphs (built in), mnist, cifar10, noise64, or a path of pictures or arrays: docs/data.md
    #[arg(long, value_name = "DATA", value_parser = values::data(), hide_possible_values = true)]
    data: Option<Source>,
    /// Learn the images given their class, from data with labels: docs/conditional.md
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    conditional: Option<bool>,
    /// Levels of squeeze and split
    #[arg(long, value_name = "L")]
    levels: Option<usize>,
    /// Flow steps on each level
    #[arg(long, value_name = "K")]
    steps: Option<usize>,
    /// Side of the kernels of the family's convolution
    #[arg(long, value_name = "k")]
    kernel: Option<i64>,
    /// Hidden channels of the coupling nets
    #[arg(long, value_name = "W")]
    width: Option<i64>,
    /// What the coupling nets compute in: float32, tf32 or bfloat16
    #[arg(long, value_name = "X", value_parser = values::precision(), hide_possible_values = true)]
    precision: Option<Precision>,
    /// Bits of a pixel that the model is a density of, 1 to 8; Glow's 5 make 32 grey levels
    #[arg(long, value_name = "B", value_parser = values::bits(), hide_possible_values = true)]
    bits: Option<Bits>,
    /// Use only the first N images of every split
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Shift training images at random, and flip those of cifar10
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    augment: Option<bool>,
    /// Seed of everything random
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

/// When a run ends; may be changed when it goes on.
#[derive(Debug, Args)]
pub struct Limits {
    /// Passes over the training images
    #[arg(long, value_name = "E")]
    pub epochs: Option<u64>,
    /// Stop after N steps
    #[arg(long, value_name = "N")]
    pub max_steps: Option<u64>,
    /// Stop after T minutes of training, all sessions together
    #[arg(long, value_name = "T")]
    pub max_minutes: Option<f64>,
}

/// How the parameters are fitted.
#[derive(Debug, Args)]
#[group(id = "Optimisation", multiple = true)]
pub struct Optimisation {
    /// Images per step
    #[arg(long, value_name = "B")]
    batch_size: Option<usize>,
    /// Learning rate of Adam after the warm-up
    #[arg(long, value_name = "R")]
    lr: Option<f64>,
    /// Length of the linear warm-up in epochs; fractions are allowed
    #[arg(long, value_name = "E")]
    warmup_epochs: Option<f64>,
    /// Length of the linear warm-up in steps
    #[arg(long, value_name = "N", conflicts_with = "warmup_epochs")]
    warmup_steps: Option<u64>,
    /// Factor on the learning rate for each epoch after the warm-up; 1 keeps it
    #[arg(long, value_name = "F")]
    decay: Option<f64>,
    /// Let the learning rate fall by half a cosine, to 0 at step N
    #[arg(long, value_name = "N", conflicts_with = "decay")]
    cosine: Option<u64>,
    /// L2 penalty
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,
    /// Largest norm of the gradient; 0 means no limit
    #[arg(long, value_name = "X")]
    clip_norm: Option<f64>,
    /// Limit every parameter to [-X, X], as the published code does
    #[arg(long, value_name = "X")]
    clamp_weights: Option<f64>,
    /// Validate every N steps instead of after epochs
    #[arg(long, value_name = "N")]
    val_every: Option<u64>,
    /// Validate with the first N images of the validation split only
    #[arg(long, value_name = "N")]
    val_limit: Option<usize>,
    /// Images in the sample grid of every validation; 0 for none
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Save memory: send a batch through the model in N parts, one after the other
    #[arg(long, value_name = "N")]
    accumulate: Option<u32>,
    /// Stop after N validations in a row without an improvement
    #[arg(long, value_name = "N")]
    patience: Option<u64>,
    /// Bits per dimension that count as an improvement for --patience [default: any]
    #[arg(long, value_name = "X")]
    min_delta: Option<f64>,
    /// Keep the last N checkpoints, beside last and best
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Validate and sample with averaged weights, of this decay a step, such as 0.999
    #[arg(long, value_name = "X")]
    ema: Option<f64>,
    /// Write event files for TensorBoard into the run folder
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    tensorboard: Option<bool>,
    /// Stop when validation reaches X bits per dimension
    #[arg(long, value_name = "X")]
    target_bpd: Option<f64>,
    /// Save memory: compute activations again in the backward pass
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    rebuild_activations: Option<bool>,
}

impl Model {
    /// Puts what was given into a configuration.
    pub fn apply(
        &self,
        config: &mut RunConfig,
        shape: &Shape,
        pictures: &Pictures,
    ) -> crate::Result<()> {
        let data = &mut config.data;
        if let Some(source) = &self.data {
            (data.name, data.image) = (source.clone().absolute()?, None);
            data.fingerprint = None;
        }
        shape.apply(data);
        pictures.apply(data);
        self.apply_small(config);
        match self.conditional {
            // the run finds them in its images
            Some(true) => {
                config.model.classes_mut().get_or_insert_default();
            }
            Some(false) => *config.model.classes_mut() = None,
            None => {}
        }
        config.model.change(&Overrides {
            model: self.model.clone(),
            image: Some(image_shape(&config.data)?),
            levels: self.levels,
            steps: self.steps,
            kernel: self.kernel,
            width: self.width,
        })
    }
}

impl Model {
    /// Whether something is given that the architecture depends on.
    pub fn changes_the_model(&self) -> bool {
        let sizes = [
            self.levels.is_some(),
            self.steps.is_some(),
            self.kernel.is_some(),
            self.width.is_some(),
        ];
        let others = [self.data.is_some(), self.conditional.is_some()];
        self.model.is_some() || others.contains(&true) || sizes.contains(&true)
    }

    /// What the architecture does not depend on.
    pub fn apply_small(&self, config: &mut RunConfig) {
        config.data.limit = self.limit.or(config.data.limit);
        replace(&mut config.data.augment, self.augment);
        replace(&mut config.seed, self.seed);
        replace(&mut config.precision, self.precision);
        replace(&mut config.bits, self.bits);
    }
}

impl Optimisation {
    /// Puts what was given into a configuration.
    pub fn apply(&self, config: &mut RunConfig) {
        let t = &mut config.train;
        replace(&mut t.batch_size, self.batch_size);
        replace(&mut t.lr, self.lr);
        replace(&mut t.weight_decay, self.weight_decay);
        if let Some(epochs) = self.warmup_epochs {
            (t.warmup_epochs, t.warmup_steps) = (epochs, None);
        }
        t.warmup_steps = self.warmup_steps.or(t.warmup_steps);
        replace(
            &mut t.decay,
            self.decay.map(|factor| Decay::Exponential { factor }),
        );
        replace(
            &mut t.decay,
            self.cosine.map(|steps| Decay::CosineSteps { steps }),
        );
        if let Some(norm) = self.clip_norm {
            t.clip_norm = (norm != 0.0).then_some(norm);
        }
        replace(&mut t.rebuild_activations, self.rebuild_activations);
        t.val_every_steps = self.val_every.or(t.val_every_steps);
        t.val_limit = self.val_limit.or(t.val_limit);
        replace(&mut t.samples, self.samples);
        t.patience = self.patience.or(t.patience);
        replace(&mut t.accumulate, self.accumulate);
        replace(&mut t.min_delta, self.min_delta);
        t.keep = self.keep.or(t.keep);
        if let Some(decay) = self.ema {
            t.ema = (decay != 0.0).then_some(decay);
        }
        replace(&mut t.tensorboard, self.tensorboard);
        t.target_bpd = self.target_bpd.or(t.target_bpd);
        t.clamp_weights = self.clamp_weights.or(t.clamp_weights);
    }
}

/// Puts a value that was given in place of the old one.
pub fn replace<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}
