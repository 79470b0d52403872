//! An affine map per channel on the GPU: parameters, plan, launches. `kernels/actnorm.cu` explains the stages.

use super::current::launch_all;
use super::kernels::Element;
use super::launch::{div_up, Launch, MAX_GRID_X};
use super::tensors::{address, expect, workspace};
use crate::problem::ChannelForm;
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Kind, Tensor};

/// Threads of a block; twin: `kActNormThreads`.
const THREADS: i64 = 256;
/// Elements of a block in the forward direction: eight a thread, and few enough that two numbers for each fit into the
/// shared memory of every device, which images of one pixel need.
const BLOCK_ELEMENTS: i64 = 8 * THREADS;
/// Elements of a channel that one block takes in the backward direction, so that no second launch is needed at the sizes
/// of the models: a hundred samples of 16 x 16 and more.
const CHUNK_ELEMENTS: i64 = 128 * THREADS;
/// Blocks along y at most, in CUDA.
const MAX_CHUNKS: i64 = 65_535;

/// Parameters of all stages: field for field the twin of `ActNormParams` in `kernels/actnorm.cuh`, which explains them.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(missing_docs)] // in actnorm.cuh
pub struct ActNormParams {
    pub x: u64,
    pub loc: u64,
    pub log_scale: u64,
    pub value: u64,
    pub log_det: u64,
    pub value_grad: u64,
    pub log_det_grad: u64,
    pub x_grad: u64,
    pub partials: u64,
    pub loc_grad: u64,
    pub log_scale_grad: u64,
    pub samples: i64,
    pub channels: i64,
    pub pixels: i64,
    pub elements_per_block: i64,
    pub elements_per_chunk: i64,
    pub log_factor: f64,
    pub chunks: i32,
    pub loc_before: i32,
    pub loc_after: i32,
    pub unused: i32,
}

const _: () = {
    assert!(size_of::<ActNormParams>() == 152);
    assert!(offset_of!(ActNormParams, samples) == 88);
    assert!(offset_of!(ActNormParams, loc_after) == 144);
};

/// Launches of both passes, and how much memory they need.
#[derive(Debug, Clone, PartialEq)]
pub struct ActNormPlan {
    /// Value and log-det.
    pub forward: [Launch; 1],
    /// The elements' gradient with the sums of every channel or chunk; then, where there are several, their sum.
    pub backward: Vec<Launch>,
    /// Elements of `partials`, float64.
    pub partial_elements: usize,
    /// Parameters of all launches, with the pointers to be filled in.
    pub params: ActNormParams,
}

/// Plans both passes over `[samples, channels, pixels]` of dtype `kind`. Pure: it depends on the sizes alone, and so do the
/// results.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, or more elements than a grid reaches.
pub fn actnorm_plan(
    [samples, channels, pixels]: [i64; 3],
    kind: Kind,
    form: ChannelForm,
) -> Result<ActNormPlan> {
    let element = Element::of("actnorm", kind)?;
    let elements = samples * channels * pixels;
    let of_channel = samples * pixels;
    // more than MAX_CHUNKS blocks of a channel get larger chunks instead
    let elements_per_chunk = CHUNK_ELEMENTS.max(div_up(of_channel, MAX_CHUNKS));
    let chunks = div_up(of_channel, elements_per_chunk);
    let blocks = div_up(elements, BLOCK_ELEMENTS);
    if blocks > MAX_GRID_X || channels > MAX_GRID_X {
        let text =
            format!("has too many elements for one launch: [{samples}, {channels}, {pixels}]");
        return Err(Error::argument("actnorm", "x", text));
    }
    let sums = THREADS * Element::F64.bytes() as i64;
    let planes = BLOCK_ELEMENTS / pixels.max(1) + 2;
    let launch = |stage: [&'static str; 2], [x, y]: [i64; 2], shared_bytes: i64| Launch {
        image: "actnorm",
        kernel: stage[usize::from(element == Element::F64)],
        grid: [if elements == 0 { 0 } else { x as u32 }, y as u32, 1],
        block: [THREADS as u32, 1, 1],
        shared_bytes: shared_bytes as u32,
    };
    let mut backward = vec![launch(
        ["actnorm_backward_f32", "actnorm_backward_f64"],
        [channels, chunks],
        3 * sums,
    )];
    if chunks > 1 {
        let stage = ["actnorm_sum_f32", "actnorm_sum_f64"];
        backward.push(launch(stage, [channels, 1], 3 * sums));
    }
    let [loc_before, loc_after] = form.loc();
    Ok(ActNormPlan {
        forward: [launch(
            ["actnorm_apply_f32", "actnorm_apply_f64"],
            [blocks, 1],
            sums.max(2 * planes * element.bytes() as i64),
        )],
        backward,
        partial_elements: if chunks > 1 {
            (channels * chunks * 2) as usize
        } else {
            0
        },
        params: ActNormParams {
            samples,
            channels,
            pixels,
            elements_per_block: BLOCK_ELEMENTS,
            elements_per_chunk,
            log_factor: form.factor(),
            chunks: chunks as i32,
            loc_before: loc_before as i32,
            loc_after: loc_after as i32,
            ..ActNormParams::default()
        },
    })
}

/// One call on a GPU: `[samples, channels, pixels]`, and which map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActNormOnGpu {
    pub sizes: [i64; 3],
    pub form: ChannelForm,
}

impl ActNormOnGpu {
    /// The plan with the addresses of x, loc and log_scale, and the GPU. All tensors are contiguous.
    fn plan(&self, inputs: [&Tensor; 3], image: &[i64]) -> Result<(usize, ActNormPlan)> {
        let [samples, channels, pixels] = self.sizes;
        let [x, loc, log_scale] = inputs;
        let index = expect(&[(x, image), (loc, &[channels]), (log_scale, &[channels])])?;
        if x.numel() as i64 != samples * channels * pixels {
            let text = format!("expected a size of {:?}, got {image:?}", self.sizes);
            return Err(Error::Cuda(text));
        }
        let mut plan = actnorm_plan(self.sizes, x.kind(), self.form)?;
        let params = &mut plan.params;
        [params.x, params.loc, params.log_scale] = inputs.map(address);
        Ok((index, plan))
    }

    /// Value, and log-det where the form has one; nothing waits for the device.
    ///
    /// # Errors
    /// The tensors are not of the call's sizes, or the launch fails.
    pub(crate) fn forward(&self, inputs: [&Tensor; 3]) -> Result<Vec<Tensor>> {
        let x = inputs[0];
        let (index, mut plan) = self.plan(inputs, &x.size())?;
        let mut made = vec![x.f_empty_like()?];
        if self.form.has_log_det() {
            made.push(Tensor::f_empty([self.sizes[0]], (x.kind(), x.device()))?);
        }
        plan.params.value = address(&made[0]);
        plan.params.log_det = made.get(1).map_or(0, address);
        // SAFETY: the parameters of this kernel, with tensors of the plan's sizes, checked or made above; torch's allocator
        // hands their memory on in the order of this very stream.
        unsafe { launch_all(index, &plan.forward, &plan.params)? };
        Ok(made)
    }

    /// The gradients of x, loc and log_scale from those of what [`forward`](Self::forward) has made.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub(crate) fn backward(
        &self,
        inputs: [&Tensor; 3],
        incoming: &[Tensor],
    ) -> Result<[Tensor; 3]> {
        let x = inputs[0];
        let (index, mut plan) = self.plan(inputs, &x.size())?;
        let sizes = [x.size(), vec![self.sizes[0]]];
        let mut tensors = vec![(x, sizes[0].as_slice())];
        let outputs = 1 + usize::from(self.form.has_log_det());
        tensors.extend(
            incoming[..outputs]
                .iter()
                .zip(sizes.iter().map(Vec::as_slice)),
        );
        expect(&tensors)?;
        let partials = workspace(plan.partial_elements, Kind::Double, index)?;
        let made = [
            x.f_empty_like()?,
            inputs[1].f_empty_like()?,
            inputs[2].f_empty_like()?,
        ];
        let params = &mut plan.params;
        params.value_grad = address(&incoming[0]);
        params.log_det_grad = incoming.get(1).map_or(0, address);
        [params.x_grad, params.loc_grad, params.log_scale_grad] = made.each_ref().map(address);
        params.partials = partials.as_ref().map_or(0, address);
        // SAFETY: as above; the workspace's memory is handed on only after both kernels in the order of the stream.
        unsafe { launch_all(index, &plan.backward, &plan.params)? };
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sizes: [i64; 3], kind: Kind) -> ActNormPlan {
        actnorm_plan(sizes, kind, ChannelForm::Biased { factor: 3.0 }).unwrap()
    }

    #[test]
    fn every_stage_names_a_kernel_of_its_source() {
        let source = include_str!("../../kernels/actnorm.cu");
        for kind in [Kind::Float, Kind::Double] {
            let plan = plan([1000, 2, 1000], kind);
            assert_eq!(plan.backward.len(), 2);
            for launch in plan.backward.iter().chain(&plan.forward) {
                assert!(
                    source.contains(&format!(" {})", launch.kernel)),
                    "{launch:?}"
                );
                assert_eq!(launch.kernel.ends_with("f64"), kind == Kind::Double);
            }
        }
        let header = include_str!("../../kernels/actnorm.cuh");
        assert!(header.contains(&format!("kActNormThreads = {THREADS};")));
    }

    #[test]
    fn blocks_and_chunks_cover_every_element() {
        for sizes in [
            [100, 12, 256],
            [4000, 3, 1],
            [7, 5, 49],
            [100, 12, 65_536],
            [3, 1, 1 << 33],
        ] {
            let [samples, channels, pixels] = sizes;
            let plan = plan(sizes, Kind::Float);
            let params = &plan.params;
            assert!(
                i64::from(plan.forward[0].grid[0]) * params.elements_per_block
                    >= samples * channels * pixels
            );
            let [x, y, _] = plan.backward[0].grid;
            assert_eq!(i64::from(x), channels);
            assert!(i64::from(y) * params.elements_per_chunk >= samples * pixels);
            assert!((i64::from(y) - 1) * params.elements_per_chunk < samples * pixels);
            assert!(i64::from(y) <= MAX_CHUNKS);
            // two numbers for every plane that a block may touch, and no more than a block has without asking
            assert!(plan.forward[0].shared_bytes <= 48 * 1024);
            let planes = params.elements_per_block / pixels + 2;
            assert!(i64::from(plan.forward[0].shared_bytes) >= 2 * 4 * planes);
        }
    }

    #[test]
    fn the_models_need_one_launch_a_pass() {
        for sizes in [[100, 12, 256], [100, 4, 196], [100, 48, 64], [32, 12, 1024]] {
            assert_eq!(plan(sizes, Kind::Float).backward.len(), 1, "{sizes:?}");
        }
    }

    #[test]
    fn what_no_launch_can_do_is_an_error() {
        let text = actnorm_plan(
            [1 << 22, 1 << 22, 1],
            Kind::Float,
            ChannelForm::Biased { factor: 3.0 },
        );
        assert!(text.unwrap_err().to_string().contains("too many elements"));
        assert!(actnorm_plan([1, 1, 1], Kind::Half, ChannelForm::Biased { factor: 3.0 }).is_err());
        assert!(plan([0, 3, 4], Kind::Float).forward[0].is_empty());
    }
}
