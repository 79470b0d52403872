//! The published scheme of the inverse: one launch for every channel of every diagonal, and a device synchronisation
//! after each.
//!
//! It exists to be measured against (`inverse-flow bench op --device cuda`); nothing else may use it. See
//! `kernels/baseline_per_diagonal.cu` for what of the published code it keeps.

use std::mem::{offset_of, size_of};

use tch::{Device, Kind, Tensor};

use super::current::Current;
use super::device;
use super::kernels::Element;
use super::launch::Launch;
use super::params::Shape;
use super::singular::word;
use super::tensors::address;
use crate::problem::{Corner, Geometry};
use crate::words;
use crate::{Error, Result};

const OP: &str = "baseline::solve";
/// Threads of a block; twin: `kBaselineThreads`.
const THREADS: i64 = 256;

/// Parameters of `baseline_per_diagonal_*`; twin: `BaselineParams` in `kernels/baseline_per_diagonal.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaselineParams {
    /// Right-hand side `[B, C, H, W]`.
    pub y: u64,
    /// Weight `[C, C/g, k, k]`.
    pub weight: u64,
    /// Solution `[B, C, H, W]`.
    pub x: u64,
    /// The device's word about filters without an inverse (int32).
    pub singular: u64,
    /// Sizes.
    pub shape: Shape,
    /// Channel of every group that this launch computes.
    pub channel: i32,
    /// Its diagonal.
    pub diagonal: i32,
}

const _: () = {
    assert!(size_of::<BaselineParams>() == 320);
    assert!(offset_of!(BaselineParams, shape) == 32 && offset_of!(BaselineParams, channel) == 312);
};

/// x = A(W)^-1 y from one corner, launch by launch: slow on purpose.
///
/// # Shapes
/// `y` `[B, C, H, W]`, `weight` `[C, C, k, k]`, both on the same GPU; returns `[B, C, H, W]`.
///
/// # Errors
/// [`Error::Argument`] as [`Geometry::check`], or where `y` is not on a GPU; [`Error::Cuda`] where a launch fails. A zero
/// on the diagonal of the anchor is reported by [`check`](super::check).
pub fn solve(y: &Tensor, weight: &Tensor, corner: Corner) -> Result<Tensor> {
    let geometry = Geometry::check(OP, y, weight, &[corner])?;
    let Device::Cuda(index) = y.device() else {
        return Err(Error::argument(
            OP,
            "y",
            format!("must be on a GPU, got {}", words::device(y.device())),
        ));
    };
    let device = device::Device::get(index)?;
    let current = Current::new(&device)?;
    let singular = word(index)?;
    let (y, weight) = (y.f_contiguous()?, weight.f_contiguous()?);
    let x = Tensor::f_empty(geometry.image_size(), (y.kind(), y.device()))?;
    for (launch, mut params) in launches(&geometry, y.kind(), &[corner])? {
        params.y = y.data_ptr() as u64;
        params.weight = weight.data_ptr() as u64;
        params.x = x.data_ptr() as u64;
        params.singular = address(&singular);
        // SAFETY: the parameters of this kernel, with contiguous tensors of the sizes that `geometry` was checked for,
        // which live until the device has been waited for.
        unsafe { current.launch(&launch, &params) }?;
        current.synchronize()?;
    }
    Ok(x)
}

/// The launches in their order, with `y`, `weight` and `x` to be filled in; none where there is nothing to compute.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels or sizes beyond the index limits.
pub fn launches(
    geometry: &Geometry,
    kind: Kind,
    corners: &[Corner],
) -> Result<Vec<(Launch, BaselineParams)>> {
    let shape = Shape::new(OP, geometry, corners)?;
    let kernel = match Element::of(OP, kind)? {
        Element::F32 => "baseline_per_diagonal_f32",
        Element::F64 => "baseline_per_diagonal_f64",
    };
    let (height, width) = (geometry.height, geometry.width);
    let images = geometry.batch * geometry.groups;
    if images * height * width == 0 {
        return Ok(Vec::new());
    }
    let mut launches = Vec::new();
    for diagonal in 0..height + width - 1 {
        let length = diagonal.min(height - 1) - (diagonal - (width - 1)).max(0) + 1;
        let blocks = (images * length + THREADS - 1) / THREADS;
        let blocks = u32::try_from(blocks).map_err(|_| {
            Error::argument(
                OP,
                "y",
                format!("has too many pixels: {:?}", geometry.image_size()),
            )
        })?;
        for channel in 0..geometry.group_channels() {
            let launch = Launch {
                image: "baseline_per_diagonal",
                kernel,
                grid: [blocks, 1, 1],
                block: [THREADS as u32, 1, 1],
                shared_bytes: 0,
            };
            let params = BaselineParams {
                y: 0,
                weight: 0,
                x: 0,
                singular: 0,
                shape,
                channel: channel as i32,
                diagonal: diagonal as i32,
            };
            launches.push((launch, params));
        }
    }
    Ok(launches)
}
