//! The kernels' parameter structs: field for field the twins of `kernels/inv_conv.cuh`, which explains them.
//!
//! Sizes and offsets are asserted on both sides. Pointers are device addresses as `u64`, 0 until the caller of the
//! launch plan fills them in: the memory belongs to libtorch's tensors.

use std::mem::{offset_of, size_of};

use crate::problem::{Corner, Geometry};
use crate::{Error, Result};

/// Groups whose corners fit into the parameters, two bits each.
pub const MAX_GROUPS: usize = 1024;

/// Sizes of one call. Offsets within an image and within the weight are 32-bit in the kernels.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Images B.
    pub batch: i32,
    /// Channels C of all groups.
    pub channels: i32,
    /// Groups g.
    pub groups: i32,
    /// Rows H.
    pub height: i32,
    /// Columns W.
    pub width: i32,
    /// Filter side k.
    pub kernel: i32,
    /// Corner of group i in bits 2(i % 16) and up of word i / 16, as the number of the [`Corner`].
    pub corners: [u32; MAX_GROUPS / 16],
}

impl Shape {
    /// The kernels' form of a checked geometry.
    ///
    /// # Errors
    /// [`Error::Argument`] where an image, the weight or the batch exceeds 32-bit indexing, or there are more than
    /// [`MAX_GROUPS`] groups.
    pub fn new(op: &'static str, geometry: &Geometry, corners: &[Corner]) -> Result<Self> {
        let plane_limit = i64::from(i32::MAX);
        let fits = |sizes: &[i64]| {
            sizes
                .iter()
                .try_fold(1_i64, |product, &size| product.checked_mul(size))
                .is_some_and(|product| product <= plane_limit)
        };
        let [batch, channels, height, width] = geometry.image_size();
        if !fits(&[channels, height, width]) || !fits(&[batch]) {
            return Err(Error::argument(
                op,
                "input",
                format!(
                    "must have at most 2^31 - 1 elements in an image, and as many images, on CUDA, got {:?}",
                    geometry.image_size()
                ),
            ));
        }
        if !fits(&geometry.weight_size()) {
            return Err(Error::argument(
                op,
                "weight",
                format!(
                    "must have at most 2^31 - 1 elements on CUDA, got {:?}",
                    geometry.weight_size()
                ),
            ));
        }
        if corners.len() > MAX_GROUPS {
            return Err(Error::argument(
                op,
                "corners",
                format!(
                    "must be at most {MAX_GROUPS} on CUDA, got {}: split the channels into several calls",
                    corners.len()
                ),
            ));
        }
        let mut words = [0; MAX_GROUPS / 16];
        for (group, &corner) in corners.iter().enumerate() {
            words[group / 16] |= (corner as u32) << (2 * (group % 16));
        }
        // each size divides a product that fits
        Ok(Self {
            batch: batch as i32,
            channels: channels as i32,
            groups: geometry.groups as i32,
            height: height as i32,
            width: width as i32,
            kernel: geometry.kernel as i32,
            corners: words,
        })
    }
}

/// Parameters of `inv_conv_solve_*`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SolveParams {
    /// Right-hand side `[B, C, H, W]`.
    pub y: u64,
    /// Weight `[C, C/g, k, k]`.
    pub weight: u64,
    /// Solution `[B, C, H, W]`; does not overlap `y`.
    pub x: u64,
    /// Zeros `[1 + B * g * bands]` (int32) where `bands` exceeds 1: the next ticket, complete diagonals of each band.
    pub progress: u64,
    /// The device's word about filters without an inverse (int32).
    pub singular: u64,
    /// Sizes.
    pub shape: Shape,
    /// 1 for A^-T.
    pub adjoint: i32,
    /// An image's rows are cut into this many bands ...
    pub bands: i32,
    /// ... of this many rows, the last one possibly shorter.
    pub band_rows: i32,
    /// Diagonals loaded, and stored, at a time.
    pub chunk: i32,
    /// Taps with `a < tap_rows` and `b < tap_columns` reach into the image.
    pub tap_rows: i32,
    /// See `tap_rows`.
    pub tap_columns: i32,
    /// Channels of a slice.
    pub slice: i32,
    /// 1 where the matrices of all taps are kept in shared memory, 0 where only the nearest are.
    pub far_in_shared: i32,
    /// Teams of threads that share the far taps of a row of pixels.
    pub tap_teams: i32,
    /// 0.
    pub reserved: i32,
}

/// Parameters of `inv_conv_apply_*`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyParams {
    /// Input `[B, C, H, W]`.
    pub x: u64,
    /// Weight `[C, C/g, k, k]`.
    pub weight: u64,
    /// Result `[B, C, H, W]`; does not overlap `x`.
    pub y: u64,
    /// Sizes.
    pub shape: Shape,
    /// 1 for A^T.
    pub adjoint: i32,
    /// Rows of taps whose weights are in shared memory at a time.
    pub stage_rows: i32,
}

/// Parameters of `inv_conv_weight_grad_*` and `inv_conv_weight_grad_sum_*`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightGradParams {
    /// Input of A `[B, C, H, W]`.
    pub x: u64,
    /// Gradient of A's result `[B, C, H, W]`.
    pub u: u64,
    /// Workspace `[chunks, C, C/g, k, k]`.
    pub partials: u64,
    /// Result `[C, C/g, k, k]`.
    pub grad: u64,
    /// Sizes.
    pub shape: Shape,
    /// Runs that the units of `tile_rows` rows, image after image, are cut into.
    pub chunks: i32,
    /// Their length in units, the last one possibly shorter.
    pub chunk_units: i32,
    /// A block owns `tile_channels` x `tile_channels` pairs of channels.
    pub tile_channels: i32,
    /// Rows of pixels in shared memory at a time.
    pub tile_rows: i32,
    /// Columns of pixels in shared memory at a time.
    pub tile_columns: i32,
    /// Teams of threads that share the pairs of channels.
    pub slices: i32,
    /// Threads that stage one row of a tile.
    pub lanes: i32,
    /// 1 for minus the gradient, that of a solve.
    pub negative: i32,
}

const _: () = {
    assert!(size_of::<Shape>() == 280 && offset_of!(Shape, corners) == 24);
    assert!(size_of::<SolveParams>() == 360 && offset_of!(SolveParams, shape) == 40);
    assert!(offset_of!(SolveParams, adjoint) == 320);
    assert!(offset_of!(SolveParams, tap_teams) == 352);
    assert!(size_of::<ApplyParams>() == 312 && offset_of!(ApplyParams, shape) == 24);
    assert!(offset_of!(ApplyParams, adjoint) == 304);
    assert!(size_of::<WeightGradParams>() == 344 && offset_of!(WeightGradParams, shape) == 32);
    assert!(offset_of!(WeightGradParams, chunks) == 312);
    assert!(offset_of!(WeightGradParams, slices) == 332);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::geometry;

    #[test]
    fn corners_are_packed_two_bits_each() {
        let corners: Vec<_> = (0..18).map(|i| Corner::ALL[(i + 1) % 4]).collect();
        let shape = Shape::new("test", &geometry([2, 36, 5, 7], 18, 3), &corners).unwrap();
        for (group, corner) in corners.iter().enumerate() {
            let bits = shape.corners[group / 16] >> (2 * (group % 16)) & 3;
            assert_eq!(bits & 1 != 0, corner.mirrors_columns());
            assert_eq!(bits & 2 != 0, corner.mirrors_rows());
        }
        assert_eq!(
            (shape.batch, shape.channels, shape.height, shape.width),
            (2, 36, 5, 7)
        );
    }

    #[test]
    fn sizes_beyond_32_bit_indexing_are_errors() {
        let one = [Corner::TopLeft];
        let largest = geometry([1 << 20, 1, 1, i64::from(i32::MAX)], 1, 1);
        assert!(Shape::new("test", &largest, &one).is_ok());
        let cases = [
            (geometry([1, 2, 1 << 15, 1 << 15], 1, 1), "`input`"),
            (geometry([1, 1 << 31, 1 << 31, 1 << 31], 1, 1), "`input`"),
            (geometry([1 << 31, 1, 1, 1], 1, 1), "`input`"),
            (geometry([1, 1 << 14, 1, 1], 1, 3), "`weight`"),
        ];
        for (geometry, arg) in cases {
            let err = Shape::new("test", &geometry, &one).unwrap_err().to_string();
            assert!(err.contains(arg) && err.contains("2^31 - 1"), "{err}");
        }
        let many = vec![Corner::TopLeft; MAX_GROUPS + 1];
        let err = Shape::new("test", &geometry([1, 1025, 1, 1], 1025, 1), &many)
            .unwrap_err()
            .to_string();
        assert!(err.contains("`corners` must be at most 1024"), "{err}");
    }
}
