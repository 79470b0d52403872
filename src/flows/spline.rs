//! Element-wise monotone rational-quadratic spline.

use super::check::Placement;
use super::{Cx, Mapped, Transform};
use crate::ops::spline::{spline, RawSpline, MIN};
use crate::ops::Direction;
use crate::torchscript::Script;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{nn, nn::Init, Tensor};

/// Deviation of the initial raw parameters.
const INIT_STD: f64 = 0.01;

/// Element-wise rational-quadratic spline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplineConfig {
    /// Number of bins.
    pub bins: i64,
    /// Identity outside `[-tail, tail]`.
    pub tail: f64,
    /// One set of `3 bins - 1` numbers for the whole tensor, else one per element.
    pub shared: bool,
}

/// Monotone rational-quadratic spline with identity tails, applied to every element: [`spline`] with parameters.
///
/// Variables: `widths` and `heights` `[P, bins]`, softmax gives the bins; `derivatives` `[P, bins - 1]` at the inner
/// knots, softplus; P is 1 if shared, else `C H W`. They start at `N(0, 0.01^2)`, near the identity.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`.
///
/// Source: Durkan, Bekasov, Murray, Papamakarios, *Neural spline flows*, 2019, <https://arxiv.org/abs/1906.04032>.
#[derive(Debug)]
pub struct Spline {
    chw: [i64; 3],
    tail: f64,
    shared: bool,
    widths: Tensor,
    heights: Tensor,
    derivatives: Tensor,
    placement: Placement,
}

impl Spline {
    /// A spline for elements of shape `chw = [C, H, W]`.
    ///
    /// # Errors
    /// [`Error::Config`] for fewer than 1 or more than 500 bins, or a tail that is not a positive number.
    pub fn new(vs: &nn::Path, chw: [i64; 3], config: &SplineConfig) -> Result<Self> {
        let &SplineConfig { bins, tail, shared } = config;
        if !(1..=500).contains(&bins) {
            return Err(Error::config(format!(
                "a spline needs 1 to 500 bins (each takes at least {MIN} of its range), got {bins}"
            )));
        }
        if !(tail > 0.0 && tail.is_finite()) {
            return Err(Error::config(format!(
                "the spline's `tail` must be a positive number, got {tail}"
            )));
        }
        let sets = if shared { 1 } else { chw.iter().product() };
        let init = Init::Randn {
            mean: 0.0,
            stdev: INIT_STD,
        };
        Ok(Self {
            chw,
            tail,
            shared,
            widths: vs.f_var("widths", &[sets, bins], init)?,
            heights: vs.f_var("heights", &[sets, bins], init)?,
            derivatives: vs.f_var("derivatives", &[sets, bins - 1], init)?,
            placement: Placement::in_path(vs),
        })
    }

    fn map(&self, x: &Tensor, direction: Direction) -> Result<Mapped> {
        let [_, c, h, w] = self.placement.check("spline", x)?;
        if !self.shared && [c, h, w] != self.chw {
            return Err(Error::argument(
                "spline",
                "x",
                format!(
                    "must be [N, C, H, W] with [C, H, W] = {:?}, one set of parameters each, got {:?}",
                    self.chw,
                    x.size()
                ),
            ));
        }
        let raw = RawSpline {
            widths: &self.widths,
            heights: &self.heights,
            derivatives: &self.derivatives,
            tail: self.tail,
        };
        let (value, log_det) = spline(x, &raw, direction)?;
        Ok(Mapped { value, log_det })
    }
}

impl Transform for Spline {
    fn name(&self) -> &'static str {
        "spline"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.map(x, Direction::Forward)
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.map(z, Direction::Inverse)
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        if self.shared || chw == self.chw {
            return Ok(chw);
        }
        Err(Error::config(format!(
            "spline was built with one set of parameters per element of {:?} and cannot take {chw:?}",
            self.chw
        )))
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new("Spline", include_str!("spline.torchscript.py"))
            .with("tail", self.tail)
            .with("least", MIN))
    }
}
