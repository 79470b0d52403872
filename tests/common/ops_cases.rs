//! Shapes that every test of the operators goes through: odd, unequal, degenerate.

use crate::device::device;
use inverse_flow::ops::Corner;
use tch::{Device, Kind, Tensor};
use Corner::{BottomLeft, BottomRight, TopLeft, TopRight};

/// One shape: images `[B, C, H, W]`, kernel size and corners.
#[derive(Debug, Clone)]
pub struct Case {
    pub batch: i64,
    pub channels: i64,
    pub height: i64,
    pub width: i64,
    pub kernel: i64,
    pub corners: Vec<Corner>,
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new([3, 3, 4, 5], 3, &[TopLeft]),
        Case::new([2, 5, 6, 3], 2, &[BottomRight]),
        Case::new([17, 4, 5, 7], 3, &[TopRight, BottomLeft]),
        Case::new([1, 8, 3, 4], 2, &Corner::ALL),
        Case::new([33, 7, 3, 2], 2, &[BottomLeft]),
        Case::new([2, 2, 1, 6], 3, &[TopRight]),
        Case::new([2, 2, 6, 1], 3, &[BottomLeft]),
        Case::new([1, 1, 1, 1], 1, &[TopLeft]),
        Case::new([2, 3, 4, 3], 1, &[TopRight]),
        Case::new([2, 2, 3, 2], 5, &[BottomRight]),
        Case::new([9, 12, 4, 4], 3, &[TopLeft]),
        Case::new([0, 4, 5, 3], 3, &[TopLeft]),
    ];
    cases.extend([4, 5, 7, 11].map(|k| Case::new([2, 2, 6, 5], k, &[TopLeft, BottomRight])));
    cases
}

/// Standard normal numbers that depend on the seed only, not on the device.
pub fn random(size: &[i64], kind: Kind, seed: i64) -> Tensor {
    // a lock-free way to numbers that no other test's use of the global generator can disturb
    let n: i64 = size.iter().product();
    let x = Tensor::arange(n, (Kind::Double, Device::Cpu)) + (seed * 7919) as f64;
    let u = ((&x * 12.9898).sin() * 43758.5453).frac().abs();
    let v = ((&x * 78.233 + 0.5).sin() * 12543.1237).frac().abs();
    let normal = (u.clamp(1e-12, 1.0).log() * -2.0).sqrt() * (v * std::f64::consts::TAU).cos();
    normal.view(size).to_kind(kind).to_device(device())
}

impl Case {
    pub fn new(
        [batch, channels, height, width]: [i64; 4],
        kernel: i64,
        corners: &[Corner],
    ) -> Self {
        Self {
            batch,
            channels,
            height,
            width,
            kernel,
            corners: corners.to_vec(),
        }
    }

    fn weight_size(&self) -> [i64; 4] {
        [
            self.channels,
            self.channels / self.corners.len() as i64,
            self.kernel,
            self.kernel,
        ]
    }

    /// An input and a weight with taps small enough that the recursion stays bounded.
    pub fn tensors(&self, kind: Kind, seed: i64) -> (Tensor, Tensor) {
        let per_group = self.channels / self.corners.len() as i64;
        self.tensors_with_taps(
            kind,
            seed,
            0.5 / (self.kernel as f64 * (per_group as f64).sqrt()),
        )
    }

    /// An input and a weight with taps of standard deviation `std`, and a diagonal away from zero, of both signs.
    pub fn tensors_with_taps(&self, kind: Kind, seed: i64, std: f64) -> (Tensor, Tensor) {
        let image = [self.batch, self.channels, self.height, self.width];
        let weight = random(&self.weight_size(), Kind::Double, seed + 1) * std;
        let per_group = self.channels / self.corners.len() as i64;
        for (group, corner) in (0..).zip(&self.corners) {
            let (row, column) = corner.anchor_index(self.kernel);
            for channel in 0..per_group {
                let sign = if channel % 3 == 1 { -1.0 } else { 1.0 };
                let diagonal = sign * (0.8 + 0.1 * channel as f64);
                let _ = weight
                    .get(group * per_group + channel)
                    .get(channel)
                    .get(row)
                    .get(column)
                    .fill_(diagonal);
            }
        }
        (random(&image, kind, seed), weight.to_kind(kind))
    }
}
