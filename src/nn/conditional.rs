//! Nets that are closures of an image and its condition.

use super::Conditioner;
use crate::{Error, Result};
use std::fmt;
use tch::Tensor;

/// A net made by [`conditional`].
pub struct Conditional<F>(F);

/// The net `f(x, condition)` for a coupling, where `condition` is `[N, F]`: the
/// [condition](crate::flows::Cx::condition) of the call, without which it is an error. `f` keeps the variables it needs.
///
/// ```
/// use inverse_flow::flows::{Coupling, Cx, Transform};
/// use inverse_flow::nn::conditional;
/// use tch::{nn, Device, Kind, Tensor};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let coupling = Coupling::new(&vs.root(), 4, |vs, inputs, outputs| {
///     let conv = nn::conv2d(vs, inputs, outputs, 1, Default::default());
///     let embed = nn::linear(vs / "embed", 10, outputs, Default::default());
///     Ok(conditional(move |x, label| {
///         let bias = label.apply(&embed).unsqueeze(-1).unsqueeze(-1);
///         Ok(x.apply(&conv) + bias)
///     }))
/// })?;
/// let x = Tensor::randn([2, 4, 8, 8], (Kind::Float, Device::Cpu));
/// let label = Tensor::from_slice(&[3i64, 7]).onehot(10);
/// let cx = Cx { condition: Some(&label), ..Cx::default() };
/// assert_eq!(coupling.forward(&x, cx)?.log_det.size(), [2]);
/// assert!(coupling.forward(&x, Cx::default()).is_err());
/// # Ok::<(), inverse_flow::Error>(())
/// ```
pub fn conditional<F>(f: F) -> Conditional<F>
where
    F: Fn(&Tensor, &Tensor) -> Result<Tensor> + Send,
{
    Conditional(f)
}

impl<F> fmt::Debug for Conditional<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conditional")
    }
}

impl<F> Conditioner for Conditional<F>
where
    F: Fn(&Tensor, &Tensor) -> Result<Tensor> + Send,
{
    fn forward(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let Some(condition) = condition else {
            let why = "must be [N, F]: this net needs one, got none";
            return Err(Error::argument("net", "condition", why));
        };
        (self.0)(x, condition)
    }
}
