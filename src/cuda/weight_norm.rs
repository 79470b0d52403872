//! Weight-normalised filters on the GPU: parameters, plan, launches. `kernels/weight_norm.cu` explains the stages.

use super::current::launch_all;
use super::kernels::Element;
use super::launch::{Launch, MAX_GRID_X};
use super::tensors::{address, expect};
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Kind, Tensor};

/// Threads of a block; twin: `kWeightNormThreads`.
const THREADS: i64 = 128;
/// Filters of a launch; twin: `kWeightNormFilters`.
pub const FILTERS: usize = 4;

/// One filter: field for field the twin of `WeightNormFilter` in `kernels/weight_norm.cuh`, which explains it.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // in weight_norm.cuh
pub struct WeightNormFilter {
    pub direction: u64,
    pub gain: u64,
    pub weight: u64,
    pub weight_grad: u64,
    pub direction_grad: u64,
    pub gain_grad: u64,
    pub columns: i64,
    pub end: i64,
}

/// The twin of `WeightNormParams` in `kernels/weight_norm.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // in weight_norm.cuh
pub struct WeightNormParams {
    pub filters: [WeightNormFilter; FILTERS],
}

const _: () = {
    assert!(size_of::<WeightNormFilter>() == 64);
    assert!(offset_of!(WeightNormFilter, end) == 56);
    assert!(size_of::<WeightNormParams>() == 256);
};

/// Launches of both passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightNormPlan {
    /// The filters.
    pub forward: [Launch; 1],
    /// All gradients.
    pub backward: [Launch; 1],
    /// Parameters of both launches, with the pointers to be filled in.
    pub params: WeightNormParams,
}

/// Plans both passes over filters of `[rows, columns]` and dtype `kind`. Pure: it depends on the sizes alone, and so do the
/// results.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, no filter or more than [`FILTERS`], or more rows than a grid reaches.
pub fn weight_norm_plan(sizes: &[[i64; 2]], kind: Kind) -> Result<WeightNormPlan> {
    let element = Element::of("weight_norm", kind)?;
    let mut params = WeightNormParams::default();
    let mut rows = 0;
    for (filter, [more, columns]) in params.filters.iter_mut().zip(sizes) {
        rows += more;
        filter.columns = *columns;
        filter.end = rows;
    }
    if sizes.is_empty() || sizes.len() > FILTERS || rows > MAX_GRID_X {
        let text = format!("must be 1 to {FILTERS} filters for one launch, got {sizes:?}");
        return Err(Error::argument("weight_norm", "direction", text));
    }
    // the blocks end at the last filter's
    for filter in &mut params.filters[sizes.len()..] {
        filter.end = rows;
    }
    let launch = |stage: [&'static str; 2], sums: i64| Launch {
        image: "weight_norm",
        kernel: stage[usize::from(element == Element::F64)],
        grid: [rows as u32, 1, 1],
        block: [THREADS as u32, 1, 1],
        shared_bytes: (sums * THREADS * Element::F64.bytes() as i64) as u32,
    };
    Ok(WeightNormPlan {
        forward: [launch(
            ["weight_norm_apply_f32", "weight_norm_apply_f64"],
            1,
        )],
        backward: [launch(
            ["weight_norm_backward_f32", "weight_norm_backward_f64"],
            2,
        )],
        params,
    })
}

/// The plan for pairs of direction and gain with their addresses, and the GPU. All tensors are contiguous.
fn plan(pairs: &[Tensor]) -> Result<(usize, WeightNormPlan)> {
    let mut sizes = Vec::new();
    let mut tensors = Vec::new();
    let all: Vec<_> = pairs.iter().map(Tensor::size).collect();
    for (pair, size) in pairs.chunks_exact(2).zip(all.chunks_exact(2)) {
        let rows = size[0].first().copied().unwrap_or(0);
        if pair[1].numel() as i64 != rows {
            let text = format!("expected a gain for each of {size:?}");
            return Err(Error::Cuda(text));
        }
        sizes.push([rows, size[0][1..].iter().product()]);
    }
    tensors.extend(pairs.iter().zip(all.iter().map(Vec::as_slice)));
    let index = expect(&tensors)?;
    let mut plan = weight_norm_plan(&sizes, pairs[0].kind())?;
    for (filter, pair) in plan.params.filters.iter_mut().zip(pairs.chunks_exact(2)) {
        (filter.direction, filter.gain) = (address(&pair[0]), address(&pair[1]));
    }
    Ok((index, plan))
}

/// The filters of pairs of direction and gain; nothing waits for the device.
///
/// # Errors
/// The tensors do not fit together, or the launch fails.
pub(crate) fn forward(pairs: &[Tensor]) -> Result<Vec<Tensor>> {
    let (index, mut plan) = plan(pairs)?;
    let directions = pairs.iter().step_by(2);
    let made = directions.map(Tensor::f_empty_like);
    let made = made.collect::<std::result::Result<Vec<_>, _>>()?;
    for (filter, weight) in plan.params.filters.iter_mut().zip(&made) {
        filter.weight = address(weight);
    }
    // SAFETY: the parameters of this kernel, with tensors of the plan's sizes, checked or made above; torch's allocator hands
    // their memory on in the order of this very stream.
    unsafe { launch_all(index, &plan.forward, &plan.params)? };
    Ok(made)
}

/// The gradients of all directions and gains from those of the filters.
///
/// # Errors
/// As [`forward`].
pub(crate) fn backward(pairs: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
    let (index, mut plan) = plan(pairs)?;
    let sizes: Vec<_> = pairs.iter().step_by(2).map(Tensor::size).collect();
    let mut tensors = vec![(&pairs[0], sizes[0].as_slice())];
    tensors.extend(grads.iter().zip(sizes.iter().map(Vec::as_slice)));
    expect(&tensors)?;
    let made = pairs.iter().map(Tensor::f_empty_like);
    let made = made.collect::<std::result::Result<Vec<_>, _>>()?;
    let filters = plan.params.filters.iter_mut().zip(grads);
    for ((filter, grad), made) in filters.zip(made.chunks_exact(2)) {
        filter.weight_grad = address(grad);
        (filter.direction_grad, filter.gain_grad) = (address(&made[0]), address(&made[1]));
    }
    // SAFETY: as above.
    unsafe { launch_all(index, &plan.backward, &plan.params)? };
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_names_a_kernel_of_its_source() {
        let source = include_str!("../../kernels/weight_norm.cu");
        for kind in [Kind::Float, Kind::Double] {
            let plan = weight_norm_plan(&[[3, 5]], kind).unwrap();
            for launch in plan.forward.iter().chain(&plan.backward) {
                assert!(source.contains(launch.kernel), "{launch:?}");
                assert_eq!(launch.kernel.ends_with("f64"), kind == Kind::Double);
            }
        }
        let header = include_str!("../../kernels/weight_norm.cuh");
        assert!(header.contains(&format!("kWeightNormThreads = {THREADS};")));
        assert!(header.contains(&format!("kWeightNormFilters = {FILTERS};")));
    }

    #[test]
    fn every_row_has_a_block() {
        let plan = weight_norm_plan(&[[3, 5], [0, 7], [4, 9]], Kind::Float).unwrap();
        assert_eq!(plan.forward[0].grid, [7, 1, 1]);
        assert_eq!(plan.params.filters.map(|filter| filter.end), [3, 3, 7, 7]);
        assert_eq!(
            plan.params.filters.map(|filter| filter.columns),
            [5, 7, 9, 0]
        );
    }

    #[test]
    fn what_no_launch_can_do_is_an_error() {
        for sizes in [
            vec![],
            vec![[1, 1]; FILTERS + 1],
            vec![[1 << 30, 1], [1 << 30, 1]],
        ] {
            let err = weight_norm_plan(&sizes, Kind::Float).unwrap_err();
            assert!(err.to_string().contains("1 to 4 filters"), "{err}");
        }
        assert!(weight_norm_plan(&[[1, 1]], Kind::Half).is_err());
    }
}
