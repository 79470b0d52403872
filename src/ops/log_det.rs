//! Log-determinants of small matrices for every sample of a batch, as one pass forward and one backward.

use super::fused::{has_kernels, run, take, FusedOp};
use crate::cuda::log_det::{tensors_of, LogDetOnGpu, MATRICES};
use crate::ops::vector::Real;
use crate::problem::log_det::MAX_ELEMENTS;
use crate::words::{device, dtype};
use crate::{Error, Result};
use tch::{Kind, Tensor};

pub use crate::problem::log_det::MatrixSizes;

/// A square matrix.
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// `[d, d]`
    Full(&'a Tensor),
    /// `I + V U` with U `[P, d]` and V `[d, P]`, which has the determinant of `I + U V`.
    Update(&'a Tensor, &'a Tensor),
}

/// The definition in plain tensor operations: the twin of the kernels.
pub mod reference {
    use super::{check, Matrix};
    use crate::Result;
    use tch::{Kind, Tensor};

    /// As [`super::log_det`].
    ///
    /// # Errors
    /// As [`super::log_det`].
    pub fn log_det(matrices: &[(Matrix<'_>, f64)], samples: i64) -> Result<Tensor> {
        check(matrices)?;
        let mut total: Option<Tensor> = None;
        let mut kind = Kind::Double;
        for (matrix, copies) in matrices {
            let (of, exact) = match matrix {
                Matrix::Full(matrix) => (matrix, matrix.f_to_kind(Kind::Double)?),
                Matrix::Update(u, v) => {
                    let (u64, v64) = (u.f_to_kind(Kind::Double)?, v.f_to_kind(Kind::Double)?);
                    let one = Tensor::f_eye(v.size()[0], (Kind::Double, v.device()))?;
                    (u, one.f_addmm(&v64, &u64)?)
                }
            };
            kind = of.kind();
            let part = exact.f_slogdet()?.1.f_mul_scalar(*copies)?;
            total = Some(match total {
                None => part,
                Some(total) => total.f_add(&part)?,
            });
        }
        let total = total.unwrap_or_default();
        Ok(total.f_to_kind(kind)?.f_expand([samples], false)?)
    }
}

/// The sum of `copies log|det|` over the matrices, for each of `samples` samples, computed in float64.
///
/// # Shapes
/// One to four matrices → `[samples]`. float32 or float64; any strides.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@reference`]. A singular matrix has the log-det `-inf` and no finite gradient.
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
pub fn log_det(matrices: &[(Matrix<'_>, f64)], samples: i64) -> Result<Tensor> {
    let sizes = check(matrices)?;
    let mut inputs = Vec::new();
    for (matrix, _) in matrices {
        match matrix {
            Matrix::Full(matrix) => inputs.push(*matrix),
            Matrix::Update(u, v) => inputs.extend([*u, *v]),
        }
    }
    let call = LogDetCall {
        matrices: sizes,
        samples,
    };
    let [log_det] = take(run(call, &inputs)?);
    Ok(log_det)
}

fn check(matrices: &[(Matrix<'_>, f64)]) -> Result<Vec<MatrixSizes>> {
    let wrong = |text: String| Err(Error::argument("log_det", "matrices", text));
    let mut sizes = Vec::with_capacity(matrices.len());
    let mut facts = None;
    for (matrix, copies) in matrices {
        let (u, v, fits) = match matrix {
            Matrix::Full(u) => {
                let size = u.size();
                (u, None, size.len() == 2 && size[0] == size[1])
            }
            Matrix::Update(u, v) => {
                let mut turned = v.size();
                turned.reverse();
                (u, Some(v), turned.len() == 2 && u.size() == turned)
            }
        };
        let tensors = [Some(u), v].into_iter().flatten();
        for tensor in tensors {
            let (kind, on) = (tensor.kind(), tensor.device());
            let alike = facts.is_none_or(|facts| facts == (kind, on));
            facts = Some((kind, on));
            if !fits || !alike || !matches!(kind, Kind::Float | Kind::Double) {
                return wrong(format!(
                    "must be [d, d], or [P, d] and [d, P], float32 or float64, all alike, got {:?} {} on {}",
                    tensor.size(),
                    dtype(kind),
                    device(on)
                ));
            }
        }
        sizes.push(MatrixSizes {
            order: u.size()[1],
            length: v.map(|_| u.size()[0]),
            copies: *copies,
        });
    }
    if sizes.is_empty() || sizes.len() > MATRICES {
        return wrong(format!("must be 1 to {MATRICES}, got {}", sizes.len()));
    }
    Ok(sizes)
}

/// One call. With `g` the sum of the incoming gradients times `copies`, and M the matrix,
///
/// ```text
/// Full:    dM = g M^-T
/// Update:  dU = g (M^-1 V)^T,   dV = g (U M^-1)^T        M = I + V U
/// ```
struct LogDetCall {
    matrices: Vec<MatrixSizes>,
    samples: i64,
}

/// A matrix in double precision, row by row.
fn dense<T: Real>(matrix: &MatrixSizes, tensors: &[&[T]]) -> Vec<f64> {
    let order = matrix.order as usize;
    let Some(length) = matrix.length else {
        return tensors[0].iter().map(|entry| entry.to_f64()).collect();
    };
    let (u, v) = (tensors[0], tensors[1]);
    let mut dense = vec![0.0; order * order];
    for row in 0..order {
        let entries = &mut dense[row * order..][..order];
        entries[row] = 1.0;
        for p in 0..length as usize {
            let factor = v[row * length as usize + p].to_f64();
            for (entry, u) in entries.iter_mut().zip(&u[p * order..]) {
                *entry += factor * u.to_f64();
            }
        }
    }
    dense
}

/// Inverts in place by Gauss and Jordan's elimination with row pivots; returns `log|det|`.
fn invert(matrix: &mut [f64], order: usize) -> f64 {
    let mut log_det = 0.0;
    let mut pivots = vec![0; order];
    let mut pivot_row = vec![0.0; order];
    for k in 0..order {
        let size = |row: usize| matrix[row * order + k].abs();
        let largest = (k..order).fold(
            k,
            |best, row| if size(row) > size(best) { row } else { best },
        );
        pivots[k] = largest;
        let pivot = matrix[largest * order + k];
        log_det += pivot.abs().ln();
        for j in 0..order {
            matrix.swap(k * order + j, largest * order + j);
            matrix[k * order + j] /= pivot;
        }
        matrix[k * order + k] = 1.0 / pivot;
        pivot_row.copy_from_slice(&matrix[k * order..][..order]);
        for (row, entries) in matrix.chunks_exact_mut(order).enumerate() {
            if row != k {
                let factor = entries[k];
                entries[k] = 0.0;
                for (entry, above) in entries.iter_mut().zip(&pivot_row) {
                    *entry -= factor * above;
                }
            }
        }
    }
    for k in (0..order).rev().filter(|&k| pivots[k] != k) {
        for entries in matrix.chunks_exact_mut(order) {
            entries.swap(k, pivots[k]);
        }
    }
    log_det
}

impl LogDetCall {
    fn on_gpu(&self) -> LogDetOnGpu<'_> {
        LogDetOnGpu {
            matrices: &self.matrices,
            samples: self.samples,
        }
    }
}

impl FusedOp for LogDetCall {
    const NAME: &'static str = "log_det";

    fn takes(&self, x: &Tensor) -> bool {
        let elements = self.matrices.iter().map(|matrix| matrix.order.pow(2));
        has_kernels(x) && elements.sum::<i64>() <= MAX_ELEMENTS
    }

    fn output_sizes(&self, _inputs: &[Tensor]) -> Vec<Vec<i64>> {
        vec![vec![self.samples]]
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let mut inputs = inputs.iter();
        let mut matrices = Vec::with_capacity(self.matrices.len());
        for matrix in &self.matrices {
            let tensors: Vec<_> = inputs.by_ref().take(tensors_of(matrix)).collect();
            let of = match tensors[..] {
                [u, v] => Matrix::Update(u, v),
                _ => Matrix::Full(tensors[0]),
            };
            matrices.push((of, matrix.copies));
        }
        Ok(vec![reference::log_det(&matrices, self.samples)?])
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let [log_det] = take(outputs);
        let mut rest = inputs;
        let mut total = 0.0;
        for matrix in &self.matrices {
            let tensors;
            (tensors, rest) = rest.split_at(tensors_of(matrix));
            let mut dense = dense(matrix, tensors);
            total += matrix.copies * invert(&mut dense, matrix.order as usize);
        }
        log_det.fill(T::from_f64(total));
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let [log_det_grad] = take(grads.iter().copied());
        let sum: f64 = log_det_grad.iter().map(|grad| grad.to_f64()).sum();
        let mut rest = saved;
        let mut made = input_grads.into_iter();
        for matrix in &self.matrices {
            let tensors;
            (tensors, rest) = rest.split_at(tensors_of(matrix));
            let order = matrix.order as usize;
            let mut inverse = dense(matrix, tensors);
            invert(&mut inverse, order);
            let grad = matrix.copies * sum;
            let Some(length) = matrix.length else {
                let [of_matrix] = take(made.by_ref().take(1));
                for (index, entry) in of_matrix.iter_mut().enumerate() {
                    let (row, column) = (index / order, index % order);
                    *entry = T::from_f64(grad * inverse[column * order + row]);
                }
                continue;
            };
            let ([u, v], length) = (take(tensors.iter().copied()), length as usize);
            let [of_u, of_v] = take(made.by_ref().take(2));
            for p in 0..length {
                for i in 0..order {
                    let (mut by_v, mut by_u) = (0.0, 0.0);
                    for j in 0..order {
                        by_v += inverse[i * order + j] * v[j * length + p].to_f64();
                        by_u += u[p * order + j].to_f64() * inverse[j * order + i];
                    }
                    of_u[p * order + i] = T::from_f64(grad * by_v);
                    of_v[i * length + p] = T::from_f64(grad * by_u);
                }
            }
        }
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![self.on_gpu().forward(inputs)?])
    }

    fn backward_on_gpu(&self, saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        self.on_gpu().backward(saved, &grads[0])
    }
}
