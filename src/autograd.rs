//! Autograd functions written in Rust: implement [`CustomFn`], call [`apply`], and torch differentiates through it.
//!
//! ```
//! use inverse_flow::autograd::{apply, CustomFn, Saved};
//! use tch::{Device, Kind, Tensor};
//!
//! /// `y = x³`, with `dL/dx = 3 x² dL/dy`.
//! struct Cube;
//!
//! impl CustomFn for Cube {
//!     fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> inverse_flow::Result<Vec<Tensor>> {
//!         saved.save(&inputs[0]);
//!         Ok(vec![inputs[0].pow_tensor_scalar(3)])
//!     }
//!     fn backward(
//!         &self,
//!         saved: &[Tensor],
//!         grads: &[Option<Tensor>],
//!         _needs: &[bool],
//!     ) -> inverse_flow::Result<Vec<Option<Tensor>>> {
//!         Ok(vec![grads[0].as_ref().map(|g| g * 3.0 * saved[0].square())])
//!     }
//! }
//!
//! let x = Tensor::from_slice(&[2.0f64]).set_requires_grad(true);
//! let y = apply(Cube, &[&x])?.remove(0);
//! y.sum(Kind::Double).backward();
//! assert_eq!(x.grad().double_value(&[0]), 12.0);
//! # Ok::<(), inverse_flow::Error>(())
//! ```

pub use crate::ffi::autograd::{apply, CustomFn, Saved};
