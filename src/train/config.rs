//! Everything a run is made of.

use super::{Change, Decay, InitFrom};
use crate::data::DataConfig;
use crate::flows::Bits;
use crate::models::ModelConfig;
use crate::nn::Precision;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the parameters are fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training images.
    pub epochs: u64,
    /// Stop after this many steps of the run, if that comes first.
    pub max_steps: Option<u64>,
    /// Stop after this many minutes of the run (all sessions together), if that comes first.
    pub max_minutes: Option<f64>,
    /// Images per step.
    pub batch_size: usize,
    /// Adam's learning rate at the end of the warm-up.
    pub lr: f64,
    /// Adam's decay rates of the first and second moment.
    pub betas: [f64; 2],
    /// Adam's `eps`.
    pub eps: f64,
    /// Adam's variant AMSGrad.
    #[serde(default)]
    pub amsgrad: bool,
    /// L2 penalty added to the gradient.
    pub weight_decay: f64,
    /// Epochs of linear warm-up; fractions are allowed.
    pub warmup_epochs: f64,
    /// Steps of linear warm-up; replaces `warmup_epochs` when given.
    pub warmup_steps: Option<u64>,
    /// How the rate falls after the warm-up.
    pub decay: Decay,
    /// Largest magnitude of a single entry of the gradient; larger ones are cut off, before the norm is taken.
    pub clip_value: Option<f64>,
    /// Largest norm of the gradient of all parameters together; longer ones are scaled down to it.
    pub clip_norm: Option<f64>,
    /// Rebuild the activations in the backward pass by inverting the flow, instead of keeping them: memory that does
    /// not grow with the depth, nor with the batch once that is large, for a longer step.
    #[serde(default)]
    pub rebuild_activations: bool,
    /// Parts of a batch that go through the model one after the other, their gradients summed: the memory of one of them.
    #[serde(default = "one")]
    pub accumulate: u32,
    /// The published Inverse-Flow code clamps every parameter to this magnitude after every step; for comparisons
    /// with it only.
    #[serde(default)]
    pub clamp_weights: Option<f64>,
    /// Stop after a validation with at most this many bits per dimension.
    #[serde(default)]
    pub target_bpd: Option<f64>,
    /// Stop after so many validations in a row that have not improved by more than `min_delta`.
    #[serde(default)]
    pub patience: Option<u64>,
    /// Bits per dimension by which a validation must be better to count as an improvement for `patience`.
    #[serde(default)]
    pub min_delta: f64,
    /// Keep the checkpoints of so many latest steps that were saved, beside `last` and `best`.
    #[serde(default)]
    pub keep: Option<usize>,
    /// Keep an exponential average of the parameters with this decay a step; it is what is validated, sampled and evaluated.
    #[serde(default)]
    pub ema: Option<f64>,
    /// `auto`, `cpu`, `cuda` or `cuda:i`.
    pub device: String,
    /// CPU threads; `None` for one a core.
    #[serde(default)]
    pub threads: Option<i32>,
    /// MiB of training images, 8 bits a number, that may lie on a GPU for the whole run; of more, each batch is uploaded.
    #[serde(default = "default_device_data_mib")]
    pub device_data_mib: u64,
    /// Epochs between two validations.
    pub eval_every: u64,
    /// Steps between two validations, in place of `eval_every`; the end of the run is validated in any case.
    #[serde(default)]
    pub val_every_steps: Option<u64>,
    /// Validate with the first images of the validation split only, so many of them.
    #[serde(default)]
    pub val_limit: Option<usize>,
    /// Steps between two lines of `metrics.jsonl`, which hold means over them.
    pub log_every: u64,
    /// Write TensorBoard's event files into the run folder too.
    #[serde(default)]
    pub tensorboard: bool,
    /// Minutes between two checkpoints inside an epoch.
    pub checkpoint_minutes: f64,
    /// Images in the sample grid of every validated epoch; 0 for none.
    pub samples: usize,
    /// Standard deviation of the latents of the sample grid; 1 samples the model's own distribution.
    pub sample_temperature: f64,
}

fn one() -> u32 {
    1
}

/// CIFAR-10 has 117 MiB.
fn default_device_data_mib() -> u64 {
    1024
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            max_steps: None,
            max_minutes: None,
            batch_size: 100,
            lr: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            amsgrad: false,
            weight_decay: 0.0,
            warmup_epochs: 1.0,
            warmup_steps: None,
            decay: Decay::Constant,
            clip_value: None,
            clip_norm: Some(1.0),
            rebuild_activations: false,
            accumulate: 1,
            clamp_weights: None,
            target_bpd: None,
            patience: None,
            min_delta: 0.0,
            keep: None,
            ema: None,
            device: "auto".into(),
            threads: None,
            device_data_mib: default_device_data_mib(),
            eval_every: 1,
            val_every_steps: None,
            val_limit: None,
            log_every: 10,
            tensorboard: false,
            checkpoint_minutes: 5.0,
            samples: 64,
            sample_temperature: 0.7,
        }
    }
}

/// One training run; saved resolved as `config.json` and inside every checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The preset that the rest started from.
    pub preset: Option<String>,
    /// Where all randomness comes from: initial parameters, order, noise, augmentation, samples.
    pub seed: u64,
    /// The density model.
    pub model: ModelConfig,
    /// What the nets inside the model's couplings compute in: a part of the density, like the parameters.
    #[serde(default)]
    pub precision: Precision,
    /// The bits of a pixel that the model is a density of.
    #[serde(default)]
    pub bits: Bits,
    /// The images.
    pub data: DataConfig,
    /// A file with the weights that the run begins with, in place of random ones.
    #[serde(default)]
    pub init_from: Option<InitFrom>,
    /// The optimisation.
    pub train: TrainConfig,
    /// What was changed since the run began, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

impl RunConfig {
    /// Reads back what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// Not JSON, or a missing or unknown key.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|err| Error::config(format!("configuration: {err}")))
    }

    /// The text of `config.json`.
    ///
    /// # Errors
    /// A number that JSON cannot hold.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self)
            .map_err(|err| Error::config(format!("configuration: {err}")))
    }

    /// Checks the numbers of the optimisation; the model and the data check their own.
    ///
    /// # Errors
    /// The first value that makes no sense, with the range that does.
    pub fn validate(&self) -> Result<()> {
        let t = &self.train;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        let checks = [
            (t.epochs > 0, "epochs", "at least 1"),
            (t.max_steps != Some(0), "max_steps", "at least 1"),
            (
                t.max_minutes.is_none_or(positive),
                "max_minutes",
                "more than 0",
            ),
            (t.batch_size > 0, "batch_size", "at least 1"),
            (t.accumulate > 0, "accumulate", "at least 1"),
            (t.threads.is_none_or(|n| n > 0), "threads", "at least 1"),
            (positive(t.lr), "lr", "more than 0"),
            (
                t.betas.iter().all(|b| (0.0..1.0).contains(b)),
                "betas",
                "in [0, 1)",
            ),
            (positive(t.eps), "eps", "more than 0"),
            (not_negative(t.weight_decay), "weight_decay", "0 or more"),
            (not_negative(t.warmup_epochs), "warmup_epochs", "0 or more"),
            (
                match &t.decay {
                    Decay::Constant => true,
                    Decay::Cosine { epochs } => *epochs > 0,
                    Decay::CosineSteps { steps } => *steps > 0,
                    Decay::Exponential { factor }
                    | Decay::ExponentialSteps { factor }
                    | Decay::Milestones { factor, .. } => *factor > 0.0 && *factor <= 1.0,
                },
                "decay",
                "a factor in (0, 1], or at least 1 epoch or step",
            ),
            (
                t.clip_value.is_none_or(positive),
                "clip_value",
                "more than 0",
            ),
            (t.clip_norm.is_none_or(positive), "clip_norm", "more than 0"),
            (
                t.clamp_weights.is_none_or(positive),
                "clamp_weights",
                "more than 0",
            ),
            (
                t.target_bpd.is_none_or(f64::is_finite),
                "target_bpd",
                "a number",
            ),
            (t.patience != Some(0), "patience", "at least 1"),
            (not_negative(t.min_delta), "min_delta", "0 or more"),
            (t.keep != Some(0), "keep", "at least 1"),
            (
                t.ema.is_none_or(|decay| decay > 0.0 && decay < 1.0),
                "ema",
                "between 0 and 1, such as 0.999; 0 on the command line means none",
            ),
            (t.eval_every > 0, "eval_every", "at least 1"),
            (
                t.val_every_steps != Some(0),
                "val_every_steps",
                "at least 1",
            ),
            (t.val_limit != Some(0), "val_limit", "at least 1"),
            (t.log_every > 0, "log_every", "at least 1"),
            (
                not_negative(t.checkpoint_minutes),
                "checkpoint_minutes",
                "0 or more",
            ),
            (
                not_negative(t.sample_temperature),
                "sample_temperature",
                "0 or more",
            ),
        ];
        match checks.iter().find(|(fine, ..)| !fine) {
            Some((_, key, range)) => Err(Error::config(format!("`train.{key}` must be {range}"))),
            None => Ok(()),
        }
    }
}
