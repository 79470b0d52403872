//! A model in the making.

use super::model::MultiScale;
use super::stage::{Part, Stage};
use crate::distributions::{LearnedPrior, SplitPrior};
use crate::flows::{Bits, Sequential, Transform};
use crate::models::Classes;
use crate::nn::Precision;
use crate::torchscript::check_name;
use crate::words::counted;
use crate::{Error, Result};
use tch::nn;

/// Many times the layers of the deepest published model; millions would take minutes before memory ends.
const MOST_LAYERS: usize = 5_000;

/// Puts a [`MultiScale`] together, stage by stage from data to latent.
///
/// What cannot be a model is refused where it is said, and changes nothing.
///
/// ```
/// use inverse_flow::flows::{Coupling, Cx, Dequantize, LogitMap, Scale, Squeeze};
/// use inverse_flow::models::MultiScale;
/// use inverse_flow::nn::{CouplingConfig, CouplingNet, Net};
/// use tch::{nn, Device, Kind, Tensor};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let root = vs.root();
/// let config = CouplingConfig { net: Net::Z, width: 16, zero_init_last: false };
/// let net = |vs: &nn::Path, inputs, outputs| CouplingNet::new(vs, inputs, outputs, &config);
/// let mut model = MultiScale::builder(&root, [1, 8, 8])?;
/// model.layer("dequantize", Dequantize::default())?;
/// model.layer("scale", Scale)?;
/// model.layer("logit", LogitMap::new(1e-6)?)?;
/// for level in 0..2 {
///     let vs = &root / "levels" / level;
///     model.layer(format!("levels.{level}.squeeze"), Squeeze::new(2)?)?;
///     let [channels, ..] = model.chw();
///     model.layer(format!("levels.{level}.coupling"), Coupling::new(&vs, channels, net)?)?;
///     if level == 0 {
///         model.split("levels.0.split", channels / 2)?; // half of them leave as a latent
///     }
/// }
/// let model = model.finish()?;
///
/// assert_eq!(model.latent_shapes(), [[2, 4, 4], [8, 2, 2]]);
/// let images = Tensor::randint(256, [3, 1, 8, 8], (Kind::Float, Device::Cpu));
/// assert_eq!(model.log_prob(&images, Cx::default())?.size(), [3]);
/// assert_eq!(model.sample(5, 0.7, Cx::default())?.size(), [5, 1, 8, 8]);
/// # Ok::<(), inverse_flow::Error>(())
/// ```
#[derive(Debug)]
pub struct MultiScaleBuilder {
    flow: MultiScale,
    /// The shape after the stages so far.
    chw: [i64; 3],
}

impl MultiScale {
    /// A model in the making, for images of shape `image`, `[C, H, W]`, with the kind and on the device of `vs`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for an image without pixels.
    pub fn builder(vs: &nn::Path, image: [i64; 3]) -> Result<MultiScaleBuilder> {
        MultiScaleBuilder::new(vs, image)
    }
}

impl MultiScaleBuilder {
    /// No stages yet, for images of shape `image` and variables in `vs`.
    fn new(vs: &nn::Path, image: [i64; 3]) -> Result<Self> {
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
            precision: Precision::Float32,
            bits: Bits::ALL,
            classes: None,
            stages: Vec::new(),
        };
        Ok(Self { flow, chw: image })
    }

    /// `[C, H, W]` after the stages so far.
    pub fn chw(&self) -> [i64; 3] {
        self.chw
    }

    /// Appends a layer. The name is the one in reports and files: the path of its variables, dotted.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is there already or cannot be one, for more than 5,000 layers, and for a layer that cannot take the shape
    /// so far.
    pub fn layer(
        &mut self,
        name: impl Into<String>,
        layer: impl Transform + 'static,
    ) -> Result<()> {
        self.boxed(name.into(), Box::new(layer))
    }

    /// Appends the layers of a sequence, their names behind `prefix`.
    ///
    /// # Errors
    /// As [`layer`](Self::layer); the layers before the one that is refused stay.
    pub fn layers(&mut self, prefix: &str, layers: Sequential) -> Result<()> {
        layers
            .into_children()
            .into_iter()
            .try_for_each(|(name, layer)| self.boxed(format!("{prefix}.{name}"), layer))
    }

    fn boxed(&mut self, name: String, layer: Box<dyn Transform>) -> Result<()> {
        let chw = layer.out_shape(self.chw)?;
        self.push(name, Part::Layer(layer))?;
        self.chw = chw;
        Ok(())
    }

    /// Sends the second half of the channels out under the density of `prior`.
    ///
    /// # Errors
    /// [`Error::Config`] for a name as in [`layer`](Self::layer), or a prior of other channels.
    pub fn split_prior(&mut self, name: impl Into<String>, prior: SplitPrior) -> Result<()> {
        let [c, h, w] = self.chw;
        let kept = prior.kept();
        if c != 2 * kept {
            return Err(Error::config(format!(
                "a split prior of {} cannot take an image of shape {:?}",
                counted(2 * kept, "channel"),
                self.chw
            )));
        }
        self.push(name.into(), Part::SplitPrior(prior))?;
        self.leave([kept, h, w], [kept, h, w]);
        Ok(())
    }

    /// Sends all but the first `kept` channels out.
    ///
    /// # Errors
    /// [`Error::Config`] for a name as in [`layer`](Self::layer), or a part without a channel.
    pub fn split(&mut self, name: impl Into<String>, kept: i64) -> Result<()> {
        let [c, h, w] = self.chw;
        if !(1..c).contains(&kept) {
            return Err(Error::config(format!(
                "a split of {} cannot keep {kept}: both parts need at least one",
                counted(c, "channel")
            )));
        }
        self.push(name.into(), Part::Split { kept, channels: c })?;
        self.leave([kept, h, w], [c - kept, h, w]);
        Ok(())
    }

    fn push(&mut self, name: String, part: Part) -> Result<()> {
        if self.flow.stages.len() >= MOST_LAYERS {
            return Err(Error::config(format!(
                "the model has more than {}: use fewer `steps`",
                counted(MOST_LAYERS, "layer")
            )));
        }
        check_name(&name, self.flow.stages.iter().map(Stage::name))?;
        self.flow.stages.push(Stage { name, part });
        Ok(())
    }

    fn leave(&mut self, kept: [i64; 3], latent: [i64; 3]) {
        self.chw = kept;
        self.flow.latents.push(latent);
    }

    /// The model, for images of these classes if there are some: then with a prior of each class for the top latent, its
    /// variables under `prior` in `vs`.
    ///
    /// # Errors
    /// [`Error::Config`] for classes that no model can have; as [`finish`](Self::finish).
    pub fn end(mut self, vs: &nn::Path, classes: Option<&Classes>) -> Result<MultiScale> {
        if let Some(classes) = classes {
            classes.check()?;
            let prior = LearnedPrior::of_classes(&(vs / "prior"), self.chw, classes.count())?;
            self.layer("prior", prior)?;
            self.flow.classes = Some(classes.clone());
        }
        self.finish()
    }

    /// The model; what the last stage makes is its top latent.
    ///
    /// # Errors
    /// [`Error::Config`] without a single stage.
    pub fn finish(mut self) -> Result<MultiScale> {
        if self.flow.stages.is_empty() {
            return Err(Error::config(
                "a model needs at least one stage: append layers before `finish`",
            ));
        }
        self.flow.latents.push(self.chw);
        Ok(self.flow)
    }
}
