//! Images of uniformly random pixels: time and memory at any size, without files.

use super::{stream, DataName, Dataset, Purpose, Split};
use crate::Result;
use rand_chacha::rand_core::RngCore;

const TRAIN: usize = 512;
const VAL: usize = 64;
const TEST: usize = 64;

/// One split, at most the first `limit` images of it; image `i` is a function of the seed, the split and `i` alone.
pub(super) fn load(
    name: DataName,
    seed: u64,
    split: Split,
    limit: Option<usize>,
) -> Result<Dataset> {
    let (id, count) = match split {
        Split::Train => (0, TRAIN),
        Split::Val => (1, VAL),
        Split::Test => (2, TEST),
    };
    let count = limit.map_or(count, |limit| limit.min(count));
    let pixels = name.chw().iter().product::<i64>() as usize;
    let mut images = vec![0; count * pixels];
    for (i, image) in images.chunks_exact_mut(pixels).enumerate() {
        stream(seed, Purpose::NoiseImages, (id << 32) | i as u64).fill_bytes(image);
    }
    Dataset::new(
        format!("{name} {split}"),
        name.chw(),
        images,
        vec![0; count],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_uniform_and_a_shorter_split_is_the_start_of_a_longer_one() {
        let name = DataName::Noise(16);
        let all = load(name, 3, Split::Val, None).unwrap();
        assert_eq!((all.len(), all.chw), (VAL, [3, 16, 16]));
        let pixels = all.pixels().unwrap();
        let mean = pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / pixels.len() as f64;
        assert!((mean - 127.5).abs() < 2.0, "{mean}");
        let few = load(name, 3, Split::Val, Some(2)).unwrap();
        assert_eq!(few, all.subset(0..2));
        let other = load(name, 3, Split::Test, Some(2)).unwrap();
        assert_ne!(few.pixels().unwrap(), other.pixels().unwrap());
    }
}
