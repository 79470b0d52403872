//! Which layer has no inverse, where only the device knows that one of them has none.

use super::MultiScale;
use crate::cuda::check;
use crate::flows::Cx;
use crate::{Error, Result};
use tch::{Device, Tensor};

impl MultiScale {
    /// An [`Error::Singular`] of [`cuda::check`](crate::cuda::check) with the name of the layer that it comes from; other
    /// errors as they are. `cx` as for the calls that failed.
    ///
    /// Runs an image through the model and back, and waits for the device after every layer.
    pub fn locate(&self, err: Error, cx: Cx<'_>) -> Error {
        match (&err, self.device) {
            (Error::Singular { place, .. }, Device::Cuda(_)) if place.is_empty() => {
                match tch::no_grad(|| self.find_singular(cx)) {
                    Err(found @ Error::Singular { .. }) => found,
                    // whatever else is wrong, this came first
                    _ => err,
                }
            }
            _ => err,
        }
    }

    /// The error of the first layer that has no inverse.
    fn find_singular(&self, cx: Cx<'_>) -> Result<()> {
        let condition = match cx.condition {
            Some(all) => Some(all.f_narrow(0, 0, 1)?),
            // no filter depends on the class
            None => self.condition(&[0])?,
        };
        let cx = Cx {
            condition: condition.as_ref(),
            ..Cx::default()
        };
        let [c, h, w] = self.image;
        let mut value = Tensor::f_zeros([1, c, h, w], (self.kind, self.device))?;
        let mut latents = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let staged = stage.forward(&value, cx)?;
            check(self.device).map_err(|err| err.below(stage.name()))?;
            latents.push(staged.latent);
            value = staged.kept;
        }
        for (stage, latent) in self.stages.iter().zip(latents).rev() {
            value = stage.inverse(&value, latent.as_ref(), cx)?.0;
            check(self.device).map_err(|err| err.below(stage.name()))?;
        }
        Ok(())
    }
}
