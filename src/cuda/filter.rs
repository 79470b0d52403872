//! Effective filters on the GPU, those of many layers in one launch: parameters, plan, launches.
//! `kernels/inv_conv_filter.cu` explains the stages.

use super::current::launch_all;
use super::kernels::Element;
use super::launch::{Launch, MAX_GRID_X};
use super::tensors::{address, expect};
use crate::words::counted;
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Device, Kind, Tensor};

/// Threads of a block; twin: `kFilterThreads`.
const THREADS: i64 = 128;
/// Layers of one launch; twin: `kFilterLayers`.
pub const MAX_LAYERS: usize = 42;

/// One layer: field for field the twin of `FilterLayer` in `kernels/inv_conv_filter.cuh`, which explains it.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(missing_docs)] // in inv_conv_filter.cuh
pub struct FilterLayer {
    pub theta: u64,
    pub diagonal: u64,
    pub weight: u64,
    pub log_diagonal: u64,
    pub weight_grad: u64,
    pub log_diagonal_grad: u64,
    pub theta_grad: u64,
    pub bound: f64,
    pub first_block: i32,
    pub channels: i32,
    pub inputs: i32,
    pub taps: i32,
    pub learnable: i32,
    pub reserved: i32,
}

/// Parameters of both passes: the twin of `FilterParams`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // in inv_conv_filter.cuh
pub struct FilterParams {
    pub layers: [FilterLayer; MAX_LAYERS],
    pub count: i32,
    pub reserved: i32,
}

const _: () = {
    assert!(size_of::<FilterLayer>() == 88);
    assert!(offset_of!(FilterLayer, bound) == 56);
    assert!(offset_of!(FilterLayer, learnable) == 80);
    assert!(size_of::<FilterParams>() == 3704);
    assert!(offset_of!(FilterParams, count) == 3696);
};

/// What a plan needs to know about a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FilterSizes {
    /// C, channels of a group, and k.
    pub sizes: [i64; 3],
    /// Whether the diagonal is a parameter.
    pub learnable: bool,
    /// The bound on the other taps.
    pub bound: Option<f64>,
}

/// A launch for some layers, one of at most [`MAX_LAYERS`].
#[derive(Debug, Clone, PartialEq)]
pub struct FilterPlan {
    /// The launch.
    pub launch: Launch,
    /// Its parameters, with the pointers to be filled in.
    pub params: FilterParams,
}

/// Which pass a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Filters and log-determinants of the diagonals.
    Forward,
    /// Gradients of theta.
    Backward,
}

/// Plans a pass over the filters of dtype `kind`: [`MAX_LAYERS`] layers a launch, in their order. Pure.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, or filters beyond 32-bit indexing.
pub fn filter_plans(layers: &[FilterSizes], kind: Kind, pass: Pass) -> Result<Vec<FilterPlan>> {
    let element = Element::of("effective_filters", kind)?;
    let names = match pass {
        Pass::Forward => ["inv_conv_filter_f32", "inv_conv_filter_f64"],
        Pass::Backward => [
            "inv_conv_filter_backward_f32",
            "inv_conv_filter_backward_f64",
        ],
    };
    let plan = |layers: &[FilterSizes]| {
        let mut params = FilterParams {
            layers: [FilterLayer::default(); MAX_LAYERS],
            count: layers.len() as i32,
            reserved: 0,
        };
        let mut blocks = 0;
        for (layer, of) in params.layers.iter_mut().zip(layers) {
            let [channels, inputs, kernel] = of.sizes;
            let elements = channels
                .checked_mul(inputs)
                .and_then(|n| n.checked_mul(kernel * kernel));
            let first_block = blocks;
            let of_diagonal = pass == Pass::Forward && of.learnable;
            blocks += channels + i64::from(of_diagonal);
            if elements.is_none_or(|n| n > i64::from(i32::MAX)) || blocks > MAX_GRID_X {
                return Err(Error::argument(
                    "effective_filters",
                    "theta",
                    format!(
                        "must have at most 2^31 - 1 elements on CUDA, got {:?}",
                        [channels, inputs, kernel, kernel]
                    ),
                ));
            }
            *layer = FilterLayer {
                bound: of.bound.unwrap_or(0.0),
                first_block: first_block as i32,
                channels: channels as i32,
                inputs: inputs as i32,
                taps: (kernel * kernel) as i32,
                learnable: of.learnable.into(),
                ..FilterLayer::default()
            };
        }
        Ok(FilterPlan {
            launch: Launch {
                image: "inv_conv_filter",
                kernel: names[usize::from(element == Element::F64)],
                grid: [blocks as u32, 1, 1],
                block: [THREADS as u32, 1, 1],
                // two sums
                shared_bytes: 2 * THREADS as u32 * Element::F64.bytes() as u32,
            },
            params,
        })
    };
    layers.chunks(MAX_LAYERS).map(plan).collect()
}

/// One layer on a GPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilterOnGpu<'a> {
    /// What the plan needs to know.
    pub sizes: FilterSizes,
    /// `[C, n, k, k]`.
    pub theta: &'a Tensor,
    /// `[C]`, int32: where in a channel's filter its own element is.
    pub diagonal: &'a Tensor,
}

/// Checks the tensors of the layers, which are contiguous and on one GPU, and returns it.
fn check(layers: &[FilterOnGpu<'_>]) -> Result<usize> {
    let sizes: Vec<[i64; 4]> = layers
        .iter()
        .map(|layer| {
            let [channels, inputs, kernel] = layer.sizes.sizes;
            [channels, inputs, kernel, kernel]
        })
        .collect();
    let tensors = layers.iter().zip(&sizes);
    let thetas: Vec<(&Tensor, &[i64])> = tensors
        .map(|(layer, size)| (layer.theta, &size[..]))
        .collect();
    let index = expect(&thetas)?;
    for (layer, [channels, ..]) in layers.iter().zip(&sizes) {
        let diagonal = layer.diagonal;
        if diagonal.kind() != Kind::Int
            || diagonal.device() != Device::Cuda(index)
            || diagonal.size() != [*channels]
            || !diagonal.is_contiguous()
        {
            return Err(Error::Cuda(format!(
                "expected the places of {} in int32 on cuda:{index}, got {:?}",
                counted(*channels, "channel"),
                diagonal
            )));
        }
    }
    Ok(index)
}

/// The effective filter of each layer, and the log-determinant of its diagonal, 0-d, where that is learnable; nothing
/// waits for the device.
///
/// # Errors
/// The tensors are not of the sizes that are said, or a launch fails.
pub(crate) fn forward(layers: &[FilterOnGpu<'_>]) -> Result<Vec<(Tensor, Option<Tensor>)>> {
    let index = check(layers)?;
    let kind = layers[0].theta.kind();
    let sizes: Vec<_> = layers.iter().map(|layer| layer.sizes).collect();
    let mut made = Vec::with_capacity(layers.len());
    for layer in layers {
        let options = (kind, layer.theta.device());
        let log_diagonal = || Tensor::f_empty([0i64; 0], options);
        let log_diagonal = layer.sizes.learnable.then(log_diagonal).transpose()?;
        made.push((layer.theta.f_empty_like()?, log_diagonal));
    }
    let plans = filter_plans(&sizes, kind, Pass::Forward)?;
    for (nth, mut plan) in plans.into_iter().enumerate() {
        let range = nth * MAX_LAYERS..;
        let tensors = layers[range.clone()].iter().zip(&made[range]);
        for (params, (layer, (weight, log_diagonal))) in plan.params.layers.iter_mut().zip(tensors)
        {
            (params.theta, params.diagonal) = (address(layer.theta), address(layer.diagonal));
            params.weight = address(weight);
            params.log_diagonal = log_diagonal.as_ref().map_or(0, address);
        }
        // SAFETY: the parameters of this kernel, with tensors of the plan's sizes, checked or made above; torch's
        // allocator hands their memory on in the order of this very stream.
        unsafe { launch_all(index, &[plan.launch], &plan.params)? };
    }
    Ok(made)
}

/// The gradient of each theta from those of its filter and of the log-determinant of its diagonal, `None` being zero.
///
/// # Errors
/// As [`forward`].
pub(crate) fn backward(
    layers: &[FilterOnGpu<'_>],
    incoming: &[[Option<Tensor>; 2]],
) -> Result<Vec<Tensor>> {
    let index = check(layers)?;
    let kind = layers[0].theta.kind();
    let sizes: Vec<_> = layers.iter().map(|layer| layer.sizes).collect();
    let made = layers.iter().map(|layer| layer.theta.f_empty_like());
    let made: Vec<Tensor> = made.collect::<std::result::Result<_, _>>()?;
    for (layer, [weight, log_diagonal]) in layers.iter().zip(incoming) {
        let size = layer.theta.size();
        let scalar: &[i64] = &[];
        let both = [(weight, &size[..]), (log_diagonal, scalar)];
        let given = both
            .into_iter()
            .filter_map(|(grad, size)| Some((grad.as_ref()?, size)));
        expect(
            &std::iter::once((layer.theta, &size[..]))
                .chain(given)
                .collect::<Vec<_>>(),
        )?;
    }
    let plans = filter_plans(&sizes, kind, Pass::Backward)?;
    for (nth, mut plan) in plans.into_iter().enumerate() {
        let first = nth * MAX_LAYERS;
        let grads = incoming[first..].iter().zip(&made[first..]);
        let tensors = layers[first..].iter().zip(grads);
        for (params, (layer, (incoming, made))) in plan.params.layers.iter_mut().zip(tensors) {
            (params.theta, params.diagonal) = (address(layer.theta), address(layer.diagonal));
            [params.weight_grad, params.log_diagonal_grad] = incoming
                .each_ref()
                .map(|grad| grad.as_ref().map_or(0, address));
            params.theta_grad = address(made);
        }
        // SAFETY: as above.
        unsafe { launch_all(index, &[plan.launch], &plan.params)? };
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(sizes: [i64; 3], learnable: bool) -> FilterSizes {
        FilterSizes {
            sizes,
            learnable,
            bound: None,
        }
    }

    #[test]
    fn every_stage_names_a_kernel_of_its_source() {
        let source = include_str!("../../kernels/inv_conv_filter.cu");
        let header = include_str!("../../kernels/inv_conv_filter.cuh");
        for kind in [Kind::Float, Kind::Double] {
            for pass in [Pass::Forward, Pass::Backward] {
                let plans = filter_plans(&[layer([4, 2, 3], true)], kind, pass).unwrap();
                let name = plans[0].launch.kernel;
                assert!(source.contains(&format!(" {name})")), "{name}");
                assert_eq!(name.ends_with("f64"), kind == Kind::Double);
            }
        }
        assert!(header.contains(&format!("kFilterThreads = {THREADS};")));
        assert!(header.contains(&format!("kFilterLayers = {MAX_LAYERS};")));
    }

    #[test]
    fn every_channel_has_a_block_and_every_learnable_diagonal_one_more() {
        let layers = [
            layer([12, 12, 3], true),
            layer([24, 6, 2], false),
            layer([5, 5, 1], true),
        ];
        for (pass, first, blocks) in [
            (Pass::Forward, [0, 13, 37], 43),
            (Pass::Backward, [0, 12, 36], 41),
        ] {
            let plans = filter_plans(&layers, Kind::Float, pass).unwrap();
            let [plan] = &plans[..] else {
                panic!("{plans:?}")
            };
            assert_eq!(plan.launch.grid[0], blocks);
            assert_eq!(plan.params.count, 3);
            let firsts = plan.params.layers[..3]
                .iter()
                .map(|layer| layer.first_block);
            assert_eq!(firsts.collect::<Vec<_>>(), first);
        }
    }

    #[test]
    fn more_layers_than_one_launch_takes_are_several() {
        let layers = vec![layer([4, 4, 3], false); MAX_LAYERS + 3];
        let plans = filter_plans(&layers, Kind::Float, Pass::Forward).unwrap();
        let counts: Vec<_> = plans.iter().map(|plan| plan.params.count).collect();
        assert_eq!(counts, [MAX_LAYERS as i32, 3]);
        assert!(filter_plans(&[], Kind::Float, Pass::Forward)
            .unwrap()
            .is_empty());
        assert!(filter_plans(&layers, Kind::Half, Pass::Forward).is_err());
        let large = [layer([1 << 20, 1 << 20, 3], false)];
        let err = filter_plans(&large, Kind::Float, Pass::Forward).unwrap_err();
        assert!(err.to_string().contains("2^31 - 1"), "{err}");
    }
}
