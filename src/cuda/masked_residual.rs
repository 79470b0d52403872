//! What surrounds the convolutions of a masked residual block, on the GPU: parameters, plans, launches.
//! `kernels/masked_residual.cu` explains the stages.

use super::current::launch_all;
use super::kernels::Element;
use super::launch::{div_up, Launch, MAX_GRID_X};
use super::tensors::{address, expect};
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Kind, Tensor};

/// Threads of a block; twin: `kMaskedResidualThreads`.
const THREADS: i64 = 256;
/// Elements of a block of an ELU: eight a thread.
const BLOCK_ELEMENTS: i64 = 8 * THREADS;

/// Parameters of the filters' stages: field for field the twin of `ResidualFilterParams` in `kernels/masked_residual.cuh`,
/// which explains them.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // in masked_residual.cuh
pub struct ResidualFilterParams {
    pub weights: [u64; 3],
    pub t: u64,
    pub filters: [u64; 3],
    pub paths: u64,
    pub slope: u64,
    pub filter_grads: [u64; 3],
    pub paths_grad: u64,
    pub slope_grad: u64,
    pub weight_grads: [u64; 3],
    pub t_grad: u64,
    pub colours: i64,
    pub multiplicity: i64,
    pub elements: i64,
    pub lower: i32,
    pub unused: i32,
}

/// As [`ResidualFilterParams`], the twin of `EluSlopeParams`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // in masked_residual.cuh
pub struct EluSlopeParams {
    pub h: u64,
    pub value: u64,
    pub slope: u64,
    pub value_grad: u64,
    pub slope_grad: u64,
    pub h_grad: u64,
    pub samples: i64,
    pub colours: i64,
    pub multiplicity: i64,
    pub pixels: i64,
    pub elements_per_block: i64,
}

const _: () = {
    assert!(size_of::<ResidualFilterParams>() == 176);
    assert!(offset_of!(ResidualFilterParams, lower) == 168);
    assert!(size_of::<EluSlopeParams>() == 88);
    assert!(offset_of!(EluSlopeParams, elements_per_block) == 80);
};

/// Launches of both passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResidualPlan<Params> {
    /// All outputs.
    pub forward: [Launch; 1],
    /// All gradients.
    pub backward: [Launch; 1],
    /// Parameters of both launches, with the pointers to be filled in.
    pub params: Params,
}

fn plan<Params>(
    [forward, backward]: [[&'static str; 2]; 2],
    blocks: i64,
    kind: Kind,
    params: Params,
) -> Result<ResidualPlan<Params>> {
    let element = Element::of("masked_residual", kind)?;
    if blocks > MAX_GRID_X {
        let text = "has too many elements for one launch";
        return Err(Error::argument("masked_residual", "x", text));
    }
    let launch = |stage: [&'static str; 2]| Launch {
        image: "masked_residual",
        kernel: stage[usize::from(element == Element::F64)],
        grid: [blocks as u32, 1, 1],
        block: [THREADS as u32, 1, 1],
        shared_bytes: 0,
    };
    Ok(ResidualPlan {
        forward: [launch(forward)],
        backward: [launch(backward)],
        params,
    })
}

/// Plans both passes of the filters of a block for images of `elements` elements in `colours` colours, `multiplicity` hidden
/// channels each. Pure: it depends on the sizes alone, and so do the results.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, or more elements than a grid reaches.
pub fn filters_plan(
    [colours, multiplicity, elements]: [i64; 3],
    lower: bool,
    kind: Kind,
) -> Result<ResidualPlan<ResidualFilterParams>> {
    let hidden = multiplicity * colours;
    let taps = 9 * hidden * (2 * colours + hidden);
    let all = taps + hidden * multiplicity + elements;
    let params = ResidualFilterParams {
        colours,
        multiplicity,
        elements,
        lower: i32::from(lower),
        ..ResidualFilterParams::default()
    };
    let stages = [
        ["residual_filters_f32", "residual_filters_f64"],
        [
            "residual_filters_backward_f32",
            "residual_filters_backward_f64",
        ],
    ];
    plan(stages, div_up(all, THREADS), kind, params)
}

/// Plans both passes of an ELU with its slope, of `[samples, multiplicity, colours, pixels]`. Pure, as [`filters_plan`].
///
/// # Errors
/// As [`filters_plan`].
pub fn elu_plan(
    [samples, multiplicity, colours, pixels]: [i64; 4],
    kind: Kind,
) -> Result<ResidualPlan<EluSlopeParams>> {
    let params = EluSlopeParams {
        samples,
        colours,
        multiplicity,
        pixels,
        elements_per_block: BLOCK_ELEMENTS,
        ..EluSlopeParams::default()
    };
    let stages = [
        ["elu_slope_f32", "elu_slope_f64"],
        ["elu_slope_backward_f32", "elu_slope_backward_f64"],
    ];
    let elements = samples * multiplicity * colours * pixels;
    plan(stages, div_up(elements, BLOCK_ELEMENTS), kind, params)
}

/// The filters of a block on a GPU: `[colours, multiplicity, elements]`, and which triangle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FiltersOnGpu {
    pub sizes: [i64; 3],
    pub lower: bool,
}

impl FiltersOnGpu {
    /// Sizes of the three filters, of the paths, and the number of slopes.
    fn outputs(&self) -> [Vec<i64>; 4] {
        let [c, l, _] = self.sizes;
        let n = l * c;
        [[n, c, 3, 3], [n, n, 3, 3], [c, n, 3, 3]]
            .map(|size| size.to_vec())
            .into_iter()
            .chain([vec![c, l, l]])
            .collect::<Vec<_>>()
            .try_into()
            .unwrap_or_default()
    }

    /// The plan with the addresses of the three weights and of t, and the GPU. All tensors are contiguous.
    fn plan(&self, inputs: [&Tensor; 4]) -> Result<(usize, ResidualPlan<ResidualFilterParams>)> {
        let [first, second, third, _] = self.outputs();
        let t = inputs[3].size();
        let index = expect(&[
            (inputs[0], &first),
            (inputs[1], &second),
            (inputs[2], &third),
            (inputs[3], &t),
        ])?;
        if inputs[3].numel() as i64 != self.sizes[2] {
            let text = format!("expected {} slopes, got {t:?}", self.sizes[2]);
            return Err(Error::Cuda(text));
        }
        let mut plan = filters_plan(self.sizes, self.lower, inputs[0].kind())?;
        let [weights @ .., t] = inputs.map(address);
        (plan.params.weights, plan.params.t) = (weights, t);
        Ok((index, plan))
    }

    /// The filters, paths and slope; nothing waits for the device.
    ///
    /// # Errors
    /// The tensors are not of the call's sizes, or the launch fails.
    pub(crate) fn forward(&self, inputs: [&Tensor; 4]) -> Result<[Tensor; 5]> {
        let (index, mut plan) = self.plan(inputs)?;
        let options = (inputs[0].kind(), inputs[0].device());
        let [_, _, _, paths] = self.outputs();
        let made = [
            inputs[0].f_empty_like()?,
            inputs[1].f_empty_like()?,
            inputs[2].f_empty_like()?,
            Tensor::f_empty(paths, options)?,
            inputs[3].f_empty_like()?,
        ];
        let [filters @ .., paths, slope] = made.each_ref().map(address);
        let params = &mut plan.params;
        (params.filters, params.paths, params.slope) = (filters, paths, slope);
        // SAFETY: the parameters of this kernel, with tensors of the plan's sizes, checked or made above; torch's allocator
        // hands their memory on in the order of this very stream.
        unsafe { launch_all(index, &plan.forward, &plan.params)? };
        Ok(made)
    }

    /// The gradients of weights and t from those of the filters, the paths and the slope.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub(crate) fn backward(
        &self,
        inputs: [&Tensor; 4],
        incoming: [&Tensor; 5],
    ) -> Result<[Tensor; 4]> {
        let (index, mut plan) = self.plan(inputs)?;
        let [first, second, third, paths] = self.outputs();
        expect(&[
            (inputs[0], &first),
            (incoming[0], &first),
            (incoming[1], &second),
            (incoming[2], &third),
            (incoming[3], &paths),
            (incoming[4], &inputs[3].size()),
        ])?;
        let made = [
            inputs[0].f_empty_like()?,
            inputs[1].f_empty_like()?,
            inputs[2].f_empty_like()?,
            inputs[3].f_empty_like()?,
        ];
        let params = &mut plan.params;
        let [filter_grads @ .., paths_grad, slope_grad] = incoming.map(address);
        params.filter_grads = filter_grads;
        (params.paths_grad, params.slope_grad) = (paths_grad, slope_grad);
        let [weight_grads @ .., t_grad] = made.each_ref().map(address);
        (params.weight_grads, params.t_grad) = (weight_grads, t_grad);
        // SAFETY: as above.
        unsafe { launch_all(index, &plan.backward, &plan.params)? };
        Ok(made)
    }
}

/// The plan for h `[samples, multiplicity, colours, pixels]` with its address, and the GPU. h is contiguous.
fn elu(h: &Tensor, sizes: [i64; 4]) -> Result<(usize, ResidualPlan<EluSlopeParams>)> {
    let index = expect(&[(h, &h.size())])?;
    if h.numel() as i64 != sizes.iter().product::<i64>() {
        let text = format!("expected {sizes:?}, got {:?}", h.size());
        return Err(Error::Cuda(text));
    }
    let mut plan = elu_plan(sizes, h.kind())?;
    plan.params.h = address(h);
    Ok((index, plan))
}

/// ELU of h, and its slope `[colours, multiplicity, samples pixels]`; nothing waits for the device.
///
/// # Errors
/// The tensor is not of these sizes, or the launch fails.
pub(crate) fn elu_forward(h: &Tensor, sizes: [i64; 4]) -> Result<[Tensor; 2]> {
    let (index, mut plan) = elu(h, sizes)?;
    let [samples, multiplicity, colours, pixels] = sizes;
    let size = [colours, multiplicity, samples * pixels];
    let made = [
        h.f_empty_like()?,
        Tensor::f_empty(size, (h.kind(), h.device()))?,
    ];
    [plan.params.value, plan.params.slope] = made.each_ref().map(address);
    // SAFETY: as above.
    unsafe { launch_all(index, &plan.forward, &plan.params)? };
    Ok(made)
}

/// The gradient of h from those of its ELU and of the slope.
///
/// # Errors
/// As [`elu_forward`].
pub(crate) fn elu_backward(h: &Tensor, sizes: [i64; 4], incoming: [&Tensor; 2]) -> Result<Tensor> {
    let (index, mut plan) = elu(h, sizes)?;
    let [samples, multiplicity, colours, pixels] = sizes;
    expect(&[
        (h, &h.size()),
        (incoming[0], &h.size()),
        (incoming[1], &[colours, multiplicity, samples * pixels]),
    ])?;
    let made = h.f_empty_like()?;
    [plan.params.value_grad, plan.params.slope_grad] = incoming.map(address);
    plan.params.h_grad = address(&made);
    // SAFETY: as above.
    unsafe { launch_all(index, &plan.backward, &plan.params)? };
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::residual::MIN_SLOPE;

    #[test]
    fn every_stage_names_a_kernel_of_its_source_and_covers_every_element() {
        let source = include_str!("../../kernels/masked_residual.cu");
        for kind in [Kind::Float, Kind::Double] {
            let filters = filters_plan([3, 5, 192], true, kind).unwrap();
            let elu = elu_plan([7, 5, 3, 64], kind).unwrap();
            let [forward] = filters.forward;
            let all = 9 * (15 * 3 * 2 + 15 * 15) + 3 * 25 + 192;
            assert!(i64::from(forward.grid[0]) * THREADS >= all);
            let blocks = i64::from(elu.forward[0].grid[0]);
            assert!(blocks * elu.params.elements_per_block >= 7 * 5 * 3 * 64);
            let all = [filters.forward, filters.backward, elu.forward, elu.backward];
            for [launch] in all {
                assert!(
                    source.contains(&format!(" {})", launch.kernel)),
                    "{launch:?}"
                );
                assert_eq!(launch.kernel.ends_with("f64"), kind == Kind::Double);
            }
        }
        assert!(source.contains(&format!("kResidualMinSlope = {MIN_SLOPE:e};")));
        let header = include_str!("../../kernels/masked_residual.cuh");
        assert!(header.contains(&format!("kMaskedResidualThreads = {THREADS};")));
        assert!(elu_plan([1 << 50, 1, 1, 1], Kind::Float).is_err());
        assert!(elu_plan([1, 1, 1, 1], Kind::Half).is_err());
    }
}
