//! What the nets of a model compute in.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tch::{Device, Kind, Tensor};

/// What the convolutions of the nets inside couplings compute in.
///
/// Everything else stays float32 (or float64): parameters, the optimiser, log-determinants, and all layers that are
/// inverted. A net is never inverted: both directions of a coupling evaluate it at the same numbers. So the log-det of a
/// coupling is exact in every precision, for the map as it is computed. Another precision is another map, and with it
/// another density: a model is evaluated in the precision that it was trained in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// The kind of the parameters, with all of its bits.
    #[default]
    Float32,
    /// On a GPU, the factors of float32 products are shortened to 10 bits behind the point, and sums are float32. Elsewhere
    /// the same as float32.
    Tf32,
    /// Images, hidden channels and copies of the weights have 7 bits behind the point, and sums are float32. What a net
    /// returns is widened again, before the output's own scale.
    BFloat16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Float32, Self::Tf32, Self::BFloat16];

    /// What a user should know about this precision on `device`: that it means another one there, or that it is slow.
    pub fn remark(self, device: Device) -> Option<&'static str> {
        match self {
            Self::Tf32 if !device.is_cuda() => {
                Some("tf32 is a format of GPUs: here the nets compute in float32")
            }
            Self::BFloat16 if device == Device::Cpu && !cpu_multiplies_bfloat16() => Some(
                "this CPU has neither AMX nor AVX512-BF16: bfloat16 gives the same numbers, but slower than float32",
            ),
            _ => None,
        }
    }

    /// What this precision comes down to for a product of `x`.
    pub(crate) fn of(self, x: &Tensor) -> Self {
        match self {
            Self::Tf32 if !(x.device().is_cuda() && x.kind() == Kind::Float) => Self::Float32,
            other => other,
        }
    }

    /// `x` as a net in this precision takes it. In bfloat16, channels come last in memory, which is how the libraries
    /// multiply them.
    pub(crate) fn narrowed(self, x: &Tensor) -> Result<Tensor> {
        if self != Self::BFloat16 || x.kind() == Kind::BFloat16 {
            return Ok(x.shallow_clone());
        }
        let size = x.size();
        let &[_, c, h, w] = size.as_slice() else {
            let why = format!("must have 4 dimensions [N, C, H, W], got size {size:?}");
            return Err(Error::argument("conv2d", "x", why));
        };
        let strides = [c * h * w, 1, w * c, c];
        let mut narrow = Tensor::f_empty_strided(&size, strides, (Kind::BFloat16, x.device()))?;
        narrow.f_copy_(x)?; // kind and order in one pass
        Ok(narrow)
    }

    /// A filter or a bias likewise.
    pub(crate) fn narrowed_filter(self, filter: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::BFloat16 => filter.f_to_kind(Kind::BFloat16)?,
            Self::Float32 | Self::Tf32 => filter.shallow_clone(),
        })
    }
}

/// `y`, if it is bfloat16, in the kind of `like` and in the usual order.
pub(crate) fn widened(y: Tensor, like: &Tensor) -> Result<Tensor> {
    if y.kind() != Kind::BFloat16 || like.kind() == Kind::BFloat16 {
        return Ok(y);
    }
    let mut wide = Tensor::f_empty(y.size(), (like.kind(), y.device()))?;
    wide.f_copy_(&y)?;
    Ok(wide)
}

/// Whether this machine has instructions for products of bfloat16 numbers. A CPU with AMX has both kinds.
fn cpu_multiplies_bfloat16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("bf16");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Tf32 => "tf32",
            Self::BFloat16 => "bfloat16",
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL
            .into_iter()
            .find(|known| known.to_string() == text);
        known.ok_or_else(|| {
            Error::config(format!(
                "unknown precision `{text}`: choose float32, tf32 or bfloat16"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_has_one_name_everywhere() {
        for precision in Precision::ALL {
            let name = precision.to_string();
            assert_eq!(name.parse::<Precision>().unwrap(), precision);
            assert_eq!(
                serde_json::to_string(&precision).unwrap(),
                format!("{name:?}")
            );
        }
        for text in ["", "bf16", "Float32", "float64"] {
            assert!(text.parse::<Precision>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_remark_is_made_where_a_precision_is_not_what_it_says() {
        assert_eq!(Precision::Float32.remark(Device::Cpu), None);
        assert!(Precision::Tf32.remark(Device::Cpu).is_some());
        for precision in Precision::ALL {
            assert_eq!(precision.remark(Device::Cuda(0)), None);
        }
    }
}
