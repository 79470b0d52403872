//! The multi-scale assembly: preprocessing, then levels of squeeze, steps, split.

use super::{CouplingForm, Encoded, Flow, GlowConfig, Latents, StageCall, Staged};
use crate::distributions::{standard_normal_log_prob, SplitPrior};
use crate::flows::{
    ActNorm, Coupling, Cx, Dequantize, LogitMap, Mapped, QuadCoupling, ReverseChannels, Scale,
    Spline, Squeeze, Transform,
};
use crate::nn::CouplingNet;
use crate::{Error, Result};
use tch::{nn, Device, Kind, Tensor};

/// A Glow-like flow over images.
///
/// ```text
/// dequantize, scale, logit, then for every level:  squeeze,  K steps,  split (but after the last level)
/// step:  [actnorm]  mixing  [spline]  [mixing again]  [reverse channels]  coupling
/// ```
///
/// The mixing layers are what the flow families differ in: see [`Mixing`](super::Mixing). A split sends half of the channels out as a latent, so the latents are one
/// per split and the top; all are under `N(0, I)`.
///
/// Source: Kingma, Dhariwal, *Glow*, 2018, <https://arxiv.org/abs/1807.03039>.
#[derive(Debug)]
pub struct Glow {
    image: [i64; 3],
    latents: Vec<[i64; 3]>,
    kind: Kind,
    device: Device,
    /// All layers from data to latent, with their full names.
    stages: Vec<(String, Stage)>,
}

#[derive(Debug)]
enum Stage {
    Layer(Box<dyn Transform>),
    Split(SplitPrior),
}

impl Glow {
    /// A model of `config`, its variables in `vs`.
    ///
    /// # Errors
    /// [`Error::Config`] of `config` or of a layer.
    pub fn new(vs: &nn::Path, config: &GlowConfig) -> Result<Self> {
        config.check()?;
        let mut builder = Builder {
            chw: config.image,
            latents: Vec::new(),
            stages: Vec::new(),
        };
        builder.layer("preprocess.dequantize", Dequantize)?;
        builder.layer("preprocess.scale", Scale)?;
        builder.layer("preprocess.logit", LogitMap::new(config.alpha)?)?;
        for level in 0..config.levels {
            let name = format!("levels.{level}");
            let vs = vs / "levels" / level as i64;
            builder.layer(format!("{name}.squeeze"), Squeeze::new(2)?)?;
            for step in 0..config.steps {
                let vs = &vs / "steps" / step as i64;
                let last = level + 1 == config.levels && step + 1 == config.steps;
                builder.step(&vs, &format!("{name}.steps.{step}"), config, last)?;
            }
            if let (Some(width), true) = (config.split_prior, level + 1 < config.levels) {
                let net = config.coupling.with_width(width);
                let split = SplitPrior::new(&(&vs / "split"), builder.chw[0], &net)?;
                builder.split(format!("{name}.split"), split);
            }
        }
        builder.latents.push(builder.chw);
        Ok(Self {
            image: config.image,
            latents: builder.latents,
            kind: vs.kind(),
            device: vs.device(),
            stages: builder.stages,
        })
    }

    /// Runs `x` through all stages, shows `see` each one's value and log-det, and stops when it says so.
    ///
    /// The two tensors are what goes on to the next stage and the log-det of this stage alone; a split's latent is
    /// part of what it made and is shown too.
    fn run(
        &self,
        x: &Tensor,
        cx: Cx<'_>,
        mut see: impl FnMut(&str, &[&Tensor], Tensor) -> Result<bool>,
    ) -> Result<Vec<Tensor>> {
        self.check_image(x)?;
        let mut latents = Vec::with_capacity(self.latents.len());
        let mut value = x.shallow_clone();
        for (name, stage) in &self.stages {
            let go_on = match stage {
                Stage::Layer(layer) => {
                    let mapped = layer.forward(&value, cx)?;
                    value = mapped.value;
                    see(name, &[&value], mapped.log_det)?
                }
                Stage::Split(split) => {
                    let split = split.split(&value)?;
                    value = split.kept;
                    let go_on = see(name, &[&value, &split.latent], split.log_det)?;
                    latents.push(split.latent);
                    go_on
                }
            };
            if !go_on {
                break;
            }
        }
        latents.push(value);
        Ok(latents)
    }

    fn check_image(&self, x: &Tensor) -> Result<()> {
        self.check_tensor("encode", "x", x, self.image)
    }

    fn check_latents(&self, latents: &[Tensor]) -> Result<()> {
        if latents.len() != self.latents.len() {
            return Err(Error::argument(
                "decode",
                "latents",
                format!(
                    "must be {} tensors, got {}",
                    self.latents.len(),
                    latents.len()
                ),
            ));
        }
        for (latent, &chw) in latents.iter().zip(&self.latents) {
            self.check_tensor("decode", "latents", latent, chw)?;
            if latent.size()[0] != latents[0].size()[0] {
                return Err(Error::argument(
                    "decode",
                    "latents",
                    format!(
                        "must all have the same batch size, got {:?} and {:?}",
                        latents[0].size(),
                        latent.size()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn check_tensor(
        &self,
        op: &'static str,
        arg: &'static str,
        tensor: &Tensor,
        chw: [i64; 3],
    ) -> Result<()> {
        let size = tensor.size();
        if size.len() != 4 || size[1..] != chw {
            return Err(Error::argument(
                op,
                arg,
                format!("must be [N, C, H, W] with [C, H, W] = {chw:?}, got {size:?}"),
            ));
        }
        if (tensor.kind(), tensor.device()) != (self.kind, self.device) {
            return Err(Error::argument(
                op,
                arg,
                format!(
                    "must be {:?} on {:?} like the model, got {:?} on {:?}",
                    self.kind,
                    self.device,
                    tensor.kind(),
                    tensor.device()
                ),
            ));
        }
        Ok(())
    }
}

/// A model in the making: the shape after the stages so far.
struct Builder {
    chw: [i64; 3],
    latents: Vec<[i64; 3]>,
    stages: Vec<(String, Stage)>,
}

impl Builder {
    fn layer(&mut self, name: impl Into<String>, layer: impl Transform + 'static) -> Result<()> {
        self.boxed(name.into(), Box::new(layer))
    }

    fn boxed(&mut self, name: String, layer: Box<dyn Transform>) -> Result<()> {
        self.chw = layer.out_shape(self.chw)?;
        self.stages.push((name, Stage::Layer(layer)));
        Ok(())
    }

    fn split(&mut self, name: String, split: SplitPrior) {
        self.chw[0] /= 2;
        self.latents.push(self.chw);
        self.stages.push((name, Stage::Split(split)));
    }

    fn step(&mut self, vs: &nn::Path, name: &str, config: &GlowConfig, last: bool) -> Result<()> {
        if config.actnorm {
            let actnorm = ActNorm::new(&(vs / "actnorm"), self.chw[0])?;
            self.layer(format!("{name}.actnorm"), actnorm)?;
        }
        self.mix(vs, name, config)?;
        if let (Some(spline), true) = (&config.spline, config.last_spline || !last) {
            let spline = Spline::new(&(vs / "spline"), self.chw, spline)?;
            self.layer(format!("{name}.spline"), spline)?;
        }
        if config.mix_twice {
            self.mix(&(vs / "again"), &format!("{name}.again"), config)?;
        }
        if config.reverse_channels {
            self.layer(format!("{name}.reverse_channels"), ReverseChannels)?;
        }
        let net = |vs: &nn::Path, inputs, outputs| {
            CouplingNet::new(vs, inputs, outputs, &config.coupling)
        };
        let (vs, name) = (vs / "coupling", format!("{name}.coupling"));
        match config.coupling_form {
            CouplingForm::Affine => self.layer(name, Coupling::new(&vs, self.chw[0], net)?),
            CouplingForm::Quad => self.layer(name, QuadCoupling::new(&vs, self.chw[0], net)?),
        }
    }

    fn mix(&mut self, vs: &nn::Path, name: &str, config: &GlowConfig) -> Result<()> {
        for (part, layer) in config.mixing.layers(vs, self.chw)?.into_children() {
            self.boxed(format!("{name}.{part}"), layer)?;
        }
        Ok(())
    }
}

impl Flow for Glow {
    fn image_shape(&self) -> [i64; 3] {
        self.image
    }

    fn latent_shapes(&self) -> Vec<[i64; 3]> {
        self.latents.clone()
    }

    fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        self.check_image(x)?;
        tch::no_grad(|| {
            let mut value = x.shallow_clone();
            for (_, stage) in &mut self.stages {
                value = match stage {
                    Stage::Layer(layer) => {
                        layer.initialize(&value, cx)?;
                        layer.forward(&value, cx)?.value
                    }
                    Stage::Split(split) => split.split(&value)?.kept,
                };
            }
            Ok(())
        })
    }

    fn encode(&self, x: &Tensor, cx: Cx<'_>) -> Result<Encoded> {
        let mut total: Option<Tensor> = None;
        let latents = self.run(x, cx, |_, _, log_det| {
            total = Some(match total.take() {
                None => log_det,
                Some(total) => total.f_add(&log_det)?,
            });
            Ok(true)
        })?;
        Ok(Encoded {
            latents: Latents(latents),
            log_det: total.expect("a model has layers"),
        })
    }

    fn decode(&self, latents: &Latents) -> Result<Mapped> {
        let Latents(latents) = latents;
        self.check_latents(latents)?;
        let mut waiting = latents.iter().rev();
        let top = waiting.next().expect("a model has a top latent");
        let mut value = top.shallow_clone();
        let mut total = crate::flows::zero_log_det(top);
        for (_, stage) in self.stages.iter().rev() {
            let mapped = match stage {
                Stage::Layer(layer) => layer.inverse(&value, Cx::default())?,
                Stage::Split(split) => {
                    let latent = waiting.next().expect("one latent for each split");
                    split.merge(&value, latent)?
                }
            };
            value = mapped.value;
            total = total.f_add(&mapped.log_det)?;
        }
        Ok(Mapped {
            value,
            log_det: total,
        })
    }

    fn log_prob(&self, x: &Tensor, cx: Cx<'_>) -> Result<Tensor> {
        let Encoded { latents, log_det } = self.encode(x, cx)?;
        latents.0.iter().try_fold(log_det, |sum, latent| {
            Ok(sum.f_add(&standard_normal_log_prob(latent)?)?)
        })
    }

    fn layers(&self) -> Vec<(String, &'static str)> {
        self.stages
            .iter()
            .map(|(name, stage)| {
                let kind = match stage {
                    Stage::Layer(layer) => layer.name(),
                    Stage::Split(_) => "split_prior",
                };
                (name.clone(), kind)
            })
            .collect()
    }

    fn stages(&self) -> Vec<StageCall<'_>> {
        let kinds = self.layers().into_iter().map(|(_, kind)| kind);
        let stages = self.stages.iter().zip(kinds);
        stages
            .map(|((_, stage), kind)| StageCall {
                kind,
                run: Box::new(move |x, cx| match stage {
                    Stage::Layer(layer) => {
                        let Mapped { value, log_det } = layer.forward(x, cx)?;
                        let made = vec![log_det];
                        Ok(Staged { kept: value, made })
                    }
                    Stage::Split(split) => {
                        let split = split.split(x)?;
                        let made = vec![split.latent, split.log_det];
                        Ok(Staged {
                            kept: split.kept,
                            made,
                        })
                    }
                }),
            })
            .collect()
    }

    fn first_non_finite(&self, x: &Tensor, cx: Cx<'_>) -> Result<Option<String>> {
        let mut culprit = None;
        tch::no_grad(|| {
            self.run(x, cx, |name, values, log_det| {
                for tensor in values.iter().copied().chain([&log_det]) {
                    if !all_finite(tensor)? {
                        culprit = Some(name.to_owned());
                        return Ok(false);
                    }
                }
                Ok(true)
            })
        })?;
        Ok(culprit)
    }
}

fn all_finite(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.f_isfinite()?.f_all()?.f_double_value(&[])? != 0.0)
}
