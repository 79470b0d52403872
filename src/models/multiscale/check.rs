//! What a model refuses at its entry.

use super::model::MultiScale;
use crate::words::{counted, device, dtype};
use crate::{Error, Result};
use tch::Tensor;

impl MultiScale {
    /// Images `x` and the condition that goes with them.
    pub(in crate::models) fn check_images(
        &self,
        op: &'static str,
        x: &Tensor,
        condition: Option<&Tensor>,
    ) -> Result<()> {
        self.check_tensor(op, "x", x, self.image)?;
        self.check_condition(op, x.size()[0], condition)
    }

    /// The top latent, if all of them and the condition are right.
    pub(super) fn check_latents<'a>(
        &self,
        latents: &'a [Tensor],
        condition: Option<&Tensor>,
    ) -> Result<&'a Tensor> {
        let wrong = |text: String| Error::argument("decode", "latents", text);
        let top = match latents.last() {
            Some(top) if latents.len() == self.latents.len() => top,
            _ => {
                let (expected, got) = (self.latents.len(), latents.len());
                let expected = counted(expected, "tensor");
                return Err(wrong(format!("must be {expected}, got {got}")));
            }
        };
        for (latent, &chw) in latents.iter().zip(&self.latents) {
            self.check_tensor("decode", "latents", latent, chw)?;
            if latent.size()[0] != latents[0].size()[0] {
                return Err(wrong(format!(
                    "must all have the same batch size, got {:?} and {:?}",
                    latents[0].size(),
                    latent.size()
                )));
            }
        }
        self.check_condition("decode", top.size()[0], condition)?;
        Ok(top)
    }

    fn check_tensor(
        &self,
        op: &'static str,
        arg: &'static str,
        tensor: &Tensor,
        chw: [i64; 3],
    ) -> Result<()> {
        let size = tensor.size();
        if size.len() != 4 || size[1..] != chw {
            return Err(Error::argument(
                op,
                arg,
                format!("must be [N, C, H, W] with [C, H, W] = {chw:?}, got {size:?}"),
            ));
        }
        if (tensor.kind(), tensor.device()) != (self.kind, self.device) {
            return Err(Error::argument(
                op,
                arg,
                format!(
                    "must be {} on {} like the model, got {} on {}",
                    dtype(self.kind),
                    device(self.device),
                    dtype(tensor.kind()),
                    device(tensor.device())
                ),
            ));
        }
        Ok(())
    }
}
