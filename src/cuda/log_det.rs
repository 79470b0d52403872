//! Log-determinants of small matrices on the GPU: parameters, plan, launches. `kernels/log_det.cu` explains the stages.

use super::current::launch_all;
use super::kernels::Element;
use super::launch::Launch;
use super::tensors::{address, expect};
use crate::problem::log_det::{MatrixSizes, MAX_ELEMENTS};
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Kind, Tensor};

/// Threads of a matrix; twin: `kLogDetThreads`.
const THREADS: i64 = 128;
/// Matrices of a launch; twin: `kLogDetMatrices`.
pub const MATRICES: usize = 4;

/// One matrix: field for field the twin of `LogDetMatrix` in `kernels/log_det.cuh`, which explains it.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(missing_docs)] // in log_det.cuh
pub struct LogDetMatrix {
    pub u: u64,
    pub v: u64,
    pub u_grad: u64,
    pub v_grad: u64,
    pub copies: f64,
    pub length: i64,
    pub order: i32,
    pub first: i32,
}

/// The twin of `LogDetParams` in `kernels/log_det.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(missing_docs)] // in log_det.cuh
pub struct LogDetParams {
    pub matrices: [LogDetMatrix; MATRICES],
    pub log_det: u64,
    pub log_det_grad: u64,
    pub samples: i64,
    pub count: i32,
    pub elements: i32,
}

const _: () = {
    assert!(size_of::<LogDetMatrix>() == 56);
    assert!(offset_of!(LogDetMatrix, first) == 52);
    assert!(size_of::<LogDetParams>() == 256);
    assert!(offset_of!(LogDetParams, elements) == 252);
};

/// Launches of both passes.
#[derive(Debug, Clone, PartialEq)]
pub struct LogDetPlan {
    /// The log-det.
    pub forward: [Launch; 1],
    /// All gradients.
    pub backward: [Launch; 1],
    /// Parameters of both launches, with the pointers to be filled in.
    pub params: LogDetParams,
}

/// Plans both passes for a batch of `samples` and dtype `kind`. Pure: it depends on the sizes alone, and so do the results.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, and for matrices that do not fit into a block.
pub fn log_det_plan(matrices: &[MatrixSizes], samples: i64, kind: Kind) -> Result<LogDetPlan> {
    let element = Element::of("log_det", kind)?;
    let mut params = LogDetParams {
        samples,
        count: matrices.len() as i32,
        ..LogDetParams::default()
    };
    let mut elements = 0;
    for (place, matrix) in params.matrices.iter_mut().zip(matrices) {
        place.copies = matrix.copies;
        place.length = matrix.length.unwrap_or(matrix.order);
        (place.order, place.first) = (matrix.order as i32, elements as i32);
        elements += matrix.order * matrix.order;
    }
    if matrices.is_empty() || matrices.len() > MATRICES || elements > MAX_ELEMENTS {
        let text = format!(
            "must be 1 to {MATRICES} with {MAX_ELEMENTS} elements at most, got {matrices:?}"
        );
        return Err(Error::argument("log_det", "matrices", text));
    }
    params.elements = elements as i32;
    let count = matrices.len() as i64;
    let bytes = (elements + count * THREADS) * 8 + elements * 4;
    let launch = |stage: [&'static str; 2]| Launch {
        image: "log_det",
        kernel: stage[usize::from(element == Element::F64)],
        grid: [1, 1, 1],
        block: [THREADS as u32, count as u32, 1],
        shared_bytes: bytes as u32,
    };
    Ok(LogDetPlan {
        forward: [launch(["log_det_sum_f32", "log_det_sum_f64"])],
        backward: [launch(["log_det_backward_f32", "log_det_backward_f64"])],
        params,
    })
}

/// One call on a GPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogDetOnGpu<'a> {
    pub matrices: &'a [MatrixSizes],
    pub samples: i64,
}

/// The tensors of one matrix: U and V, or the matrix alone.
pub(crate) fn tensors_of(matrix: &MatrixSizes) -> usize {
    1 + usize::from(matrix.length.is_some())
}

impl LogDetOnGpu<'_> {
    /// The plan with the addresses of all inputs, and the GPU. All tensors are contiguous.
    fn plan(&self, inputs: &[Tensor]) -> Result<(usize, LogDetPlan)> {
        let mut sizes = Vec::new();
        for matrix in self.matrices {
            match matrix.length {
                None => sizes.push([matrix.order, matrix.order]),
                Some(length) => sizes.extend([[length, matrix.order], [matrix.order, length]]),
            }
        }
        if inputs.len() != sizes.len() {
            let text = format!("expected {} matrices, got {}", sizes.len(), inputs.len());
            return Err(Error::Cuda(text));
        }
        let sized = sizes.iter().map(<[i64; 2]>::as_slice);
        let index = expect(&inputs.iter().zip(sized).collect::<Vec<_>>())?;
        let mut plan = log_det_plan(self.matrices, self.samples, inputs[0].kind())?;
        let mut inputs = inputs.iter();
        for (place, matrix) in plan.params.matrices.iter_mut().zip(self.matrices) {
            place.u = inputs.next().map_or(0, address);
            if matrix.length.is_some() {
                place.v = inputs.next().map_or(0, address);
            }
        }
        Ok((index, plan))
    }

    /// The log-det of every sample; nothing waits for the device.
    ///
    /// # Errors
    /// The tensors are not of the call's sizes, or the launch fails.
    pub(crate) fn forward(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let (index, mut plan) = self.plan(inputs)?;
        let log_det = Tensor::f_empty([self.samples], (inputs[0].kind(), inputs[0].device()))?;
        plan.params.log_det = address(&log_det);
        // SAFETY: the parameters of this kernel, with tensors of the plan's sizes, checked or made above; torch's allocator
        // hands their memory on in the order of this very stream.
        unsafe { launch_all(index, &plan.forward, &plan.params)? };
        Ok(log_det)
    }

    /// The gradients of all inputs from that of the log-det.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub(crate) fn backward(&self, inputs: &[Tensor], incoming: &Tensor) -> Result<Vec<Tensor>> {
        let (index, mut plan) = self.plan(inputs)?;
        expect(&[(&inputs[0], &inputs[0].size()), (incoming, &[self.samples])])?;
        let made = inputs.iter().map(Tensor::f_empty_like);
        let made = made.collect::<std::result::Result<Vec<_>, _>>()?;
        plan.params.log_det_grad = address(incoming);
        let mut grads = made.iter();
        for (place, matrix) in plan.params.matrices.iter_mut().zip(self.matrices) {
            place.u_grad = grads.next().map_or(0, address);
            if matrix.length.is_some() {
                place.v_grad = grads.next().map_or(0, address);
            }
        }
        // SAFETY: as above.
        unsafe { launch_all(index, &plan.backward, &plan.params)? };
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(order: i64) -> MatrixSizes {
        MatrixSizes {
            order,
            length: None,
            copies: 1.0,
        }
    }

    #[test]
    fn every_stage_names_a_kernel_of_its_source() {
        let source = include_str!("../../kernels/log_det.cu");
        for kind in [Kind::Float, Kind::Double] {
            let plan = log_det_plan(&[square(3)], 2, kind).unwrap();
            for launch in plan.forward.iter().chain(&plan.backward) {
                assert!(
                    source.contains(&format!(" {})", launch.kernel)),
                    "{launch:?}"
                );
                assert_eq!(launch.kernel.ends_with("f64"), kind == Kind::Double);
            }
        }
        let header = include_str!("../../kernels/log_det.cuh");
        assert!(header.contains(&format!("kLogDetThreads = {THREADS};")));
        assert!(header.contains(&format!("kLogDetMatrices = {MATRICES};")));
    }

    #[test]
    fn matrices_lie_side_by_side_in_what_a_block_has_without_asking() {
        let plan = log_det_plan(&[square(48), square(16), square(30)], 2, Kind::Float).unwrap();
        let firsts = plan.params.matrices.map(|matrix| matrix.first);
        assert_eq!(firsts, [0, 2304, 2560, 0]);
        assert_eq!(plan.params.elements, 3460);
        assert_eq!(plan.forward[0].block, [128, 3, 1]);
        let largest = log_det_plan(&[square(1); MATRICES], 2, Kind::Float).unwrap();
        for plan in [plan, largest] {
            assert!(plan.forward[0].shared_bytes <= 48 * 1024);
        }
    }

    #[test]
    fn what_no_launch_can_do_is_an_error() {
        for matrices in [vec![], vec![square(2); MATRICES + 1], vec![square(60)]] {
            let err = log_det_plan(&matrices, 2, Kind::Float).unwrap_err();
            assert!(err.to_string().contains("1 to 4"), "{err}");
        }
        assert!(log_det_plan(&[square(2)], 2, Kind::Half).is_err());
    }
}
