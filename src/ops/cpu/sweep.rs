//! The pixel sweep that the solve and the convolution share.
//!
//! Floor: `2 B H W C² k²` flops; a tile is read and written once, its working set is k rows.

use super::taps::{blocks, pack_matrix, Filter};
use super::tile::Tile;
use super::{mul_add, Lanes, Real, Sizes, Walk};
use crate::ffi::memory::parallel_chunks;
use crate::ops::{Corner, Geometry};
use crate::Result;
use pulp::{Arch, Simd, WithSimd};

/// `x = A(W)⁻¹ y`, or `A(W)⁻ᵀ y`, pixel by pixel from the corner.
///
/// # Errors
/// A zero on the diagonal of an anchor, reported for the operator `op`.
pub fn solve<T: Real>(
    op: &'static str,
    geometry: &Geometry,
    y: &[T],
    weight: &[T],
    corners: &[Corner],
    adjoint: bool,
    x: &mut [T],
) -> Result<()> {
    let sizes = Sizes::new(geometry);
    let groups = corners.iter().enumerate().map(|(group, &corner)| {
        let mut filter = Filter::new(&sizes, group_weight(&sizes, weight, group), corner, adjoint);
        let inverse = filter.invert(op, group * sizes.group_channels)?;
        let block = |(first, size)| {
            // D⁻¹ multiplies the current pixel of y, after the neighbours
            let mut packed = filter.pack((first, size), true);
            pack_matrix(
                &mut packed,
                &inverse,
                sizes.group_channels,
                first..first + size,
            );
            Block {
                first,
                size,
                packed,
            }
        };
        let blocks = blocks(sizes.group_channels).map(block).collect();
        Ok(Group {
            first_channel: group * sizes.group_channels,
            walk: Walk::new(corner, adjoint),
            blocks,
        })
    });
    let groups = groups.collect::<Result<Vec<_>>>()?;
    sweep(&sizes, &groups, y, x, true);
    Ok(())
}

/// `y = A(W) x`, or `A(W)ᵀ x`.
pub fn conv<T: Real>(
    geometry: &Geometry,
    x: &[T],
    weight: &[T],
    corners: &[Corner],
    adjoint: bool,
    y: &mut [T],
) {
    let sizes = Sizes::new(geometry);
    let groups: Vec<_> = corners
        .iter()
        .enumerate()
        .map(|(group, &corner)| {
            let filter = Filter::new(&sizes, group_weight(&sizes, weight, group), corner, adjoint);
            let block = |(first, size)| Block {
                first,
                size,
                packed: filter.pack((first, size), false),
            };
            Group {
                first_channel: group * sizes.group_channels,
                walk: Walk::new(corner, adjoint),
                blocks: blocks(sizes.group_channels).map(block).collect(),
            }
        })
        .collect();
    sweep(&sizes, &groups, x, y, false);
}

fn group_weight<'a, T>(sizes: &Sizes, weight: &'a [T], group: usize) -> &'a [T] {
    &weight[group * sizes.group_weight()..(group + 1) * sizes.group_weight()]
}

/// One group of channels, ready for the sweep.
struct Group<T> {
    first_channel: usize,
    walk: Walk,
    blocks: Vec<Block<T>>,
}

/// Coefficients of one block of output channels, `[operand][output]`.
struct Block<T> {
    first: usize,
    size: usize,
    packed: Vec<T>,
}

fn sweep<T: Real>(sizes: &Sizes, groups: &[Group<T>], input: &[T], output: &mut [T], solve: bool) {
    match Lanes::for_batch(sizes.batch) {
        Lanes::One => sweep_tiles::<T, 1>(sizes, groups, input, output, solve),
        Lanes::Four => sweep_tiles::<T, 4>(sizes, groups, input, output, solve),
        Lanes::Full if T::LANES == 16 => sweep_tiles::<T, 16>(sizes, groups, input, output, solve),
        Lanes::Full => sweep_tiles::<T, 8>(sizes, groups, input, output, solve),
    }
}

fn sweep_tiles<T: Real, const L: usize>(
    sizes: &Sizes,
    groups: &[Group<T>],
    input: &[T],
    output: &mut [T],
    solve: bool,
) {
    let arch = Arch::new();
    let tile_len = L * sizes.image();
    parallel_chunks(output, tile_len, |index, output| {
        let input = &input[index * tile_len..][..output.len()];
        for group in groups {
            let mut source = Tile::<T, L>::new(sizes, sizes.kernel - 1);
            source.load(sizes, input, group.first_channel, group.walk);
            if solve {
                arch.dispatch(SolveTile {
                    sizes,
                    group,
                    tile: &mut source,
                });
                source.store(sizes, output, group.first_channel, group.walk);
            } else {
                let mut target = Tile::<T, L>::new(sizes, 0);
                arch.dispatch(ConvTile {
                    sizes,
                    group,
                    source: &source,
                    target: &mut target,
                });
                target.store(sizes, output, group.first_channel, group.walk);
            }
        }
    });
}

/// Solves one tile in place: a pixel is overwritten when everything that it depends on is final.
struct SolveTile<'a, T, const L: usize> {
    sizes: &'a Sizes,
    group: &'a Group<T>,
    tile: &'a mut Tile<T, L>,
}

impl<T: Real, const L: usize> WithSimd for SolveTile<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        if S::IS_SCALAR {
            self.run::<false>();
        } else {
            self.run::<true>();
        }
    }
}

impl<T: Real, const L: usize> SolveTile<'_, T, L> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let mut y = vec![T::default(); self.sizes.group_channels * L];
        for row in 0..self.sizes.height {
            for column in 0..self.sizes.width {
                y.copy_from_slice(self.tile.pixel_mut(row, column));
                for block in &self.group.blocks {
                    match block.size {
                        8 => self.tile.solve_pixel::<FMA, 8>(
                            self.sizes.kernel,
                            block,
                            &y,
                            row,
                            column,
                        ),
                        4 => self.tile.solve_pixel::<FMA, 4>(
                            self.sizes.kernel,
                            block,
                            &y,
                            row,
                            column,
                        ),
                        2 => self.tile.solve_pixel::<FMA, 2>(
                            self.sizes.kernel,
                            block,
                            &y,
                            row,
                            column,
                        ),
                        _ => self.tile.solve_pixel::<FMA, 1>(
                            self.sizes.kernel,
                            block,
                            &y,
                            row,
                            column,
                        ),
                    }
                }
            }
        }
    }
}

/// Convolves one tile into another.
struct ConvTile<'a, T, const L: usize> {
    sizes: &'a Sizes,
    group: &'a Group<T>,
    source: &'a Tile<T, L>,
    target: &'a mut Tile<T, L>,
}

impl<T: Real, const L: usize> WithSimd for ConvTile<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        if S::IS_SCALAR {
            self.run::<false>();
        } else {
            self.run::<true>();
        }
    }
}

impl<T: Real, const L: usize> ConvTile<'_, T, L> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for row in 0..self.sizes.height {
            for column in 0..self.sizes.width {
                let out = self.target.pixel_mut(row, column);
                for block in &self.group.blocks {
                    match block.size {
                        8 => self.source.conv_pixel::<FMA, 8>(
                            self.sizes.kernel,
                            block,
                            row,
                            column,
                            out,
                        ),
                        4 => self.source.conv_pixel::<FMA, 4>(
                            self.sizes.kernel,
                            block,
                            row,
                            column,
                            out,
                        ),
                        2 => self.source.conv_pixel::<FMA, 2>(
                            self.sizes.kernel,
                            block,
                            row,
                            column,
                            out,
                        ),
                        _ => self.source.conv_pixel::<FMA, 1>(
                            self.sizes.kernel,
                            block,
                            row,
                            column,
                            out,
                        ),
                    }
                }
            }
        }
    }
}

impl<T: Real, const L: usize> Tile<T, L> {
    #[inline(always)]
    fn solve_pixel<const FMA: bool, const OB: usize>(
        &mut self,
        kernel: usize,
        block: &Block<T>,
        y: &[T],
        row: usize,
        column: usize,
    ) {
        let mut sums = [[T::default(); L]; OB];
        let mut weights = block.packed.as_slice();
        for up in 0..kernel {
            let count = if up == 0 { kernel - 1 } else { kernel };
            weights =
                accumulate::<T, FMA, OB, L>(&mut sums, self.span(row, up, column, count), weights);
        }
        accumulate::<T, FMA, OB, L>(&mut sums, y, weights);
        write(&mut self.pixel_mut(row, column)[block.first * L..], &sums);
    }

    #[inline(always)]
    fn conv_pixel<const FMA: bool, const OB: usize>(
        &self,
        kernel: usize,
        block: &Block<T>,
        row: usize,
        column: usize,
        out: &mut [T],
    ) {
        let mut sums = [[T::default(); L]; OB];
        let mut weights = block.packed.as_slice();
        for up in 0..kernel {
            weights =
                accumulate::<T, FMA, OB, L>(&mut sums, self.span(row, up, column, kernel), weights);
        }
        write(&mut out[block.first * L..], &sums);
    }
}

/// `sums[o] += weights[j][o] * operands[j]` over all `operands` vectors; returns the weights that are left.
#[inline(always)]
fn accumulate<'w, T: Real, const FMA: bool, const OB: usize, const L: usize>(
    sums: &mut [[T; L]; OB],
    operands: &[T],
    weights: &'w [T],
) -> &'w [T] {
    let (mine, rest) = weights.split_at(operands.len() / L * OB);
    // whole arrays and plain indices: the compiler then keeps every row of `sums` in one vector register
    let mut local = *sums;
    for (operand, weight) in operands
        .as_chunks::<L>()
        .0
        .iter()
        .zip(mine.as_chunks::<OB>().0)
    {
        for o in 0..OB {
            for l in 0..L {
                local[o][l] = mul_add::<T, FMA>(weight[o], operand[l], local[o][l]);
            }
        }
    }
    *sums = local;
    rest
}

#[inline(always)]
fn write<T: Real, const OB: usize, const L: usize>(out: &mut [T], sums: &[[T; L]; OB]) {
    for (out, sum) in out.chunks_exact_mut(L).zip(sums) {
        out.copy_from_slice(sum);
    }
}
