//! A layer as a user writes one.

use inverse_flow::flows::{zero_log_det, Cx, Mapped, Transform};
use inverse_flow::Result;
use tch::Tensor;

/// `z = x + shift`, with what a layer must have and nothing else.
#[derive(Debug)]
pub struct Shift(pub Tensor);

impl Transform for Shift {
    fn name(&self) -> &'static str {
        "shift"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        Ok(Mapped {
            value: x.f_add(&self.0)?,
            log_det: zero_log_det(x)?,
        })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        Ok(Mapped {
            value: z.f_sub(&self.0)?,
            log_det: zero_log_det(z)?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        Ok(chw)
    }
}
