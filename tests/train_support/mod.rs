//! A small flow whose failures can be provoked, and images for it.
#![allow(dead_code)] // every test program uses another part of this module

use inverse_flow::flows::{sum_per_sample, Cx, Mapped};
use inverse_flow::models::{Encoded, Flow, Latents};
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
    pub auxiliary: f64,
}

impl ScaleFlow {
    pub fn build(vs: &nn::Path, chw: [i64; 3]) -> Self {
        let path = vs / "levels" / 0;
        Self {
            chw,
            log_scale: path.var("log_scale", &chw, nn::Init::Const(0.1)),
            shift: path.var("shift", &chw, nn::Init::Const(-0.2)),
            kink: path.var("kink", &[1], nn::Init::Const(1.0)),
            initialized: path.zeros_no_train("initialized", &[]),
            auxiliary: 0.0,
        }
    }
}

impl Flow for ScaleFlow {
    fn image_shape(&self) -> [i64; 3] {
        self.chw
    }

    fn latent_shapes(&self) -> Vec<[i64; 3]> {
        vec![self.chw]
    }

    fn initialize(&mut self, _x: &Tensor, _cx: Cx<'_>) -> Result<()> {
        let _ = self.initialized.fill_(1.0);
        Ok(())
    }

    fn encode(&self, x: &Tensor, cx: Cx<'_>) -> Result<Encoded> {
        let x = match cx.noise {
            Some(noise) => x + noise,
            None => x + 0.5,
        };
        let z = x / 256.0 * self.log_scale.exp() + &self.shift;
        let numel = self.chw.iter().product::<i64>() as f64;
        let log_det = self.log_scale.sum(Kind::Float) - numel * 256f64.ln();
        let log_det = log_det.expand([z.size()[0]], false);
        let latents = Latents(vec![z]);
        Ok(Encoded { latents, log_det })
    }

    fn decode(&self, latents: &Latents) -> Result<Mapped> {
        let value = (&latents.0[0] - &self.shift) / self.log_scale.exp() * 256.0;
        let log_det = sum_per_sample(&value.zeros_like());
        Ok(Mapped { value, log_det })
    }

    fn log_prob(&self, x: &Tensor, cx: Cx<'_>) -> Result<Tensor> {
        if let (Some(losses), true) = (cx.training, self.auxiliary != 0.0) {
            losses.add(self.shift.square().sum(Kind::Float) * self.auxiliary);
        }
        let encoded = self.encode(x, cx)?;
        let log_density = encoded.latents.0[0].square() * -0.5 - 0.5 * std::f64::consts::TAU.ln();
        Ok(sum_per_sample(&log_density) + encoded.log_det + self.kink.sqrt() - 1.0)
    }

    fn torchscript(&self) -> inverse_flow::Result<inverse_flow::torchscript::Script> {
        unreachable!("never saved")
    }

    fn layers(&self) -> Vec<(String, &'static str)> {
        vec![("levels.0".into(), "scale")]
    }

    fn first_non_finite(&self, x: &Tensor, cx: Cx<'_>) -> Result<Option<String>> {
        let z = &self.encode(x, cx)?.latents.0[0];
        let finite = z.isfinite().all().int64_value(&[]) != 0;
        Ok((!finite).then(|| "levels.0.scale".into()))
    }
}

/// `[n, C, H, W]` with pixel values that differ from place to place.
pub fn images(n: i64, [c, h, w]: [i64; 3]) -> Tensor {
    Tensor::arange(n * c * h * w, (Kind::Float, tch::Device::Cpu))
        .multiply_scalar(37)
        .remainder(256)
        .reshape([n, c, h, w])
}
