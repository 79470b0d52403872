//! What every multi-scale flow does once it is built: run its stages forth and back, and collect the latents.

use super::{Encoded, Flow, Latents, StageCall, Staged};
use crate::distributions::{standard_normal_log_prob, SplitPrior};
use crate::flows::{zero_log_det, Cx, Mapped, Sequential, Transform};
use crate::torchscript::{model, split_statements, Script, Stages};
use crate::{Error, Result};
use tch::{nn, Device, Kind, Tensor};

/// A flow over images made of stages: layers, and splits that send the last channels out as a latent.
///
/// All latents are under `N(0, I)`: where a family models a latent in another way, a [`SplitPrior`], or a layer before
/// the split or at the end, turns it into a standard normal one.
#[derive(Debug)]
pub struct MultiScale {
    image: [i64; 3],
    latents: Vec<[i64; 3]>,
    kind: Kind,
    device: Device,
    /// From data to latent, with their full names.
    stages: Vec<(String, Stage)>,
}

#[derive(Debug)]
enum Stage {
    Layer(Box<dyn Transform>),
    /// The first `kept` channels go on, the others are a latent.
    Split {
        kept: i64,
    },
    /// A split of the channels in half, behind a coupling of the half that leaves.
    SplitPrior(SplitPrior),
}

/// What a stage makes of an image.
#[derive(Debug)]
struct Passed {
    /// Goes on to the next stage.
    value: Tensor,
    /// `[N]`; a plain split has none.
    log_det: Option<Tensor>,
    /// What leaves here.
    latent: Option<Tensor>,
}

impl Stage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Layer(layer) => layer.name(),
            Self::Split { .. } => "split",
            Self::SplitPrior(_) => "split_prior",
        }
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Passed> {
        Ok(match self {
            Self::Layer(layer) => {
                let Mapped { value, log_det } = layer.forward(x, cx)?;
                Passed {
                    value,
                    log_det: Some(log_det),
                    latent: None,
                }
            }
            Self::Split { kept } => {
                let leaving = x.size()[1] - kept;
                Passed {
                    value: x.f_narrow(1, 0, *kept)?,
                    log_det: None,
                    latent: Some(x.f_narrow(1, *kept, leaving)?),
                }
            }
            Self::SplitPrior(prior) => {
                let split = prior.split(x)?;
                Passed {
                    value: split.kept,
                    log_det: Some(split.log_det),
                    latent: Some(split.latent),
                }
            }
        })
    }

    /// The inverse, which takes the latent that left here from `waiting`, and its log-det.
    fn inverse<'a>(
        &self,
        value: &Tensor,
        mut waiting: impl Iterator<Item = &'a Tensor>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let mut latent = || waiting.next().expect("one latent for each split");
        let Mapped { value, log_det } = match self {
            Self::Layer(layer) => layer.inverse(value, Cx::default())?,
            Self::Split { .. } => return Ok((Tensor::f_cat(&[value, latent()], 1)?, None)),
            Self::SplitPrior(prior) => prior.merge(value, latent())?,
        };
        Ok((value, Some(log_det)))
    }
}

/// A [`MultiScale`] in the making.
#[derive(Debug)]
pub(super) struct Builder {
    flow: MultiScale,
    /// The shape after the stages so far.
    chw: [i64; 3],
}

impl Builder {
    /// No stages yet, for images of shape `image` and variables in `vs`.
    pub(super) fn new(vs: &nn::Path, image: [i64; 3]) -> Result<Self> {
        if image.iter().any(|&size| size < 1) {
            return Err(Error::config(format!(
                "`image` must be [channels, height, width], each 1 or more, got {image:?}"
            )));
        }
        let flow = MultiScale {
            image,
            latents: Vec::new(),
            kind: vs.kind(),
            device: vs.device(),
            stages: Vec::new(),
        };
        Ok(Self { flow, chw: image })
    }

    /// `[C, H, W]` after the stages so far.
    pub(super) fn chw(&self) -> [i64; 3] {
        self.chw
    }

    /// Appends a layer.
    pub(super) fn layer(
        &mut self,
        name: impl Into<String>,
        layer: impl Transform + 'static,
    ) -> Result<()> {
        self.boxed(name.into(), Box::new(layer))
    }

    /// Appends the layers of a sequence, their names behind `prefix`.
    pub(super) fn layers(&mut self, prefix: &str, layers: Sequential) -> Result<()> {
        layers
            .into_children()
            .into_iter()
            .try_for_each(|(name, layer)| self.boxed(format!("{prefix}.{name}"), layer))
    }

    fn boxed(&mut self, name: String, layer: Box<dyn Transform>) -> Result<()> {
        self.chw = layer.out_shape(self.chw)?;
        self.flow.stages.push((name, Stage::Layer(layer)));
        Ok(())
    }

    /// Sends the second half of the channels out under the density of `prior`.
    pub(super) fn split_prior(&mut self, name: impl Into<String>, prior: SplitPrior) {
        self.chw[0] /= 2;
        self.flow.latents.push(self.chw);
        self.flow
            .stages
            .push((name.into(), Stage::SplitPrior(prior)));
    }

    /// Sends all but the first `kept` channels out.
    pub(super) fn split(&mut self, name: impl Into<String>, kept: i64) -> Result<()> {
        let [c, h, w] = self.chw;
        if !(1..c).contains(&kept) {
            return Err(Error::config(format!(
                "a split of {c} channels cannot keep {kept}: both parts need at least one"
            )));
        }
        self.flow.latents.push([c - kept, h, w]);
        self.chw = [kept, h, w];
        self.flow.stages.push((name.into(), Stage::Split { kept }));
        Ok(())
    }

    /// The flow; what the last stage makes is its top latent.
    pub(super) fn finish(mut self) -> MultiScale {
        self.flow.latents.push(self.chw);
        self.flow
    }
}

impl MultiScale {
    /// Runs `x` through all stages, shows `see` the name of each and what it made, and stops when it says so.
    fn run(
        &self,
        x: &Tensor,
        cx: Cx<'_>,
        mut see: impl FnMut(&str, &Passed) -> Result<bool>,
    ) -> Result<Vec<Tensor>> {
        self.check_tensor("encode", "x", x, self.image)?;
        let mut latents = Vec::with_capacity(self.latents.len());
        let mut value = x.shallow_clone();
        for (name, stage) in &self.stages {
            let passed = stage.forward(&value, cx)?;
            let go_on = see(name, &passed)?;
            latents.extend(passed.latent);
            value = passed.value;
            if !go_on {
                break;
            }
        }
        latents.push(value);
        Ok(latents)
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

fn add(total: Option<Tensor>, log_det: &Tensor) -> Result<Tensor> {
    Ok(match total {
        None => log_det.shallow_clone(),
        Some(total) => total.f_add(log_det)?,
    })
}

impl Flow for MultiScale {
    fn image_shape(&self) -> [i64; 3] {
        self.image
    }

    fn latent_shapes(&self) -> Vec<[i64; 3]> {
        self.latents.clone()
    }

    fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        self.check_tensor("initialize", "x", x, self.image)?;
        tch::no_grad(|| {
            let mut value = x.shallow_clone();
            for (_, stage) in &mut self.stages {
                if let Stage::Layer(layer) = stage {
                    layer.initialize(&value, cx)?;
                }
                value = stage.forward(&value, cx)?.value;
            }
            Ok(())
        })
    }

    fn encode(&self, x: &Tensor, cx: Cx<'_>) -> Result<Encoded> {
        let mut total = None;
        let latents = self.run(x, cx, |_, passed| {
            if let Some(log_det) = &passed.log_det {
                total = Some(add(total.take(), log_det)?);
            }
            Ok(true)
        })?;
        Ok(Encoded {
            latents: Latents(latents),
            log_det: total.unwrap_or_else(|| zero_log_det(x)),
        })
    }

    fn decode(&self, latents: &Latents) -> Result<Mapped> {
        let Latents(latents) = latents;
        self.check_latents(latents)?;
        let mut waiting = latents.iter().rev();
        let top = waiting.next().expect("a model has a top latent");
        let mut value = top.shallow_clone();
        let mut total = None;
        for (_, stage) in self.stages.iter().rev() {
            let log_det;
            (value, log_det) = stage.inverse(&value, &mut waiting)?;
            if let Some(log_det) = log_det {
                total = Some(add(total, &log_det)?);
            }
        }
        Ok(Mapped {
            value,
            log_det: total.unwrap_or_else(|| zero_log_det(top)),
        })
    }

    fn log_prob(&self, x: &Tensor, cx: Cx<'_>) -> Result<Tensor> {
        let Encoded { latents, log_det } = self.encode(x, cx)?;
        latents.0.iter().try_fold(log_det, |sum, latent| {
            Ok(sum.f_add(&standard_normal_log_prob(latent)?)?)
        })
    }

    fn torchscript(&self) -> Result<Script> {
        let mut stages = Stages::default();
        let mut latent = 0;
        for (name, stage) in &self.stages {
            let (kept, script) = match stage {
                Stage::Layer(layer) => {
                    stages.push(name, layer.torchscript())?;
                    continue;
                }
                Stage::Split { kept } => (*kept, None),
                // halves are alike
                Stage::SplitPrior(prior) => (self.latents[latent][0], Some(prior.torchscript())),
            };
            stages.push_with(name, script, split_statements(kept, latent))?;
            latent += 1;
        }
        model(self.image, &self.latents, stages)
    }

    fn layers(&self) -> Vec<(String, &'static str)> {
        let stages = self.stages.iter();
        stages
            .map(|(name, stage)| (name.clone(), stage.kind()))
            .collect()
    }

    fn stages(&self) -> Vec<StageCall<'_>> {
        let stages = self.stages.iter();
        stages
            .map(|(_, stage)| StageCall {
                kind: stage.kind(),
                run: Box::new(move |x, cx| {
                    let passed = stage.forward(x, cx)?;
                    Ok(Staged {
                        kept: passed.value,
                        latents: passed.latent.into_iter().collect(),
                        log_det: passed.log_det,
                    })
                }),
                invert: Box::new(|kept, latents| Ok(stage.inverse(kept, latents.iter())?.0)),
            })
            .collect()
    }

    fn first_non_finite(&self, x: &Tensor, cx: Cx<'_>) -> Result<Option<String>> {
        let mut culprit = None;
        tch::no_grad(|| {
            self.run(x, cx, |name, passed| {
                let others = [&passed.latent, &passed.log_det];
                for tensor in [&passed.value]
                    .into_iter()
                    .chain(others.into_iter().flatten())
                {
                    if tensor.f_isfinite()?.f_all()?.f_double_value(&[])? == 0.0 {
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
