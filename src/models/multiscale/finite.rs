//! Where a model's numbers stop being finite.

use super::MultiScale;
use crate::flows::Cx;
use crate::models::Latents;
use crate::Result;
use tch::Tensor;

impl MultiScale {
    /// Runs [`encode`](MultiScale::encode) layer by layer and names the first layer whose value or log-det is not finite.
    ///
    /// Waits for the device after every layer, as [`first_non_finite_decode`](MultiScale::first_non_finite_decode) does.
    ///
    /// # Errors
    /// As `encode`.
    pub fn first_non_finite(&self, x: &Tensor, cx: Cx<'_>) -> Result<Option<String>> {
        let mut culprit = None;
        tch::no_grad(|| {
            self.run(x, cx, |name, staged| {
                let others = [&staged.latent, &staged.log_det];
                let others = others.into_iter().flatten();
                let finite = all_finite([&staged.kept].into_iter().chain(others))?;
                if !finite {
                    culprit = Some(name.to_owned());
                }
                Ok(finite)
            })
        })?;
        Ok(culprit)
    }

    /// Runs [`decode`](MultiScale::decode) layer by layer, from the latents to the image, and names the first layer whose
    /// value or log-det is not finite.
    ///
    /// # Errors
    /// As `decode`.
    pub fn first_non_finite_decode(&self, latents: &Latents, cx: Cx<'_>) -> Result<Option<String>> {
        let mut culprit = None;
        let _ = tch::no_grad(|| {
            self.run_back(latents, cx, |name, value, log_det| {
                let finite = all_finite([value].into_iter().chain(log_det))?;
                if !finite {
                    culprit = Some(name.to_owned());
                }
                Ok(finite)
            })
        })?;
        Ok(culprit)
    }
}

/// Whether every number is finite.
fn all_finite<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<bool> {
    for tensor in tensors {
        if tensor.f_isfinite()?.f_all()?.f_double_value(&[])? == 0.0 {
            return Ok(false);
        }
    }
    Ok(true)
}
