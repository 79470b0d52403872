//! Sums over the first channels on the GPU: parameters, plan, launch. `kernels/channels.cu` explains the stage.

use super::current::launch_all;
use super::kernels::Element;
use super::launch::{div_up, Launch, MAX_GRID_X};
use super::tensors::{address, expect};
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Kind, Tensor};

/// Threads of a block; twin: `kChannelsThreads`.
const THREADS: i64 = 256;
/// Elements of a block.
const BLOCK_ELEMENTS: i64 = 8 * THREADS;

/// Parameters: field for field the twin of `ChannelsParams` in `kernels/channels.cuh`, which explains them.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // in channels.cuh
pub struct ChannelsParams {
    pub all: u64,
    pub first: u64,
    pub sum: u64,
    pub samples: i64,
    pub sample: i64,
    pub part: i64,
    pub elements_per_block: i64,
}

const _: () = {
    assert!(size_of::<ChannelsParams>() == 56);
    assert!(offset_of!(ChannelsParams, samples) == 24);
};

/// Plans the sum of `[samples, sample]` and, in the first `part` elements of each sample, `[samples, part]`. Pure.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, or more elements than a grid reaches.
pub fn channels_plan(
    [samples, sample, part]: [i64; 3],
    kind: Kind,
) -> Result<(Launch, ChannelsParams)> {
    let element = Element::of("first_channels", kind)?;
    let blocks = div_up(samples * sample, BLOCK_ELEMENTS);
    if blocks > MAX_GRID_X {
        let text = format!("has too many elements for one launch: [{samples}, {sample}]");
        return Err(Error::argument("first_channels", "x", text));
    }
    let launch = Launch {
        image: "channels",
        kernel: match element {
            Element::F32 => "channels_add_first_f32",
            Element::F64 => "channels_add_first_f64",
        },
        grid: [blocks as u32, 1, 1],
        block: [THREADS as u32, 1, 1],
        shared_bytes: 0,
    };
    let params = ChannelsParams {
        samples,
        sample,
        part,
        elements_per_block: BLOCK_ELEMENTS,
        ..ChannelsParams::default()
    };
    Ok((launch, params))
}

/// `all` `[N, C, H, W]`, with `first` `[N, C', H, W]` added to its first C' channels, as a new tensor; both are contiguous.
///
/// # Errors
/// Tensors that do not fit together, or a launch that fails.
pub(crate) fn add_first(all: &Tensor, first: &Tensor) -> Result<Tensor> {
    let (size, part) = (all.size(), first.size());
    let index = expect(&[(all, &size), (first, &part)])?;
    let fits = size.len() == 4
        && part.len() == 4
        && part[1] <= size[1]
        && [0, 2, 3].iter().all(|&i| size[i] == part[i]);
    if !fits {
        let text = format!("expected the first channels of {size:?}, got {part:?}");
        return Err(Error::Cuda(text));
    }
    let elements = |size: &[i64]| size[1..].iter().product::<i64>();
    let sizes = [size[0], elements(&size), elements(&part)];
    let (launch, mut params) = channels_plan(sizes, all.kind())?;
    let sum = all.f_empty_like()?;
    [params.all, params.first, params.sum] = [all, first, &sum].map(address);
    // SAFETY: the parameters of this kernel, with tensors of the plan's sizes, checked or made above.
    unsafe { launch_all(index, &[launch], &params)? };
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_element() {
        let source = include_str!("../../kernels/channels.cu");
        for sizes in [[100, 3072, 1536], [1, 1, 1], [3, 4097, 5], [0, 7, 3]] {
            for kind in [Kind::Float, Kind::Double] {
                let (launch, params) = channels_plan(sizes, kind).unwrap();
                let (blocks, each) = (i64::from(launch.grid[0]), params.elements_per_block);
                let elements = sizes[0] * sizes[1];
                assert!(blocks * each >= elements && (blocks - 1) * each < elements.max(1));
                assert_eq!(launch.is_empty(), elements == 0);
                assert!(source.contains(&format!(", {})", launch.kernel)));
                assert_eq!(launch.kernel.ends_with("f64"), kind == Kind::Double);
            }
        }
        let header = include_str!("../../kernels/channels.cuh");
        assert!(header.contains(&format!("kChannelsThreads = {THREADS};")));
    }

    #[test]
    fn what_no_launch_can_do_is_an_error() {
        let err = channels_plan([1 << 40, 1 << 20, 1], Kind::Float).unwrap_err();
        assert!(err.to_string().contains("too many elements"), "{err}");
        assert!(channels_plan([1, 1, 1], Kind::Half).is_err());
    }
}
