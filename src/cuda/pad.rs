//! Padding and cropping of images on the GPU: parameters, plan, launch. `kernels/pad.cu` explains the stage.

use super::current::launch_all;
use super::kernels::Element;
use super::launch::{div_up, Launch, MAX_GRID_X};
use super::tensors::{address, expect};
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Kind, Tensor};

/// Threads of a block; twin: `kPadThreads`.
const THREADS: i64 = 256;
/// Elements of a block: eight a thread.
const BLOCK_ELEMENTS: i64 = 8 * THREADS;

/// Parameters: field for field the twin of `PadParams` in `kernels/pad.cuh`, which explains them.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // in pad.cuh
pub struct PadParams {
    pub x: u64,
    pub y: u64,
    pub planes: i64,
    pub height: i64,
    pub width: i64,
    pub out_height: i64,
    pub out_width: i64,
    pub top: i64,
    pub left: i64,
    pub elements_per_block: i64,
}

const _: () = {
    assert!(size_of::<PadParams>() == 80);
    assert!(offset_of!(PadParams, elements_per_block) == 72);
};

/// The launch, and its parameters with the pointers to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PadPlan {
    /// The output.
    pub launch: [Launch; 1],
    /// Its parameters.
    pub params: PadParams,
}

/// Plans the launch from `[planes, height, width]` with `[left, right, top, bottom]` more on each side, of dtype `kind`. Pure:
/// it depends on the sizes alone.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, or more elements than a grid reaches.
pub fn pad_plan(
    [planes, height, width]: [i64; 3],
    [left, right, top, bottom]: [i64; 4],
    kind: Kind,
) -> Result<PadPlan> {
    let element = Element::of("pad", kind)?;
    let (out_height, out_width) = (height + top + bottom, width + left + right);
    let blocks = div_up(planes * out_height * out_width, BLOCK_ELEMENTS);
    if blocks > MAX_GRID_X {
        let text = format!("has too many elements for one launch: [{planes}, {height}, {width}]");
        return Err(Error::argument("pad", "x", text));
    }
    Ok(PadPlan {
        launch: [Launch {
            image: "pad",
            kernel: ["pad_f32", "pad_f64"][usize::from(element == Element::F64)],
            grid: [blocks as u32, 1, 1],
            block: [THREADS as u32, 1, 1],
            shared_bytes: 0,
        }],
        params: PadParams {
            planes,
            height,
            width,
            out_height,
            out_width,
            top,
            left,
            elements_per_block: BLOCK_ELEMENTS,
            ..PadParams::default()
        },
    })
}

/// Pads the last two dimensions of `x` on a GPU, which is contiguous; nothing waits for the device.
///
/// # Errors
/// The launch fails.
pub(crate) fn pad(x: &Tensor, by: [i64; 4]) -> Result<Tensor> {
    let size = x.size();
    let index = expect(&[(x, &size)])?;
    let [.., height, width] = size[..] else {
        return Err(Error::Cuda(format!("expected an image, got {size:?}")));
    };
    let planes = size[..size.len() - 2].iter().product();
    let mut plan = pad_plan([planes, height, width], by, x.kind())?;
    let mut out = size;
    let dims = out.len();
    (out[dims - 2], out[dims - 1]) = (plan.params.out_height, plan.params.out_width);
    let y = Tensor::f_empty(out, (x.kind(), x.device()))?;
    (plan.params.x, plan.params.y) = (address(x), address(&y));
    // SAFETY: the parameters of this kernel, with tensors of the plan's sizes, made or checked above; torch's allocator hands
    // their memory on in the order of this very stream.
    unsafe { launch_all(index, &plan.launch, &plan.params)? };
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launch_names_a_kernel_of_its_source_and_covers_the_output() {
        let source = include_str!("../../kernels/pad.cu");
        for kind in [Kind::Float, Kind::Double] {
            let plan = pad_plan([1200, 14, 14], [1, 1, 2, -1], kind).unwrap();
            let [launch] = plan.launch;
            assert!(
                source.contains(&format!("{})", launch.kernel)),
                "{launch:?}"
            );
            assert_eq!(launch.kernel.ends_with("f64"), kind == Kind::Double);
            let reached = i64::from(launch.grid[0]) * plan.params.elements_per_block;
            assert!(reached >= 1200 * 15 * 16);
        }
        let header = include_str!("../../kernels/pad.cuh");
        assert!(header.contains(&format!("kPadThreads = {THREADS};")));
        assert!(pad_plan([1 << 50, 1, 1], [0; 4], Kind::Float).is_err());
        assert!(pad_plan([1, 1, 1], [0; 4], Kind::Half).is_err());
        assert!(pad_plan([0, 3, 3], [0; 4], Kind::Float).unwrap().launch[0].is_empty());
    }
}
