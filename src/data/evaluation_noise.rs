//! The dequantisation noise of images in evaluation, which other programs can draw too.

use super::rng::{stream, unit_f32, Purpose};
use crate::Result;
use std::ops::Range;
use tch::Tensor;

/// The noise of the images with the indices `images` in their split, `[N, C, H, W]` in `[0, 1)`, float32 on the CPU.
///
/// The noise of an image is a function of the seed, its index, the number of the sample and its size alone, whatever the
/// batch: word `i` of the ChaCha8 stream under the [key](super::stream_key) of `(seed, EvalNoise, index)` with the sample as
/// nonce, shifted right by 8 bits and divided by 2^24, is the noise of value `i` in the order `[C, H, W]`. docs/evaluation.md
/// has it in Python.
///
/// # Errors
/// Not enough memory.
pub fn evaluation_noise(
    seed: u64,
    images: Range<usize>,
    sample: u64,
    chw: [i64; 3],
) -> Result<Tensor> {
    let size = chw.iter().product::<i64>() as usize;
    let mut values = vec![0f32; images.len() * size];
    for (index, image) in images.clone().zip(values.chunks_exact_mut(size.max(1))) {
        let mut rng = stream(seed, Purpose::EvalNoise, index as u64);
        rng.set_stream(sample);
        image.fill_with(|| unit_f32(&mut rng));
    }
    let [c, h, w] = chw;
    Ok(Tensor::f_from_slice(&values)?.f_view([images.len() as i64, c, h, w])?)
}
