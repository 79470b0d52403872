//! What a condition adds to the channels of an image.

use crate::{Error, Result};
use tch::{nn, nn::Init, Tensor};

/// A linear map from a condition `[N, F]` to a bias for each channel of each image.
///
/// Variable: `condition` `[C', F]`.
#[derive(Debug)]
pub(super) struct Embedding(Tensor);

impl Embedding {
    pub(super) fn new(vs: &nn::Path, features: i64, channels: i64) -> Result<Self> {
        if features < 1 {
            return Err(Error::config(format!(
                "a condition must have 1 or more features, got {features}"
            )));
        }
        let bound = 1.0 / (features as f64).sqrt();
        let init = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Ok(Self(vs.f_var("condition", &[channels, features], init)?))
    }

    /// `[N, C', 1, 1]`.
    pub(super) fn bias(&self, condition: Option<&Tensor>) -> Result<Tensor> {
        let condition = features_of(condition, self.0.size()[1])?;
        let bias = condition.f_matmul(&self.0.f_transpose(0, 1)?)?;
        Ok(bias.f_unsqueeze(-1)?.f_unsqueeze(-1)?)
    }
}

/// The condition of a call if it is there and has `features` features.
pub(super) fn features_of(condition: Option<&Tensor>, features: i64) -> Result<&Tensor> {
    let wrong = |got: String| {
        let why =
            format!("must be [N, F] with F = {features}, which this net was built for, got {got}");
        Error::argument("net", "condition", why)
    };
    let condition = condition.ok_or_else(|| wrong("none".into()))?;
    match condition.size().as_slice() {
        &[_, f] if f == features => Ok(condition),
        size => Err(wrong(format!("size {size:?}"))),
    }
}
