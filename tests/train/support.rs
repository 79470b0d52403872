//! A small flow whose failures can be provoked, and images for it.

use crate::device::device;
use inverse_flow::flows::{Cx, Mapped, Transform};
use inverse_flow::models::MultiScale;
use inverse_flow::Result;
use tch::{nn, Kind, Tensor};

/// `z = x / 256 * exp(log_scale) + shift`, element by element. Pixels that are NaN pass through, and `kink = 0` gives
/// a finite likelihood with an infinite gradient.
#[derive(Debug)]
pub struct ScaleFlow {
    chw: [i64; 3],
    log_scale: Tensor,
    shift: Tensor,
    kink: Tensor,
    initialized: Tensor,
    /// Weight of an auxiliary loss, `|shift|^2`.
    auxiliary: f64,
}

impl ScaleFlow {
    pub fn build(vs: &nn::Path, chw: [i64; 3]) -> MultiScale {
        Self::with_auxiliary(vs, chw, 0.0)
    }

    pub fn with_auxiliary(vs: &nn::Path, chw: [i64; 3], auxiliary: f64) -> MultiScale {
        let path = vs / "levels" / 0;
        let layer = Self {
            chw,
            log_scale: path.var("log_scale", &chw, nn::Init::Const(0.1)),
            shift: path.var("shift", &chw, nn::Init::Const(-0.2)),
            kink: path.var("kink", &[1], nn::Init::Const(1.0)),
            initialized: path.zeros_no_train("initialized", &[]),
            auxiliary,
        };
        let mut builder = MultiScale::builder(vs, chw).unwrap();
        builder.layer("levels.0.scale", layer).unwrap();
        builder.finish().unwrap()
    }

    /// `log|det|` of `forward`, `[n]`.
    fn log_det(&self, n: i64) -> Tensor {
        let numel = self.chw.iter().product::<i64>() as f64;
        let log_det = self.log_scale.sum(Kind::Float) - numel * 256f64.ln();
        (log_det + self.kink.sqrt() - 1.0).expand([n], false)
    }
}

impl Transform for ScaleFlow {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        if let (Some(losses), true) = (cx.training, self.auxiliary != 0.0) {
            losses.add(self.shift.square().sum(Kind::Float) * self.auxiliary);
        }
        let x = match cx.noise {
            Some(noise) => x + noise,
            None => x + 0.5,
        };
        let value = x / 256.0 * self.log_scale.exp() + &self.shift;
        let log_det = self.log_det(value.size()[0]);
        Ok(Mapped { value, log_det })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let value = (z - &self.shift) / self.log_scale.exp() * 256.0;
        let log_det = -self.log_det(value.size()[0]);
        Ok(Mapped { value, log_det })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        Ok(chw)
    }

    fn initialize(&mut self, _x: &Tensor, _cx: Cx<'_>) -> Result<()> {
        let _ = self.initialized.fill_(1.0);
        Ok(())
    }
}

/// `[n, C, H, W]` with pixel values that differ from place to place.
pub fn images(n: i64, [c, h, w]: [i64; 3]) -> Tensor {
    Tensor::arange(n * c * h * w, (Kind::Float, device()))
        .multiply_scalar(37)
        .remainder(256)
        .reshape([n, c, h, w])
}
