//! What a Glow-like model is made of.

use super::overrides::replace;
use super::{Classes, Mixing, Overrides};
use crate::flows::SplineConfig;
use crate::nn::CouplingConfig;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Steps of a level, many times those of the deepest published model.
const MOST_STEPS: usize = 1_000;

/// A Glow-like model: levels of squeeze, steps of flow, split.
///
/// ```text
/// step:  [actnorm]  mixing  [spline]  [mixing again]  [reverse channels]  coupling
/// ```
///
/// The mixing layers are what the flow families differ in: see [`Mixing`].
///
/// Source: Kingma, Dhariwal, *Glow*, 2018, <https://arxiv.org/abs/1807.03039>.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlowConfig {
    /// Image shape `[C, H, W]`.
    pub image: [i64; 3],
    /// Number of levels `L`.
    pub levels: usize,
    /// Flow steps per level `K`.
    pub steps: usize,
    /// ActNorm at the start of every step; a family whose layers begin with one has that instead, in any case.
    pub actnorm: bool,
    /// The flow family: what mixes pixels and channels in every step.
    pub mixing: Mixing,
    /// Spline activation after the mixing of every step.
    pub spline: Option<SplineConfig>,
    /// Whether the very last step has its spline too; published models often leave it out.
    pub last_spline: bool,
    /// The mixing layers a second time after the spline, with parameters of their own.
    pub mix_twice: bool,
    /// Fixed reversal of the channels before every coupling, so that every channel is transformed.
    pub reverse_channels: bool,
    /// What the coupling at the end of every step does with the channels.
    pub coupling_form: CouplingForm,
    /// The net of that coupling.
    pub coupling: CouplingConfig,
    /// Width of the coupling inside the split prior; `None` keeps all channels to the end.
    pub split_prior: Option<i64>,
    /// Margin `a` of the logit preprocessing.
    pub alpha: f64,
    /// The classes of the images, for a conditional model; `None` for one that knows of none.
    #[serde(default)]
    pub classes: Option<Classes>,
}

/// Which channels of a coupling condition which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CouplingForm {
    /// One half the other: [`Coupling`](crate::flows::Coupling).
    Affine,
    /// Of four blocks, each by all before it: CInC Flow's [`QuadCoupling`](crate::flows::QuadCoupling).
    Quad,
}

impl GlowConfig {
    /// Checks what no layer checks by itself: that there is an image and a step to speak of, and that the image can
    /// be squeezed at every level.
    ///
    /// # Errors
    /// [`Error::Config`] that names the field and what to change.
    pub fn check(&self) -> Result<()> {
        let [channels, height, width] = self.image;
        if channels < 1 || height < 1 || width < 1 {
            return Err(Error::config(format!(
                "`image` must be [channels, height, width], each 1 or more, got {:?}",
                self.image
            )));
        }
        for (field, value) in [("levels", self.levels), ("steps", self.steps)] {
            if value == 0 {
                return Err(Error::config(format!("`{field}` must be 1 or more, got 0")));
            }
        }
        if self.steps > MOST_STEPS {
            return Err(Error::config(format!(
                "`steps` must be at most {MOST_STEPS}, got {}",
                self.steps
            )));
        }
        let block = u32::try_from(self.levels)
            .ok()
            .and_then(|levels| 2i64.checked_pow(levels));
        let divides = |size: i64| block.is_some_and(|block| size % block == 0);
        if !(divides(height) && divides(width)) {
            let way_out = match block.filter(|block| *block <= 1 << 16) {
                Some(block) => {
                    let [height, width] =
                        [height, width].map(|size| (size + block - 1) / block * block);
                    format!("use fewer `levels`, or pad the images: --pad {height}x{width}")
                }
                None => "use fewer `levels`".to_owned(),
            };
            return Err(Error::config(format!(
                "an image of {height}x{width} cannot be squeezed {} times: both sides must be divisible by 2^{}; {way_out}",
                self.levels, self.levels
            )));
        }
        Ok(())
    }

    pub(super) fn change(&mut self, changes: &Overrides) -> Result<()> {
        if let Some(model) = changes.model.as_deref() {
            if model != self.mixing.name() {
                self.mixing = Mixing::of_family(model)?;
                self.reverse_channels = !self.mixing.permutes_channels();
            }
        }
        replace(&mut self.image, changes.image);
        replace(&mut self.levels, changes.levels);
        replace(&mut self.steps, changes.steps);
        if let Some(kernel) = changes.kernel {
            let family = self.mixing.name();
            *self.mixing.kernel_mut().ok_or_else(|| {
                Error::config(format!(
                    "{family} has no filters with one side to choose: leave `kernel` out"
                ))
            })? = kernel;
        }
        if let Some(width) = changes.width {
            self.coupling.width = width;
            self.split_prior = self.split_prior.map(|_| width);
        }
        Ok(())
    }
}
