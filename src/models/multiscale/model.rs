//! A model of stages: likelihood, latents, samples.

use super::stage::{Part, Stage, Staged};
use crate::distributions::{standard_normal, standard_normal_log_prob};
use crate::flows::{to_range, Bits, Cx, Dequantize, LogDets, Mapped, Transform};
use crate::models::latents::{Encoded, Latents};
use crate::models::Classes;
use crate::nn::Precision;
use crate::ops::filter::Filters;
use crate::torchscript::{self, ClassesOf, Script, Stages};
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// A density model over 8-bit images made of stages: layers, and splits that send the last channels out as a latent.
///
/// All latents are under `N(0, I)`: where a family models a latent in another way, a
/// [`SplitPrior`](crate::distributions::SplitPrior), or a layer before the split or at the end, turns it into a standard
/// normal one.
///
/// Images are `[N, C, H, W]` with pixel values 0..=255 in the model's floating-point kind; the dequantisation noise, and
/// the condition of a model that has one, come in through [`Cx`].
///
/// [`build`](crate::models::build()) makes the models of this crate; [`MultiScale::builder`] one of your own.
#[derive(Debug)]
pub struct MultiScale {
    pub(super) image: [i64; 3],
    pub(super) latents: Vec<[i64; 3]>,
    pub(super) kind: Kind,
    pub(super) device: Device,
    /// What the nets compute in.
    pub(super) precision: Precision,
    pub(super) bits: Bits,
    /// What the condition of a call says about each image, for a conditional model.
    pub(super) classes: Option<Classes>,
    /// From data to latent.
    pub(super) stages: Vec<Stage>,
}

impl MultiScale {
    /// `[C, H, W]` of an image.
    pub fn image_shape(&self) -> [i64; 3] {
        self.image
    }

    /// `[C, H, W]` of each latent, in the order of [`Latents`].
    pub fn latent_shapes(&self) -> Vec<[i64; 3]> {
        self.latents.clone()
    }

    /// The classes of a conditional model, each call of which needs a [`condition`](Self::condition).
    pub fn classes(&self) -> Option<&Classes> {
        self.classes.as_ref()
    }

    /// What the nets inside the couplings compute in: float32 unless [`set_precision`](Self::set_precision) says otherwise.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Lets the nets inside the couplings compute in `precision` from now on. That is another density: parameters that were
    /// fitted in one precision belong to it.
    ///
    /// # Errors
    /// A layer that cannot compute in this precision; then nothing is changed.
    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        for index in 0..self.stages.len() {
            if let Err(err) = self.stages[index].set_precision(precision) {
                let mut changed = self.stages[..=index].iter_mut();
                changed.try_for_each(|stage| stage.set_precision(self.precision))?;
                return Err(err);
            }
        }
        self.precision = precision;
        Ok(())
    }

    /// Whether layers leave their log-det out of [training](Cx::training), as
    /// [`SelfNorm`](crate::flows::SelfNorm) does: then what a training step measures is no likelihood, and may well rise.
    /// Evaluation is exact in any case.
    pub fn trains_without_log_dets(&self) -> bool {
        self.stages.iter().any(Stage::trains_without_log_det)
    }

    /// The bits of a pixel that this is a density of: 8 unless [`set_bits`](Self::set_bits) says otherwise.
    pub fn bits(&self) -> Bits {
        self.bits
    }

    /// Makes it a density of so many bits of every pixel. What a model was fitted to belongs to it like its parameters.
    ///
    /// # Errors
    /// [`Error::Config`] for a model that does not begin with a [`Dequantize`] layer.
    pub fn set_bits(&mut self, bits: Bits) -> Result<()> {
        if bits == self.bits {
            return Ok(());
        }
        match self.stages.first_mut() {
            Some(first) if first.kind() == Dequantize::default().name() => {
                first.part = Part::Layer(Box::new(Dequantize::new(bits)));
                self.bits = bits;
                Ok(())
            }
            _ => Err(Error::config(format!(
                "a model of {bits} bits must begin with a `dequantize` layer: append it first"
            ))),
        }
    }

    /// The stages from data to latent, for whoever runs or measures them one by one.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Name and kind of every stage in order (`levels.0.steps.3.inv_conv`).
    pub fn layers(&self) -> Vec<(String, &'static str)> {
        let stages = self.stages.iter();
        stages
            .map(|stage| (stage.name().to_owned(), stage.kind()))
            .collect()
    }

    /// Data-dependent initialisation of every layer from a first batch. Idempotent.
    ///
    /// # Errors
    /// A wrong shape.
    pub fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        self.check_images("initialize", x, cx.condition)?;
        tch::no_grad(|| {
            let mut value = x.shallow_clone();
            for stage in &mut self.stages {
                value = stage.initialize(&value, cx)?;
            }
            Ok(())
        })
    }

    /// Images to latents.
    ///
    /// # Errors
    /// A wrong shape, or not initialised.
    pub fn encode(&self, x: &Tensor, cx: Cx<'_>) -> Result<Encoded> {
        let mut log_dets = LogDets::default();
        let latents = self.run(x, cx, |_, staged| {
            if let Some(log_det) = &staged.log_det {
                log_dets.push(log_det.shallow_clone());
            }
            Ok(true)
        })?;
        Ok(Encoded {
            latents: Latents(latents),
            log_det: log_dets.sum(x)?,
        })
    }

    /// Latents to images (continuous; floor them for 8-bit pixels), the exact inverse of `encode`. Rounding may put a value
    /// on or beyond an end of `[0, 256)`, and a flow without a logit knows no range: [`to_range`] is for those. `log_det` is
    /// `log|det ∂image/∂latents|`.
    ///
    /// # Errors
    /// A wrong shape, or not initialised.
    pub fn decode(&self, latents: &Latents, cx: Cx<'_>) -> Result<Mapped> {
        let mut log_dets = LogDets::default();
        let value = self.run_back(latents, cx, |_, _, log_det| {
            if let Some(log_det) = log_det {
                log_dets.push(log_det.shallow_clone());
            }
            Ok(true)
        })?;
        Ok(Mapped {
            log_det: log_dets.sum(&value)?,
            value,
        })
    }

    /// Exact `log p(x)` of the dequantised images, nats, `[N]`.
    ///
    /// # Errors
    /// As [`encode`](MultiScale::encode).
    pub fn log_prob(&self, x: &Tensor, cx: Cx<'_>) -> Result<Tensor> {
        let Encoded { latents, log_det } = self.encode(x, cx)?;
        latents.0.iter().try_fold(log_det, |sum, latent| {
            Ok(sum.f_add(&standard_normal_log_prob(latent)?)?)
        })
    }

    /// `n` images, `[n, C, H, W]`, in `[0, 256)`, from latents of the prior times `temperature`: 1 is the model's own
    /// distribution, less gives smoother images. What decoding takes beyond the range is [brought into it](to_range).
    ///
    /// The latents are drawn from libtorch's global generator, which `tch::manual_seed` seeds; no gradients are
    /// recorded. For latents of your own there is [`decode`](MultiScale::decode).
    ///
    /// # Errors
    /// As `decode`; [`Error::Argument`](crate::Error::Argument) for a negative number or temperature.
    pub fn sample(&self, n: i64, temperature: f64, cx: Cx<'_>) -> Result<Tensor> {
        let latents = self
            .latents
            .iter()
            .map(|&chw| standard_normal(n, chw, temperature, (self.kind, self.device)));
        let latents = Latents(latents.collect::<Result<_>>()?);
        to_range(&tch::no_grad(|| self.decode(&latents, cx))?.value)
    }

    /// The model in TorchScript, with the methods that [`archive`](crate::torchscript::archive()) describes.
    ///
    /// # Errors
    /// A layer that has no TorchScript, with its kind and place; nets in another precision than float32.
    pub fn torchscript(&self) -> Result<Script> {
        if self.precision != Precision::Float32 {
            return Err(Error::config(format!(
                "a TorchScript program computes in float32, and these nets are in {}: `convert --precision float32` writes the \
                 density that the parameters have in float32, which is another one",
                self.precision
            )));
        }
        let mut program = Stages::default();
        let mut latent = 0;
        for stage in &self.stages {
            stage.add_to(&mut program, latent)?;
            latent += usize::from(stage.is_split());
        }
        let classes = self.classes.as_ref().map(|classes| ClassesOf {
            names: &classes.names,
            images: &classes.images,
        });
        torchscript::model(self.image, &self.latents, classes, program)
    }

    /// Runs `x` through all stages, shows `see` the name of each and what it made, and stops when it says so.
    pub(super) fn run(
        &self,
        x: &Tensor,
        cx: Cx<'_>,
        mut see: impl FnMut(&str, &Staged) -> Result<bool>,
    ) -> Result<Vec<Tensor>> {
        self.check_images("encode", x, cx.condition)?;
        let filters = self.filters()?;
        let cx = Cx {
            filters: filters.as_ref(),
            ..cx
        };
        let mut latents = Vec::with_capacity(self.latents.len());
        let mut value = x.shallow_clone();
        for stage in &self.stages {
            let staged = stage.forward(&value, cx)?;
            let go_on = see(stage.name(), &staged)?;
            latents.extend(staged.latent);
            value = staged.kept;
            if !go_on {
                break;
            }
        }
        latents.push(value);
        Ok(latents)
    }

    /// Runs latents back through all stages, shows `see` the name of each with what it made and its log-det, and stops when
    /// it says so.
    pub(super) fn run_back(
        &self,
        latents: &Latents,
        cx: Cx<'_>,
        mut see: impl FnMut(&str, &Tensor, Option<&Tensor>) -> Result<bool>,
    ) -> Result<Tensor> {
        let Latents(latents) = latents;
        let top = self.check_latents(latents, cx.condition)?;
        let filters = self.filters()?;
        let cx = Cx {
            filters: filters.as_ref(),
            ..cx
        };
        let mut waiting = latents.iter().rev().skip(1);
        let mut value = top.shallow_clone();
        for stage in self.stages.iter().rev() {
            let latent = match stage.is_split() {
                true => waiting.next(),
                false => None,
            };
            let log_det;
            (value, log_det) = stage.inverse(&value, latent, cx)?;
            if !see(stage.name(), &value, log_det.as_ref())? {
                break;
            }
        }
        Ok(value)
    }

    /// The filters of all inverse convolutions, made in one launch; on a CPU each layer makes its own, when it needs it.
    fn filters(&self) -> Result<Option<Filters>> {
        if !matches!(self.device, Device::Cuda(_)) {
            return Ok(None);
        }
        let stages = self.stages.iter();
        let raw: Vec<_> = stages.flat_map(|stage| stage.raw_filters()).collect();
        Ok(Some(Filters::of(&raw)?))
    }
}
