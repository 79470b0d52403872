//! How many bits an image takes without a model: the length of the shortest PNG file of it.

use crate::data::parallel::together;
use crate::data::Dataset;
use crate::flows::Bits;
use crate::train::Team;
use crate::{Error, Result};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use std::sync::Mutex;

/// All that the encoder has.
const FILTERS: [FilterType; 6] = [
    FilterType::NoFilter,
    FilterType::Sub,
    FilterType::Up,
    FilterType::Avg,
    FilterType::Paeth,
    FilterType::Adaptive,
];

/// The bits of the shortest PNG file of every image, of the most significant `bits` of its pixels; every process of the team
/// compresses its part.
///
/// # Errors
/// Files of the data that cannot be read any more, or the end of another process.
pub fn png_bits(team: &Team, data: &Dataset, bits: Bits) -> Result<Vec<f64>> {
    let mut all = vec![0.0; data.len()];
    let own = team.part().range(data.len());
    let start = own.start;
    let lengths = &mut all[own];
    let at_a_time = lengths
        .len()
        .div_ceil(tch::get_num_threads().max(1) as usize);
    let parts = Mutex::new(lengths.chunks_mut(at_a_time.max(1)).enumerate());
    let next = || parts.lock().unwrap_or_else(|held| held.into_inner()).next();
    let done = together(tch::get_num_threads().max(1) as usize, || -> Result<()> {
        while let Some((part, lengths)) = next() {
            let first = start + part * at_a_time;
            for (i, length) in lengths.iter_mut().enumerate() {
                *length = shortest(&data.image(first + i)?, data.chw, bits)?;
            }
        }
        Ok(())
    });
    done.into_iter().collect::<Result<()>>()?;
    // where one process has a length, the others have zeros
    team.sum_numbers(&mut all)?;
    Ok(all)
}

/// The bits of the shortest file: with each filter, at the best compression.
fn shortest(pixels: &[u8], [c, h, w]: [i64; 3], bits: Bits) -> Result<f64> {
    let shift = 8 - u32::from(u8::from(bits));
    let (c, plane) = (c as usize, (h * w) as usize);
    let value = |i: usize| pixels[i] >> shift;
    // PNG has a pixel's colours side by side; of other numbers of channels, one plane stands below the other
    let (bytes, height, colour): (Vec<u8>, _, _) = match c {
        3 => {
            let of_pixel = |i: usize| (0..3).map(move |channel| value(channel * plane + i));
            let bytes = (0..plane).flat_map(of_pixel).collect();
            (bytes, h, ExtendedColorType::Rgb8)
        }
        _ => {
            let bytes = (0..pixels.len()).map(value).collect();
            (bytes, h * c as i64, ExtendedColorType::L8)
        }
    };
    let mut shortest = usize::MAX;
    for filter in FILTERS {
        let mut file = Vec::new();
        PngEncoder::new_with_quality(&mut file, CompressionType::Best, filter)
            .write_image(&bytes, w as u32, height as u32, colour)
            .map_err(|err| Error::config(format!("an image cannot be compressed as PNG: {err}")))?;
        shortest = shortest.min(file.len());
    }
    Ok(8.0 * shortest as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn what_has_an_order_takes_fewer_bits_than_noise_and_fewer_bits_of_a_pixel_fewer_still() {
        for chw in [[1, 24, 20], [3, 24, 20], [2, 24, 20]] {
            let size = chw.iter().product::<i64>() as usize;
            let ramp: Vec<u8> = (0..size).map(|i| (i % 20 * 12) as u8).collect();
            let of = |pixels: &[u8], bits| shortest(pixels, chw, Bits::new(bits).unwrap()).unwrap();
            let noise = noise(size);
            assert!(of(&noise, 8) > 8.0 * size as f64, "{chw:?}");
            assert!(of(&ramp, 8) < 0.5 * of(&noise, 8), "{chw:?}");
            assert!(of(&noise, 5) < 0.8 * of(&noise, 8), "{chw:?}");
        }
    }

    #[test]
    fn every_image_has_its_length_whatever_the_number_of_threads() {
        let pixels = [vec![7; 48], noise(48), vec![0; 48]].concat();
        let data = Dataset::new("test", [3, 4, 4], pixels.clone(), vec![0; 3]).unwrap();
        let all = png_bits(&Team::alone(), &data, Bits::ALL).unwrap();
        for (i, image) in pixels.chunks_exact(48).enumerate() {
            assert_eq!(all[i], shortest(image, [3, 4, 4], Bits::ALL).unwrap());
        }
        assert!(all[1] > all[0]);
    }
}
