//! How a solve is shared out: tiles of many images, strips of single ones.

use super::bands::{bands, Band};
use super::filter::{solve_order, Filter};
use super::group::SolveGroup;
use super::sizes::{group_weight, Sizes};
use super::spectral::{self, Spectrum};
use super::strip::{self, Pipeline, Strip};
use super::tile::{self, solve_tile};
use super::walk::Walk;
use crate::ops::vector::jobs::{run_jobs, threads};
use crate::ops::vector::{arch, Real};
use crate::problem::{Corner, Geometry};
use crate::Result;
use pulp::{Simd, WithSimd};

/// `x = A(W)⁻¹ y`, or `A(W)⁻ᵀ y`.
///
/// # Errors
/// A zero on the diagonal of an anchor.
pub fn solve<T: Real>(
    geometry: &Geometry,
    y: &[T],
    weight: &[T],
    corners: &[Corner],
    adjoint: bool,
    x: &mut [T],
) -> Result<()> {
    let sizes = Sizes::new(geometry);
    let most = arch().dispatch(SolveBlockSize::<T>::default());
    let spectral = spectral::pays::<T>(&sizes);
    let groups = corners.iter().enumerate().map(|(group, &corner)| {
        let mut filter = Filter::new(&sizes, group_weight(&sizes, weight, group), corner, adjoint);
        filter.invert(group * sizes.group_channels)?;
        Ok(SolveGroup {
            spectrum: spectral.then(|| Spectrum::new(&sizes, &filter, most)),
            first_channel: group * sizes.group_channels,
            walk: Walk::new(corner, adjoint),
            blocks: filter.pack(most, solve_order(sizes.kernel)),
        })
    });
    let groups = groups.collect::<Result<Vec<_>>>()?;
    let tiled = match spectral {
        true => images_by_spectra::<T>(&sizes),
        false => images_in_tiles::<T>(&sizes, threads()),
    };
    run(&sizes, &groups, tiled, y, x);
    Ok(())
}

/// Outputs whose sums the machine's registers hold, beside an operand and a weight.
#[derive(Default)]
struct SolveBlockSize<T>(std::marker::PhantomData<T>);

impl<T: Real> WithSimd for SolveBlockSize<T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        match T::LANES / T::lanes::<S>() {
            1 => 24, // 32 registers of 512 bits
            2 => 6,  // 16 registers of 256 bits, two for each output
            _ => 2,
        }
    }
}

/// How many of the images are solved in tiles, to be done soonest; the others are solved in strips.
///
/// A tile costs one step for every pixel, however few of its lanes hold an image. Both give the same bits, so the choice may
/// depend on the number of threads.
fn images_in_tiles<T: Real>(sizes: &Sizes, threads: usize) -> usize {
    if !strip::possible::<T>(sizes) {
        return sizes.batch;
    }
    let time = |images: &usize| {
        let tiles = images.div_ceil(T::LANES);
        // strips read their operands from places that are not aligned
        let strips = (sizes.batch - images) * strip::steps::<T>(sizes) * 5 / 4;
        let all = (tiles * sizes.pixels() + strips).div_ceil(threads);
        all.max(tiles.div_ceil(threads) * sizes.pixels())
    };
    let whole = sizes.batch / T::LANES;
    let choices = (0..=whole).map(|tiles| tiles * T::LANES);
    choices
        .chain([sizes.batch])
        .min_by_key(time)
        .unwrap_or(sizes.batch)
}

/// How many of the images are solved in tiles where sums by spectra pay: all but a rest that would leave most of a tile's
/// lanes empty. Such sums round differently, so the choice must not depend on the number of threads.
fn images_by_spectra<T: Real>(sizes: &Sizes) -> usize {
    let rest = sizes.batch % T::LANES;
    if strip::possible::<T>(sizes) && rest < T::LANES / 2 {
        sizes.batch - rest
    } else {
        sizes.batch
    }
}

enum Job<'a, T> {
    Tile { y: &'a [T], x: &'a mut [T] },
    Strip(Band<'a, T>),
}

/// Solves the first `tiled` images in tiles and the others in strips.
fn run<T: Real>(sizes: &Sizes, groups: &[SolveGroup<T>], tiled: usize, y: &[T], x: &mut [T]) {
    let image = sizes.image();
    let (y_tiles, y_strips) = y.split_at(tiled * image);
    let (x_tiles, x_strips) = x.split_at_mut(tiled * image);
    let tile = T::LANES * image;
    let mut jobs: Vec<_> = y_tiles
        .chunks(tile)
        .zip(x_tiles.chunks_mut(tile))
        .map(|(y, x)| Job::Tile { y, x })
        .collect();
    // the first strips of all images before the second ones: a worker then seldom waits
    let strips = bands(
        sizes,
        T::LANES,
        |group| groups[group].walk.mirror_rows,
        x_strips,
    );
    jobs.extend(strips.into_iter().map(Job::Strip));
    let pipelines: Vec<_> = (0..(sizes.batch - tiled) * groups.len())
        .map(|_| Pipeline::<T>::new(sizes))
        .collect();
    let scratch = || {
        (
            (tiled > 0).then(|| tile::Scratch::new(sizes, groups[0].spectrum.as_ref())),
            (tiled < sizes.batch).then(|| strip::Scratch::new(sizes)),
        )
    };
    run_jobs(jobs, scratch, |(for_tiles, for_strips), job| match job {
        Job::Tile { y, x } => {
            if let Some(scratch) = for_tiles {
                solve_tile(sizes, groups, scratch, y, x);
            }
        }
        Job::Strip(band) => {
            if let Some(scratch) = for_strips {
                let strip = Strip {
                    sizes,
                    group: &groups[band.group],
                    pipeline: &pipelines[band.image * groups.len() + band.group],
                    index: band.index,
                    y: &y_strips[band.image * image..][..image],
                    x: band.planes,
                    scratch,
                };
                strip.solve();
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images in tiles and in strips.
    fn shares<T: Real>([batch, height, width, kernel]: [usize; 4], threads: usize) -> [usize; 2] {
        let sizes = Sizes {
            batch,
            channels: 12,
            group_channels: 12,
            height,
            width,
            kernel,
        };
        let tiled = images_in_tiles::<T>(&sizes, threads);
        [tiled, batch - tiled]
    }

    #[test]
    fn full_tiles_are_tiles_and_what_is_left_over_is_strips() {
        for threads in [1, 2] {
            assert_eq!(shares::<f32>([100, 16, 16, 3], threads), [96, 4]);
            assert_eq!(shares::<f32>([17, 16, 16, 3], threads), [16, 1]);
            assert_eq!(shares::<f32>([1, 40, 9, 3], threads), [0, 1]);
        }
        // a filter that sees further than one strip up
        assert_eq!(shares::<f32>([3, 40, 40, 18], 2), [3, 0]);
        assert_eq!(shares::<f64>([3, 40, 40, 10], 2), [3, 0]);
        // one tile would keep one of many threads busy
        assert_eq!(shares::<f32>([16, 64, 64, 3], 16), [0, 16]);
    }
}
