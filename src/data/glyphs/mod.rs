//! Drawn digits: grey-scale 28x28 images like those of MNIST, made from a seed instead of files.

mod pen;
mod skeletons;

use super::parallel::{cores, together};
use super::rng::unit_f32;
use super::{stream, uniform_below, DataName, Dataset, Purpose, Split};
use crate::Result;
use pen::{Canvas, Pen, SIDE};
use rand_chacha::rand_core::RngCore;
use skeletons::{smooth, Stroke, DIGITS};
use std::sync::Mutex;

const TRAIN: usize = 10_000;
const VAL: usize = 1_000;
const TEST: usize = 1_000;

/// One split, at most the first `limit` images of it.
///
/// Image `i` of a split is a function of the seed, the split and `i` alone.
pub(super) fn load(seed: u64, split: Split, limit: Option<usize>) -> Result<Dataset> {
    let (id, count) = match split {
        Split::Train => (0, TRAIN),
        Split::Val => (1, VAL),
        Split::Test => (2, TEST),
    };
    let count = limit.map_or(count, |limit| limit.min(count));
    let mut images = vec![0; count * SIDE * SIDE];
    let mut labels = vec![0; count];
    let threads = cores();
    let share = count.div_ceil(threads).max(1);
    let shares = images.chunks_mut(share * SIDE * SIDE);
    let shares = Mutex::new(shares.zip(labels.chunks_mut(share)).enumerate());
    let next = || {
        shares
            .lock()
            .unwrap_or_else(|held| held.into_inner())
            .next()
    };
    together(threads, || {
        while let Some((nth, (images, labels))) = next() {
            let images = images.chunks_exact_mut(SIDE * SIDE);
            for (i, (image, label)) in images.zip(labels).enumerate() {
                *label = draw(seed, (id << 32) | (nth * share + i) as u64, image);
            }
        }
    });
    let name = format!("glyphs {split}");
    Dataset::new(name, DataName::Glyphs.chw(), images, labels)
}

/// Draws the digit of one index into `image` and says which it is.
fn draw(seed: u64, index: u64, image: &mut [u8]) -> u16 {
    let mut rng = stream(seed, Purpose::Glyphs, index);
    let digit = uniform_below(&mut rng, 10) as usize;
    let styles = DIGITS[digit];
    let style = styles[uniform_below(&mut rng, styles.len() as u64) as usize];
    let hand = Hand::random(&mut rng);
    let mut canvas = Canvas::new();
    for stroke in style {
        let points = hand.place(&mut rng, stroke);
        let pressures = [(); 2].map(|()| 1.0 + 0.12 * bell(&mut rng));
        canvas.draw(&smooth(&points, stroke.closed), hand.pen, pressures);
    }
    canvas.develop(image, hand.ink, || 2.5 * bell(&mut rng));
    digit as u16
}

/// How one digit is written: an affine map from the digit's own coordinates to pixels, and the pen.
struct Hand {
    /// `[[xx, xy], [yx, yy]]` in pixels per unit.
    matrix: [[f32; 2]; 2],
    /// Centre of the digit in pixels.
    centre: [f32; 2],
    /// Standard deviation of the control points, in units of the digit.
    tremor: f32,
    pen: Pen,
    /// Grey value of full coverage.
    ink: f32,
}

impl Hand {
    fn random(rng: &mut impl RngCore) -> Self {
        // rotation by θ from t = tan(θ/2): only arithmetic, so the same on every machine
        let t = 0.05 * bell(rng);
        let (cos, sin) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
        let slant = 0.12 + 0.19 * bell(rng);
        let height = 9.2 * (1.0 + 0.06 * bell(rng));
        let width = height * (1.12 + 0.16 * bell(rng));
        let middle = (SIDE as f32 - 1.0) / 2.0;
        Self {
            // rotation after a slant to the right (y grows downwards) after scaling
            matrix: [
                [cos * width, -(cos * slant + sin) * height],
                [sin * width, (cos - sin * slant) * height],
            ],
            centre: [middle + 0.7 * bell(rng), middle + 0.7 * bell(rng)],
            tremor: 0.065,
            pen: Pen {
                radius: 0.75 + 0.75 * unit_f32(rng),
                softness: 0.9 + 0.5 * unit_f32(rng),
            },
            ink: 225.0 + 40.0 * unit_f32(rng),
        }
    }

    /// The control points of a stroke in pixels.
    fn place(&self, rng: &mut impl RngCore, stroke: &Stroke) -> Vec<[f32; 2]> {
        let [[xx, xy], [yx, yy]] = self.matrix;
        let jittered = stroke.points.iter().map(|&[x, y]| {
            let (x, y) = (x + self.tremor * bell(rng), y + self.tremor * bell(rng));
            [
                self.centre[0] + xx * x + xy * y,
                self.centre[1] + yx * x + yy * y,
            ]
        });
        jittered.collect()
    }
}

/// A bell-shaped number of mean 0 and standard deviation 1 within ±3.47: the sum of four uniform ones.
/// It is exact arithmetic, unlike a normal number, and has no outliers that would make a digit illegible.
fn bell(rng: &mut impl RngCore) -> f32 {
    let sum: f32 = (0..4).map(|_| unit_f32(rng)).sum();
    (sum - 2.0) * 1.732_050_8
}
