//! Training batches on the GPU: parameters, plan, launch. `kernels/batch.cu` explains the kernel.

use super::current::launch_all;
use super::launch::{div_up, Launch, MAX_GRID_X};
use super::tensors::address;
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Device, Kind, Tensor};

/// Threads of a block; twin: `kBatchThreads`.
const THREADS: i64 = 128;
/// Elements of a thread, which is a block of ChaCha; twin: `kChaChaWords`.
const WORDS: i64 = 16;

/// Parameters: field for field the twin of `BatchParams` in `kernels/batch.cuh`, which explains them.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // in batch.cuh
pub struct BatchParams {
    pub images: u64,
    pub picks: u64,
    pub x: u64,
    pub noise: u64,
    pub elements: i64,
    pub channels: i32,
    pub height: i32,
    pub width: i32,
    pub reflect: i32,
    pub key: [u32; 8],
}

const _: () = {
    assert!(size_of::<BatchParams>() == 88);
    assert!(offset_of!(BatchParams, elements) == 32);
    assert!(offset_of!(BatchParams, key) == 56);
};

/// The launch and its parameters, with the pointers to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    /// Empty for an empty batch.
    pub launch: Launch,
    /// Parameters.
    pub params: BatchParams,
}

/// What a batch is made of.
#[derive(Debug, Clone, Copy)]
pub struct BatchOf {
    /// `[N, C, H, W]` of the batch.
    pub size: [i64; 4],
    /// Pixels that come from beyond the border: mirrored, or else the border's own.
    pub reflect: bool,
    /// The key of the noise's stream.
    pub key: [u8; 32],
}

/// Plans a batch. Pure.
///
/// # Errors
/// [`Error::Argument`] for more elements than a grid reaches, or a size beyond 32 bits.
pub fn batch_plan(of: &BatchOf) -> Result<BatchPlan> {
    let [_, channels, height, width] = of.size;
    let elements: i64 = of.size.iter().product();
    let blocks = div_up(elements, THREADS * WORDS);
    let too_large = |_| {
        let text = format!("has too many elements for one launch: {:?}", of.size);
        Error::argument("batch", "x", text)
    };
    let size = |size: i64| i32::try_from(size).map_err(too_large);
    let grid = size(blocks.min(MAX_GRID_X + 1))?;
    let mut key = [0; 8];
    for (word, bytes) in key.iter_mut().zip(of.key.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    Ok(BatchPlan {
        launch: Launch {
            image: "batch",
            kernel: "batch_f32",
            grid: [grid as u32, 1, 1],
            block: [THREADS as u32, 1, 1],
            shared_bytes: (THREADS * (WORDS + 1) * 4) as u32,
        },
        params: BatchParams {
            elements,
            channels: size(channels)?,
            height: size(height)?,
            width: size(width)?,
            reflect: i32::from(of.reflect),
            key,
            ..BatchParams::default()
        },
    })
}

/// Images and noise `[N, C, H, W]`, float32, of the rows of `picks: [N, 4]`, int32 (image, flip, rows, columns), from bytes
/// `images: [M, C, H, W]` on the same GPU; nothing waits for the device.
///
/// A kernel cannot look whether an image is there: the caller vouches for `picks` between 0 and `M - 1`.
///
/// # Errors
/// Tensors of other sizes, kinds or devices, or a launch that fails.
pub(crate) fn batch(of: &BatchOf, images: &Tensor, picks: &Tensor) -> Result<(Tensor, Tensor)> {
    let [n, c, h, w] = of.size;
    let Device::Cuda(index) = images.device() else {
        return Err(Error::Cuda("expected images on a GPU".into()));
    };
    let chw = images.size().get(1..) == Some(&[c, h, w]);
    let (bytes, rows) = (images.kind() == Kind::Uint8, picks.kind() == Kind::Int);
    let whole = images.is_contiguous() && picks.is_contiguous();
    let together = picks.device() == images.device() && picks.size() == [n, 4];
    if !(chw && bytes && rows && whole && together) {
        return Err(Error::Cuda(format!(
            "expected contiguous bytes [M, {c}, {h}, {w}] and int32 [{n}, 4] on one GPU, got {images:?} and {picks:?}"
        )));
    }
    let mut plan = batch_plan(of)?;
    let options = (Kind::Float, images.device());
    let x = Tensor::f_empty(of.size, options)?;
    let noise = Tensor::f_empty(of.size, options)?;
    let params = &mut plan.params;
    [params.images, params.picks, params.x, params.noise] =
        [images, picks, &x, &noise].map(address);
    // SAFETY: the parameters of this kernel, with tensors of this GPU and of the sizes in it; torch's allocator hands their
    // memory on in the order of the stream.
    unsafe { launch_all(index, &[plan.launch], &plan.params)? };
    Ok((x, noise))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(size: [i64; 4]) -> Result<BatchPlan> {
        batch_plan(&BatchOf {
            size,
            reflect: true,
            key: *b"0123456789abcdef0123456789abcdef",
        })
    }

    #[test]
    fn names_and_constants_are_those_of_the_source() {
        let plan = plan([2, 3, 4, 5]).unwrap();
        let source = include_str!("../../kernels/batch.cu");
        assert!(source.contains(&format!(" {}(", plan.launch.kernel)));
        let header = include_str!("../../kernels/batch.cuh");
        assert!(header.contains(&format!("kBatchThreads = {THREADS};")));
        assert!(header.contains(&format!("kChaChaWords = {WORDS};")));
        assert_eq!(plan.params.key[..2], [0x3332_3130, 0x3736_3534]);
    }

    #[test]
    fn blocks_cover_every_element() {
        for size in [
            [1, 1, 1, 1],
            [1, 1, 2, 1024],
            [100, 3, 32, 32],
            [7, 3, 1024, 1023],
        ] {
            let grid = i64::from(plan(size).unwrap().launch.grid[0]);
            let elements: i64 = size.iter().product();
            assert!(grid * THREADS * WORDS >= elements);
            assert!((grid - 1) * THREADS * WORDS < elements);
        }
    }

    #[test]
    fn what_no_launch_can_do_is_an_error() {
        assert!(plan([1 << 40, 3, 4, 5]).is_err());
        assert!(plan([1, 1, 1 << 32, 1]).is_err());
        assert!(plan([0, 3, 4, 5]).unwrap().launch.is_empty());
    }
}
