//! How exactly libtorch multiplies float32 numbers on a GPU.
//!
//! As it comes, libtorch lets cuDNN shorten the numbers of convolutions to TF32: 10 bits behind the point instead of 23. A
//! flow does not bear that, whose inverse has to undo its forward pass: round trips get worse from 1e-6 to 1e-4 and more. So
//! float32 means float32 here: [`libtorch::load`](super::libtorch::load), with which every use of a GPU begins, sets
//! [`Float32::Ieee`], once. Whoever wants TF32 calls [`set`] after it. A model whose nets may use TF32 allows it for their
//! convolutions alone, while they run.
//!
//! The settings are the process's. Where that is Python's, they are left as they are; this crate's own kernels do not use
//! TF32 either way.

use crate::ffi::precision as settings;
use crate::Result;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// A precision of float32 products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Float32 {
    /// All 23 bits behind the point.
    Ieee,
    /// Numbers are shortened to 10 bits, which tensor cores multiply faster; sums are float32.
    Tf32,
}

/// The precision in use, operation by operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precision {
    /// Of cuDNN: convolutions and recurrent layers.
    pub convolutions: Float32,
    /// Of cuBLAS: matrix products.
    pub products: Float32,
}

/// Sets the precision of convolutions and of matrix products on all GPUs, for this process.
///
/// # Errors
/// What libtorch reports.
pub fn set(precision: Float32) -> Result<()> {
    settings::set_tf32(precision == Float32::Tf32)
}

/// The precision of this process.
///
/// # Errors
/// What libtorch reports.
pub fn get() -> Result<Precision> {
    let precision = |shortened| match shortened {
        true => Float32::Tf32,
        false => Float32::Ieee,
    };
    let [convolutions, products] = settings::tf32()?.map(precision);
    Ok(Precision {
        convolutions,
        products,
    })
}

/// Allows TF32 in convolutions until it is dropped. The setting is the process's: convolutions of other threads see it too.
#[derive(Debug)]
pub(crate) struct Tf32Convolutions(());

/// How many hold the permission, and whether it was given before the first one took it.
static HELD: Mutex<(usize, bool)> = Mutex::new((0, false));

fn held() -> MutexGuard<'static, (usize, bool)> {
    HELD.lock().unwrap_or_else(|poison| poison.into_inner())
}

impl Tf32Convolutions {
    /// Gives the permission.
    ///
    /// # Errors
    /// What libtorch reports.
    pub(crate) fn allow() -> Result<Self> {
        let mut held = held();
        if held.0 == 0 {
            let [before, _] = settings::tf32()?;
            settings::set_tf32_convolutions(true)?;
            held.1 = before;
        }
        held.0 += 1;
        Ok(Self(()))
    }
}

impl Drop for Tf32Convolutions {
    fn drop(&mut self) {
        let mut held = held();
        held.0 -= 1;
        if held.0 == 0 {
            // an error has nowhere to go; the same call has succeeded when the permission was given
            let _ = settings::set_tf32_convolutions(held.1);
        }
    }
}

impl fmt::Display for Precision {
    /// `ieee`, `tf32`, `tf32 in convolutions` or `tf32 in matrix products`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.convolutions, self.products) {
            (Float32::Ieee, Float32::Ieee) => "ieee",
            (Float32::Tf32, Float32::Tf32) => "tf32",
            (Float32::Tf32, Float32::Ieee) => "tf32 in convolutions",
            (Float32::Ieee, Float32::Tf32) => "tf32 in matrix products",
        })
    }
}
