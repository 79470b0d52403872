//! Parameters that are set from a first batch: whether it has been seen, and what is taken from it.

use crate::{Error, Result};
use std::cell::Cell;
use tch::{nn, Kind, Tensor};

/// A channel whose standard deviation is below this fraction of `1 + |mean|` counts as constant.
const CONSTANT: f64 = 1e-5;

/// Whether a layer has seen its first batch, in this process or in the one that saved it.
///
/// The buffer `initialized` (one boolean) is saved with the parameters, so a loaded layer is ready without a batch. It
/// is read at the first use and, once true, never again, because reading it makes a GPU wait.
#[derive(Debug)]
pub(crate) struct FirstBatch {
    layer: &'static str,
    initialized: Tensor,
    /// Whether `initialized` is known to be true. It never turns back, so this cannot go stale.
    ready: Cell<bool>,
}

impl FirstBatch {
    /// Not seen yet; `layer` is the name for errors.
    pub(crate) fn new(vs: &nn::Path, layer: &'static str) -> Result<Self> {
        let flag = Tensor::f_zeros([0i64; 0], (Kind::Bool, vs.device()))?;
        Ok(Self {
            layer,
            initialized: vs.add("initialized", flag, false),
            ready: Cell::new(false),
        })
    }

    /// Whether the first batch has been seen.
    pub(crate) fn seen(&self) -> Result<bool> {
        if !self.ready.get() {
            let flag = self.initialized.f_double_value(&[])?;
            self.ready.set(flag != 0.0);
        }
        Ok(self.ready.get())
    }

    /// [`Error::NotInitialized`] before the first batch.
    pub(crate) fn require(&self) -> Result<()> {
        if self.seen()? {
            Ok(())
        } else {
            Err(Error::NotInitialized { layer: self.layer })
        }
    }

    /// The first batch has been used.
    pub(crate) fn set_seen(&mut self) -> Result<()> {
        let _ = tch::no_grad(|| self.initialized.f_fill_(1i64))?;
        self.ready.set(true);
        Ok(())
    }

    /// Mean and logarithm of the (unbiased) standard deviation of every channel of `x` `[N, C, H, W]`.
    ///
    /// A channel that is constant in this batch gets the logarithm 0: a border that has been black so far must not
    /// amplify its first grey pixel.
    pub(crate) fn moments(&self, x: &Tensor) -> Result<Moments> {
        let size = x.size();
        if size.len() != 4 || size[0] * size[2] * size[3] < 2 {
            return Err(Error::argument(
                self.layer,
                "x",
                format!(
                    "must be [N, C, H, W] with at least two values per channel to be standardised, got size {size:?}"
                ),
            ));
        }
        tch::no_grad(|| {
            let per_channel = x.f_transpose(0, 1)?.f_reshape([size[1], -1])?;
            let (var, mean) = per_channel.f_var_mean_dim([1i64].as_slice(), true, false)?;
            let std = var.f_sqrt()?;
            let constant = mean.f_abs()?.f_add_scalar(1.0)?.f_mul_scalar(CONSTANT)?;
            let log_std = std
                .f_log()?
                .f_masked_fill(&std.f_le_tensor(&constant)?, 0.0)?;
            Ok(Moments { mean, log_std })
        })
    }
}

/// `[C]` each.
pub(crate) struct Moments {
    pub(crate) mean: Tensor,
    pub(crate) log_std: Tensor,
}
