//! Butterfly layer: a product of sparse matrices over all elements of an image.

use super::check::{same_image, Placement};
use super::{zero_log_det, Cx, Mapped, Transform};
use crate::ops::butterfly::{butterfly, reference::determinant};
use crate::torchscript::Script;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{nn, Tensor};

/// Smallest `|a d - b c|` of a pair that the inverse accepts.
pub const MIN_DETERMINANT: f64 = 1e-4;

/// How the factors of a [`Butterfly`] start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ButterflyInit {
    /// The identity, exactly.
    Identity,
    /// Every pair is rotated by a random angle.
    Rotation,
}

/// Product of butterfly factors.
///
/// The `D = C H W` elements of an image, channel slowest, are one vector. A factor of level `i` cuts it into `2^i` blocks
/// and mixes each element of a block's first half with the one at the same place of its second half:
///
/// ```text
/// y0 = a x0 + b x1       x0 = ( d y0 - b y1) / (a d - b c)
/// y1 = c x0 + d x1       x1 = (-c y0 + a y1) / (a d - b c)       log-det = sum log|a d - b c|
/// ```
///
/// with its own `a, b, c, d` for every pair: `2D` numbers a factor. At level 0 the pairs are channels `C/2` apart. Both
/// directions are element-wise. Nothing keeps a determinant away from 0, so the inverse refuses to run once one is
/// smaller than [`MIN_DETERMINANT`]; see [`min_determinant`](Butterfly::min_determinant).
///
/// Variables: `factors.0`, `factors.1`, ... in the order in which they are applied, `[2^i, 2, 2, D / 2^(i+1)]` with
/// indices (block, input half, output half, pair).
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`; the size is fixed by the parameters.
///
/// Source: Meng, Zhou, Choi, Dao, Ermon, *ButterflyFlow: building invertible layers with butterfly matrices*, 2022,
/// <https://arxiv.org/abs/2209.13774>.
#[derive(Debug)]
pub struct Butterfly {
    chw: [i64; 3],
    factors: Vec<Tensor>,
    placement: Placement,
}

impl Butterfly {
    /// Factors of the given `levels`, the first to be applied first, for images of shape `chw`.
    ///
    /// # Errors
    /// [`Error::Config`] if a level does not divide the image.
    pub fn new(vs: &nn::Path, chw: [i64; 3], levels: &[u32], init: ButterflyInit) -> Result<Self> {
        let dims: i64 = chw.iter().product();
        let mut factors = Vec::with_capacity(levels.len());
        for (index, &level) in (0..).zip(levels) {
            let pairs = 2i64
                .checked_pow(level.saturating_add(1))
                .filter(|&parts| dims > 0 && dims % parts == 0)
                .map(|parts| dims / parts)
                .ok_or_else(|| {
                    Error::config(format!(
                        "a butterfly factor of level {level} needs a number of elements divisible by 2^{}, got {chw:?}: \
                         use fewer factors, or squeeze first",
                        u64::from(level) + 1
                    ))
                })?;
            let start = init.factor(1 << level, pairs, vs)?;
            factors.push((vs / "factors").f_var_copy(&index.to_string(), &start)?);
        }
        Ok(Self {
            chw,
            factors,
            placement: Placement::in_path(vs),
        })
    }

    /// Smallest `|a d - b c|` over all pairs of all factors; infinite without factors.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn min_determinant(&self) -> Result<f64> {
        if self.factors.is_empty() {
            return Ok(f64::INFINITY);
        }
        tch::no_grad(|| {
            let smallest = self
                .factors
                .iter()
                .map(|factor| Ok(determinant(factor)?.f_abs()?.f_min()?))
                .collect::<Result<Vec<_>>>()?;
            // torch's minimum, unlike Rust's, is NaN if there is one
            Ok(Tensor::f_stack(&smallest, 0)?
                .f_min()?
                .f_double_value(&[])?)
        })
    }
}

impl ButterflyInit {
    /// A factor of `blocks` blocks with `pairs` pairs each.
    fn factor(self, blocks: i64, pairs: i64, vs: &nn::Path) -> Result<Tensor> {
        let angle = Tensor::f_zeros([blocks, pairs], (vs.kind(), vs.device()))?;
        let angle = match self {
            Self::Identity => angle,
            Self::Rotation => angle.f_uniform(0.0, 2.0 * std::f64::consts::PI)?,
        };
        let (sin, cos) = (angle.f_sin()?, angle.f_cos()?);
        // [input half][output half]: a, c from the first half, b, d from the second
        let columns = [&cos, &sin.f_neg()?, &sin, &cos];
        Ok(Tensor::f_stack(&columns, 1)?.f_view([blocks, 2, 2, pairs])?)
    }
}

/// The factor of the inverse map: every pair's 2x2 matrix inverted.
fn inverted(factor: &Tensor) -> Result<Tensor> {
    // the adjugate swaps a and d, and negates b and c
    let swapped = factor.f_flip([1, 2])?.f_transpose(1, 2)?;
    let (size, options) = ([1, 2, 2, 1], (factor.kind(), factor.device()));
    let signs = Tensor::f_from_slice(&[1f64, -1.0, -1.0, 1.0])?
        .f_view(size)?
        .f_to_device(options.1)?
        .f_to_kind(options.0)?;
    let determinant = determinant(factor)?.f_unsqueeze(1)?.f_unsqueeze(1)?;
    Ok(swapped.f_mul(&signs)?.f_div(&determinant)?)
}

/// Applies factors one after the other.
fn apply(x: &Tensor, factors: impl Iterator<Item = Result<Tensor>>) -> Result<Mapped> {
    let mut value = x.shallow_clone();
    let mut total: Option<Tensor> = None;
    for factor in factors {
        let log_det;
        (value, log_det) = butterfly(&value, &factor?)?;
        total = Some(match total {
            None => log_det,
            Some(total) => total.f_add(&log_det)?,
        });
    }
    Ok(Mapped {
        value,
        log_det: total.map_or_else(|| zero_log_det(x), Ok)?,
    })
}

impl Transform for Butterfly {
    fn name(&self) -> &'static str {
        "butterfly"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.placement.check_image("butterfly", self.chw, x)?;
        apply(
            x,
            self.factors.iter().map(|factor| Ok(factor.shallow_clone())),
        )
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.placement.check_image("butterfly", self.chw, z)?;
        let smallest = self.min_determinant()?;
        if smallest.is_nan() || smallest < MIN_DETERMINANT {
            return Err(Error::Singular {
                place: String::new(),
                problem: format!(
                    "butterfly is nearly singular and cannot be inverted: the smallest determinant of a pair is \
                     {smallest:e}, below {MIN_DETERMINANT:e}"
                ),
            });
        }
        apply(z, self.factors.iter().rev().map(inverted))
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_image("butterfly", self.chw, chw)
    }

    fn torchscript(&self) -> Result<Script> {
        let factors: Vec<String> = (0..self.factors.len())
            .map(|index| format!("getattr(self.factors, \"{index}\")"))
            .collect();
        // their number is part of the text, since TorchScript has no lists of parameters
        let in_order = format!(
            "\n\ndef in_order(self) -> List[Tensor]:\n    return [{}]\n",
            factors.join(", ")
        );
        Ok(Script::new(
            "Butterfly",
            include_str!("butterfly.torchscript.py").to_owned() + &in_order,
        )
        .with("min_determinant", MIN_DETERMINANT))
    }
}
