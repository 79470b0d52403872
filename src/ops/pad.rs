//! Zeros around images, or lines cut off, each side by itself.

use super::fused::{has_kernels, run, take, FusedOp};
use crate::cuda::pad as gpu;
use crate::ffi::threads::parallel_chunks;
use crate::ops::vector::Real;
use crate::words::dtype;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The definition in plain tensor operations: the twin of the kernels.
pub mod reference {
    use super::check;
    use crate::Result;
    use tch::Tensor;

    /// As [`super::pad`].
    ///
    /// # Errors
    /// As [`super::pad`].
    pub fn pad(x: &Tensor, by: [i64; 4]) -> Result<Tensor> {
        check(x, by)?;
        Ok(x.f_constant_pad_nd(by)?)
    }
}

/// The images of `x` with `by` = `[left, right, top, bottom]` columns and rows of zeros more on each side; where a number is
/// negative, as many are cut off.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H + top + bottom, W + left + right]`. float32 or float64; any strides.
///
/// # Gradients
/// Exact, of any order: that of a pad is the pad that undoes it.
///
/// # Errors
/// A shape or a dtype of another kind; more cut off than there is.
pub fn pad(x: &Tensor, by: [i64; 4]) -> Result<Tensor> {
    let size = check(x, by)?;
    let [y] = take(run(PadCall { size, by }, &[x])?);
    Ok(y)
}

fn check(x: &Tensor, by: [i64; 4]) -> Result<[i64; 4]> {
    let wrong = |text: String| Err(Error::argument("pad", "x", text));
    let size = x.size();
    let size = match <[i64; 4]>::try_from(size.as_slice()) {
        Ok(size) if matches!(x.kind(), Kind::Float | Kind::Double) => size,
        _ => {
            let text = format!(
                "must be [N, C, H, W], float32 or float64, got {size:?} {}",
                dtype(x.kind())
            );
            return wrong(text);
        }
    };
    let [left, right, top, bottom] = by;
    let sides = [(size[2], top, bottom), (size[3], left, right)];
    let fits = |&(length, a, b): &(i64, i64, i64)| length + a.min(0) + b.min(0) >= 0;
    if sides.iter().all(fits) {
        return Ok(size);
    }
    wrong(format!("of {size:?} cannot lose as much as {by:?}"))
}

/// One call: `y[.., h, w] = x[.., h - top, w - left]`, 0 outside of x; `dx` is `dy` padded by the negatives.
struct PadCall {
    size: [i64; 4],
    by: [i64; 4],
}

impl PadCall {
    fn out_size(&self) -> [i64; 4] {
        let ([n, c, h, w], [left, right, top, bottom]) = (self.size, self.by);
        [n, c, h + top + bottom, w + left + right]
    }
}

/// Pads planes of `[height, width]` from `x` to planes of `[out_height, out_width]`.
fn planes<T: Real>(
    x: &[T],
    [height, width]: [i64; 2],
    y: &mut [T],
    [out_height, out_width]: [i64; 2],
    [left, top]: [i64; 2],
) {
    // the columns of a row that both have, in each of them
    let from = (-left).max(0) as usize;
    let to = left.max(0) as usize;
    let shared = ((width - from as i64).min(out_width - to as i64)).max(0) as usize;
    let plane = (out_height * out_width) as usize;
    parallel_chunks(y, plane.max(1), |index, y| {
        for (row, y) in (0..).zip(y.chunks_exact_mut(out_width.max(1) as usize)) {
            y.fill(T::default());
            let source = row - top;
            if (0..height).contains(&source) && shared > 0 {
                let first = (index as i64 * height + source) as usize * width as usize + from;
                y[to..to + shared].copy_from_slice(&x[first..first + shared]);
            }
        }
    });
}

impl FusedOp for PadCall {
    const NAME: &'static str = "pad";

    fn takes(&self, x: &Tensor) -> bool {
        has_kernels(x) && self.out_size().iter().all(|&size| size > 0)
    }

    fn output_sizes(&self, _inputs: &[Tensor]) -> Vec<Vec<i64>> {
        vec![self.out_size().to_vec()]
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![reference::pad(inputs[0], self.by)?])
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let ([x], [y]) = (take(inputs.iter().copied()), take(outputs));
        let ([_, _, h, w], [_, _, out_h, out_w]) = (self.size, self.out_size());
        planes(x, [h, w], y, [out_h, out_w], [self.by[0], self.by[2]]);
    }

    fn backward<T: Real>(&self, _saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let ([y_grad], [x_grad]) = (take(grads.iter().copied()), take(input_grads));
        let ([_, _, h, w], [_, _, out_h, out_w]) = (self.size, self.out_size());
        let [left, _, top, _] = self.by;
        planes(y_grad, [out_h, out_w], x_grad, [h, w], [-left, -top]);
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![gpu::pad(&inputs[0], self.by)?])
    }

    fn backward_on_gpu(&self, _saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![gpu::pad(&grads[0], self.by.map(|side| -side))?])
    }
}
