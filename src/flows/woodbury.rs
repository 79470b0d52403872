//! Woodbury transformation: the identity plus a low-rank matrix, on the channels and on the pixels.

use super::check::{same_image, Placement};
use super::conv1x1::for_each_sample;
use super::derived::Derived;
use super::{Cx, Mapped, Transform};
use crate::ops::log_det::{log_det, Matrix};
use crate::torchscript::{Script, Stages};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{nn, nn::Init, Kind, Tensor};

/// Deviation of the initial matrices.
const INIT_STD: f64 = 0.01;

/// Along which axes a [`Woodbury`] layer mixes, and the ranks there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum WoodburyRanks {
    /// The channels, then all pixels of a channel together.
    Plain {
        /// Rank on the channels.
        channels: i64,
        /// Rank on the pixels.
        pixels: i64,
    },
    /// Memory-efficient: the channels, then the rows, then the columns.
    MemoryEfficient {
        /// Rank on the channels.
        channels: i64,
        /// Rank along a row.
        width: i64,
        /// Rank along a column.
        height: i64,
    },
}

/// Woodbury transformation.
///
/// Along each axis in turn the image is multiplied by `I + U V`, with `U` `[P, d]` and `V` `[d, P]` for an axis of
/// length P. Determinant and inverse come from a `d x d` core:
///
/// ```text
/// det(I + U V) = det(I + V U),   (I + U V)^-1 = I - U (I + V U)^-1 V
/// ```
///
/// so the inverse is a map of the same form, and both directions are matrix products. A row or column vector x becomes
/// `x (I + U V)`, the channels of a pixel `(I + U V) x`. Log-det and inverse of the core are computed in float64; when
/// sampling they are kept until the parameters change.
///
/// Nothing keeps a core non-singular: watch [`conditions`](Woodbury::conditions).
///
/// Variables: `channels.u`, `channels.v`, and so on for `pixels` or for `width` and `height`, from `N(0, 0.01^2)`, near
/// the identity. A rank above the axis's length is legal, but wasteful.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`; the size is fixed by the parameters.
///
/// Source: Lu, Huang, *Woodbury transformations for deep generative flows*, 2020, <https://arxiv.org/abs/2002.12229>.
#[derive(Debug)]
pub struct Woodbury {
    chw: [i64; 3],
    updates: Vec<(Axis, LowRank)>,
    placement: Placement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    Channels,
    Pixels,
    Width,
    Height,
}

/// `I + U V` on one axis.
#[derive(Debug)]
struct LowRank {
    u: Tensor,
    v: Tensor,
    inverse: Derived<Inverse>,
}

/// `I + U' V` is the inverse of `I + U V`; `log_det` is that of `I + U V`, 0-d, in float64.
#[derive(Debug)]
struct Inverse {
    u: Tensor,
    log_det: Tensor,
}

impl Woodbury {
    /// A layer for images of shape `chw`.
    ///
    /// # Errors
    /// [`Error::Config`] for a rank below 1 or an empty image.
    pub fn new(vs: &nn::Path, chw: [i64; 3], ranks: WoodburyRanks) -> Result<Self> {
        let axes = match ranks {
            WoodburyRanks::Plain { channels, pixels } => {
                vec![(Axis::Channels, channels), (Axis::Pixels, pixels)]
            }
            WoodburyRanks::MemoryEfficient {
                channels,
                width,
                height,
            } => vec![
                (Axis::Channels, channels),
                (Axis::Width, width),
                (Axis::Height, height),
            ],
        };
        let updates = axes
            .into_iter()
            .map(|(axis, rank)| {
                let length = axis.length(chw);
                if rank < 1 || length < 1 {
                    return Err(Error::config(format!(
                        "a woodbury layer needs a rank of 1 or more on {}, and an image, got rank {rank} for {chw:?}",
                        axis.name()
                    )));
                }
                Ok((axis, LowRank::new(&(vs / axis.name()), length, rank)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            chw,
            updates,
            placement: Placement::in_path(vs),
        })
    }

    /// Condition number of the core on every axis. Near 1 at the start; above 1e4 the inverse loses most of float32's
    /// digits.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn conditions(&self) -> Result<Vec<(&'static str, f64)>> {
        self.updates
            .iter()
            .map(|(axis, update)| {
                let condition =
                    tch::no_grad(|| -> Result<Tensor> { Ok(update.core()?.f_linalg_cond(2.0)?) })?;
                Ok((axis.name(), condition.f_double_value(&[])?))
            })
            .collect()
    }
}

impl Axis {
    fn name(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Pixels => "pixels",
            Self::Width => "width",
            Self::Height => "height",
        }
    }

    fn length(self, [c, h, w]: [i64; 3]) -> i64 {
        match self {
            Self::Channels => c,
            Self::Pixels => h * w,
            Self::Width => w,
            Self::Height => h,
        }
    }

    /// How often `I + U V` stands on the diagonal of the Jacobian.
    fn copies(self, chw: [i64; 3]) -> f64 {
        (chw.iter().product::<i64>() / self.length(chw)) as f64
    }

    /// Multiplies by `I + u v` along this axis.
    fn apply(self, x: &Tensor, u: &Tensor, v: &Tensor) -> Result<Tensor> {
        let size = x.size();
        let [n, c, h, w] = [size[0], size[1], size[2], size[3]];
        let y = match self {
            Self::Channels => from_the_left(&x.f_reshape([n, c, h * w])?, u, v)?,
            Self::Pixels => from_the_right(&x.f_reshape([n * c, h * w])?, u, v)?,
            Self::Width => from_the_right(&x.f_reshape([n * c * h, w])?, u, v)?,
            Self::Height => on_columns(&x.f_reshape([n * c, h, w])?, u, v)?,
        };
        Ok(y.f_view(size.as_slice())?)
    }
}

// The products are spelled out. `matmul` takes one for all matrices or one for each depending on whether a factor requires
// a gradient, and the two round differently: a kept inverse would then differ from a recorded one in the last bits.

/// `(I + u v) x` for every matrix of `x` `[M, P, Q]`, with few long rows: one product for each.
fn from_the_left(x: &Tensor, u: &Tensor, v: &Tensor) -> Result<Tensor> {
    let for_each = |factor: &Tensor| {
        let size = factor.size();
        factor
            .f_unsqueeze(0)?
            .f_expand([x.size()[0], size[0], size[1]], false)
    };
    Ok(x.f_baddbmm(&for_each(u)?, &for_each(v)?.f_bmm(x)?, 1.0, 1.0)?)
}

/// `x (I + u v)` for `x` `[M, P]`.
fn from_the_right(x: &Tensor, u: &Tensor, v: &Tensor) -> Result<Tensor> {
    Ok(x.f_addmm(&x.f_mm(u)?, v)?)
}

/// `(x' (I + u v))'` for every matrix of `x` `[M, P, Q]`, with many small matrices: one product for all their columns.
fn on_columns(x: &Tensor, u: &Tensor, v: &Tensor) -> Result<Tensor> {
    let size = x.size();
    let [m, p, q] = [size[0], size[1], size[2]];
    let columns = x.f_transpose(1, 2)?.f_reshape([m * q, p])?;
    let moved = columns.f_mm(u)?.f_mm(v)?;
    Ok(x.f_add(&moved.f_view([m, q, p])?.f_transpose(1, 2)?)?)
}

impl LowRank {
    fn new(vs: &nn::Path, length: i64, rank: i64) -> Result<Self> {
        let init = Init::Randn {
            mean: 0.0,
            stdev: INIT_STD,
        };
        Ok(Self {
            u: vs.f_var("u", &[length, rank], init)?,
            v: vs.f_var("v", &[rank, length], init)?,
            inverse: Derived::default(),
        })
    }

    /// `I + V U`, float64.
    fn core(&self) -> Result<Tensor> {
        let (u, v) = (
            self.u.f_to_kind(Kind::Double)?,
            self.v.f_to_kind(Kind::Double)?,
        );
        let one = Tensor::f_eye(v.size()[0], (Kind::Double, v.device()))?;
        Ok(one.f_addmm(&v, &u)?)
    }

    fn inverse(&self) -> Result<Inverse> {
        let core = self.core()?;
        let u = self.u.f_to_kind(Kind::Double)?;
        let u = u.f_mm(&Tensor::f_linalg_inv(&core)?)?.f_neg()?;
        Ok(Inverse {
            u: u.f_to_kind(self.u.kind())?,
            log_det: core.f_slogdet()?.1,
        })
    }
}

impl Transform for Woodbury {
    fn name(&self) -> &'static str {
        "woodbury"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.placement.check_image("woodbury", self.chw, x)?;
        let mut value = x.shallow_clone();
        let mut cores = Vec::with_capacity(self.updates.len());
        for (axis, update) in &self.updates {
            value = axis.apply(&value, &update.u, &update.v)?;
            let core = Matrix::Update(&update.u, &update.v);
            cores.push((core, axis.copies(self.chw)));
        }
        Ok(Mapped {
            value,
            log_det: log_det(&cores, x.size()[0])?,
        })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.placement.check_image("woodbury", self.chw, z)?;
        let mut value = z.shallow_clone();
        let mut log_det = Tensor::f_zeros([0i64; 0], (Kind::Double, z.device()))?;
        for (axis, update) in self.updates.iter().rev() {
            update.inverse.with(
                &[&update.u, &update.v],
                || update.inverse(),
                |inverse| {
                    value = axis.apply(&value, &inverse.u, &update.v)?;
                    let copies = axis.copies(self.chw);
                    log_det = log_det.f_sub(&inverse.log_det.f_mul_scalar(copies)?)?;
                    Ok(())
                },
            )?;
        }
        Ok(Mapped {
            value,
            log_det: for_each_sample(&log_det, z)?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_image("woodbury", self.chw, chw)
    }

    fn torchscript(&self) -> Result<Script> {
        let mut axes = Stages::default();
        for (axis, _) in &self.updates {
            let script = Script::new("Woodbury", include_str!("woodbury.torchscript.py"))
                .with("axis", axis.name())
                .with("copies", axis.copies(self.chw));
            axes.push(axis.name(), Ok(script))?;
        }
        Ok(axes.sequence())
    }
}
