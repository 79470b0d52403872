//! The three primitive operations in plain tensor operations: the specification of every faster kernel.
//!
//! With M the mask of [`Geometry::anchor_mask`], A(W) is the convolution that is zero-padded on the corner's side
//! only. For [`Corner::TopLeft`]
//!
//! ```text
//! (A(W) x)[n,o,h,w] = sum_{i,a,b} (M*W)[o,i,k-1-a,k-1-b] x[n,i,h-a,w-b],   0 <= a,b < k
//! ```
//!
//! and the other corners are its mirror images. [`conv`] is A, [`solve`] its inverse, and [`weight_grad`] the gradient
//! of `<u, A(W) x>` with respect to W. All three are linear in each argument, so they close under differentiation:
//!
//! ```text
//! y = A x        dx = A^T dy           dW = weight_grad(x, dy)
//! y = A^T x      dx = A dy             dW = weight_grad(dy, x)
//! x = A^-1 y     dy = A^-T dx =: u     dW = -weight_grad(x, u)
//! x = A^-T y     dy = A^-1 dx =: u     dW = -weight_grad(u, x)
//! G = weight_grad(x, u)                dx = A(dG)^T u,   du = A(dG) x
//! ```
//!
//! Everything here is out of place and differentiable, so autograd through this module gives reference gradients of
//! any order. It is written to be read, not to be fast.

use tch::{Device, Kind, Tensor};

use crate::problem::{Corner, Geometry};
use crate::Result;

/// y = A(W) x, or A(W)^T x if `adjoint`.
///
/// # Shapes
/// `x` `[B, C, H, W]`, `weight` `[C, C/g, k, k]` with g = `corners.len()`; returns `[B, C, H, W]`.
///
/// # Errors
/// See [`Geometry::check`].
pub fn conv(x: &Tensor, weight: &Tensor, corners: &[Corner], adjoint: bool) -> Result<Tensor> {
    let geometry = Geometry::check("reference::conv", x, weight, corners)?;
    per_group(&geometry, x, weight, corners, adjoint, conv_top_left)
}

/// x = A(W)^-1 y, or A(W)^-T y if `adjoint`.
///
/// A is triangular in the order in which the pixels are met from the corner, and within a pixel in the order of the
/// channels, so x is found pixel by pixel. A zero on the diagonal of an anchor gives infinities.
///
/// # Shapes
/// `y` `[B, C, H, W]`, `weight` `[C, C/g, k, k]` with g = `corners.len()`; returns `[B, C, H, W]`.
///
/// # Errors
/// See [`Geometry::check`].
pub fn solve(y: &Tensor, weight: &Tensor, corners: &[Corner], adjoint: bool) -> Result<Tensor> {
    let geometry = Geometry::check("reference::solve", y, weight, corners)?;
    per_group(&geometry, y, weight, corners, adjoint, |y, w| {
        solve_top_left(y, w, adjoint)
    })
}

/// G = M * dL/dW of `L = <u, A(W) x>`, for a filter of side `kernel`.
///
/// For [`Corner::TopLeft`] `G[o,i,k-1-a,k-1-b] = M * sum_{n,h,w} u[n,o,h,w] x[n,i,h-a,w-b]`.
///
/// # Shapes
/// `x` and `u` `[B, C, H, W]`; returns `[C, C/g, k, k]` with g = `corners.len()`.
///
/// # Errors
/// See [`Geometry::check_weight_grad`].
pub fn weight_grad(x: &Tensor, u: &Tensor, kernel: i64, corners: &[Corner]) -> Result<Tensor> {
    let geometry = Geometry::check_weight_grad("reference::weight_grad", x, u, kernel, corners)?;
    let (n, height, width) = (geometry.group_channels(), geometry.height, geometry.width);
    let mut groups = Vec::with_capacity(corners.len());
    for (group, &corner) in (0..).zip(corners) {
        let dims = mirrored_dims(corner, false);
        let x = pad_top_left(&x.f_narrow(1, group * n, n)?.f_flip(&dims)?, kernel)?;
        let u = u.f_narrow(1, group * n, n)?.f_flip(&dims)?;
        let mut taps = Vec::with_capacity((kernel * kernel) as usize);
        for (row, column) in taps_of(kernel) {
            let shifted = x.f_narrow(2, row, height)?.f_narrow(3, column, width)?;
            taps.push(Tensor::f_einsum(
                "nohw,nihw->oi",
                &[&u, &shifted],
                None::<i64>,
            )?);
        }
        let taps = Tensor::f_stack(&taps, -1)?.f_reshape([n, n, kernel, kernel])?;
        groups.push(taps.f_flip(&dims)?);
    }
    masked(&geometry, &Tensor::f_cat(&groups, 0)?, corners)
}

/// A(W) as a dense float64 matrix, entry by entry from the definition.
///
/// Row `(o*H + h)*W + w` holds the coefficients of output `[o, h, w]`, in the same order of the inputs. For tests: it
/// has (C*H*W)^2 entries.
///
/// # Shapes
/// `weight` `[C, C/g, k, k]` with g = `corners.len()`; returns `[C*H*W, C*H*W]` on the CPU.
///
/// # Errors
/// See [`Geometry::check`].
pub fn dense_matrix(
    weight: &Tensor,
    corners: &[Corner],
    height: i64,
    width: i64,
) -> Result<Tensor> {
    let image = Tensor::f_zeros(
        [
            1,
            weight.size().first().copied().unwrap_or(0),
            height,
            width,
        ],
        (weight.kind(), weight.device()),
    )?;
    let geometry = Geometry::check("reference::dense_matrix", &image, weight, corners)?;
    let weight = masked(&geometry, weight, corners)?.f_to_device(Device::Cpu)?;
    let weight = Vec::<f64>::try_from(weight.f_to_kind(Kind::Double)?.f_reshape([-1])?)?;
    let (n, k) = (geometry.group_channels(), geometry.kernel);
    let size = geometry.channels * height * width;
    let mut matrix = vec![0.0; (size * size) as usize];
    for output in 0..geometry.channels {
        let group = output / n;
        let corner = corners[group as usize];
        for input in 0..n {
            for (a, b) in taps_of(k) {
                let (row, column) = corner.tap_index(k, a, b);
                let value = weight[(((output * n + input) * k + row) * k + column) as usize];
                for h in 0..height {
                    for w in 0..width {
                        let from_h = if corner.mirrors_rows() { h + a } else { h - a };
                        let from_w = if corner.mirrors_columns() {
                            w + b
                        } else {
                            w - b
                        };
                        if (0..height).contains(&from_h) && (0..width).contains(&from_w) {
                            let to = (output * height + h) * width + w;
                            let from = ((group * n + input) * height + from_h) * width + from_w;
                            matrix[(to * size + from) as usize] = value;
                        }
                    }
                }
            }
        }
    }
    Ok(Tensor::f_from_slice(&matrix)?.f_view([size, size])?)
}

/// Applies `top_left(images, taps)` to every group, after mirroring the group so that its recursion starts top left.
///
/// The adjoint walks from the opposite corner with in- and out-channels exchanged; its taps keep their places, because
/// the tap that reached the output from offset (a, b) now reaches the input from offset (-a, -b).
fn per_group(
    geometry: &Geometry,
    images: &Tensor,
    weight: &Tensor,
    corners: &[Corner],
    adjoint: bool,
    top_left: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    if geometry.height * geometry.width == 0 {
        return Ok(images.f_alias()?); // nothing to compute, and an empty plane cannot be padded and convolved
    }
    let weight = masked(geometry, weight, corners)?;
    let n = geometry.group_channels();
    let mut groups = Vec::with_capacity(corners.len());
    for (group, &corner) in (0..).zip(corners) {
        let walk = mirrored_dims(corner, adjoint);
        let images = images.f_narrow(1, group * n, n)?.f_flip(&walk)?;
        let taps = weight
            .f_narrow(0, group * n, n)?
            .f_flip(mirrored_dims(corner, false))?;
        let taps = if adjoint {
            taps.f_transpose(0, 1)?
        } else {
            taps
        };
        groups.push(top_left(&images, &taps)?.f_flip(&walk)?);
    }
    Ok(Tensor::f_cat(&groups, 1)?)
}

/// The convolution from the top left corner: `[B, n, H, W]`, taps `[n, n, k, k]`.
fn conv_top_left(x: &Tensor, taps: &Tensor) -> Result<Tensor> {
    let padded = pad_top_left(x, taps.size()[3])?;
    Ok(padded.f_conv2d(taps, None::<Tensor>, [1], [0], [1], 1)?)
}

/// Its inverse, one pixel after the other: `[B, n, H, W]`, taps `[n, n, k, k]` with a triangular anchor.
fn solve_top_left(y: &Tensor, taps: &Tensor, anchor_is_upper: bool) -> Result<Tensor> {
    let (height, width, k) = (y.size()[2], y.size()[3], taps.size()[3]);
    let tap = |a, b| taps.f_select(3, k - 1 - b)?.f_select(2, k - 1 - a);
    let anchor = tap(0, 0)?;
    let mut pixels: Vec<Tensor> = Vec::with_capacity((height * width) as usize);
    for h in 0..height {
        for w in 0..width {
            // what the pixel's earlier neighbours contribute, as rows of channels [B, n]
            let mut rest = y.f_select(3, w)?.f_select(2, h)?;
            for (a, b) in taps_of(k).filter(|&(a, b)| (a, b) != (0, 0) && a <= h && b <= w) {
                let neighbour = &pixels[((h - a) * width + (w - b)) as usize];
                rest = rest.f_sub(&neighbour.f_matmul(&tap(a, b)?.f_transpose(0, 1)?)?)?;
            }
            let columns = rest.f_transpose(0, 1)?;
            let pixel = anchor.f_linalg_solve_triangular(&columns, anchor_is_upper, true, false)?;
            pixels.push(pixel.f_transpose(0, 1)?);
        }
    }
    Ok(Tensor::f_stack(&pixels, -1)?.f_reshape(y.size())?)
}

/// The weight with zeros above the diagonal of every anchor, whatever stood there (an infinity too).
fn masked(geometry: &Geometry, weight: &Tensor, corners: &[Corner]) -> Result<Tensor> {
    let unread = geometry
        .anchor_mask(corners, Kind::Float, weight.device())?
        .f_eq(0)?;
    Ok(weight.f_masked_fill(&unread, 0)?)
}

/// k-1 rows of zeros above and k-1 columns of zeros to the left.
fn pad_top_left(x: &Tensor, kernel: i64) -> Result<Tensor> {
    Ok(x.f_constant_pad_nd([kernel - 1, 0, kernel - 1, 0])?)
}

/// The image dimensions to flip so that a recursion from `corner` (from its opposite, if `adjoint`) starts top left.
fn mirrored_dims(corner: Corner, adjoint: bool) -> Vec<i64> {
    let start = if adjoint { corner.opposite() } else { corner };
    let rows = start.mirrors_rows().then_some(2);
    let columns = start.mirrors_columns().then_some(3);
    rows.into_iter().chain(columns).collect()
}

/// The k x k tap positions in row-major order.
fn taps_of(kernel: i64) -> impl Iterator<Item = (i64, i64)> {
    (0..kernel * kernel).map(move |tap| (tap / kernel, tap % kernel))
}
