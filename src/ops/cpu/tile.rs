//! A tile of images, transposed so that images are the lanes of a vector.

use super::{Real, Sizes, Walk};

/// One group of channels of up to `L` images: `[row][column][channel][lane]`, with `pad` rows of zeros above and `pad`
/// columns of zeros to the left, so that no sum over taps needs a border case.
pub struct Tile<T, const L: usize> {
    data: Vec<T>,
    pad: usize,
    channels: usize,
    row_len: usize,
}

impl<T: Real, const L: usize> Tile<T, L> {
    pub fn new(sizes: &Sizes, pad: usize) -> Self {
        let row_len = (sizes.width + pad) * sizes.group_channels * L;
        Self {
            data: vec![T::default(); row_len * (sizes.height + pad)],
            pad,
            channels: sizes.group_channels,
            row_len,
        }
    }

    /// Start of the vectors of pixel (`row`, `column`); both count from the padding's far corner.
    #[inline(always)]
    fn padded_offset(&self, row: usize, column: usize) -> usize {
        row * self.row_len + column * self.channels * L
    }

    /// All channels of a pixel, for writing.
    #[inline(always)]
    pub fn pixel_mut(&mut self, row: usize, column: usize) -> &mut [T] {
        let start = self.padded_offset(row + self.pad, column + self.pad);
        &mut self.data[start..start + self.channels * L]
    }

    /// `count` neighbouring pixels, all channels of each, in one run of memory: the leftmost is that at
    /// (`row` - `up`, `column` - pad).
    #[inline(always)]
    pub fn span(&self, row: usize, up: usize, column: usize, count: usize) -> &[T] {
        let start = self.padded_offset(row + self.pad - up, column);
        &self.data[start..start + count * self.channels * L]
    }

    /// Transposes images `[n][all channels][H][W]` in; lanes past `n` stay as they were (zero).
    pub fn load(&mut self, sizes: &Sizes, images: &[T], first_channel: usize, walk: Walk) {
        self.for_each_row(
            sizes,
            first_channel,
            walk,
            images.len(),
            |data, at, source| {
                for (column, &value) in source.clone().map(|i| &images[i]).enumerate() {
                    data[at + column * sizes.group_channels * L] = value;
                }
            },
        );
    }

    /// Transposes the tile back into images `[n][all channels][H][W]`.
    pub fn store(&mut self, sizes: &Sizes, images: &mut [T], first_channel: usize, walk: Walk) {
        self.for_each_row(
            sizes,
            first_channel,
            walk,
            images.len(),
            |data, at, target| {
                for (column, i) in target.enumerate() {
                    images[i] = data[at + column * sizes.group_channels * L];
                }
            },
        );
    }

    /// Pairs every row of every channel and image with its place in the tile: `visit(tile, start in the tile, indices in
    /// the images in walking order)`.
    fn for_each_row(
        &mut self,
        sizes: &Sizes,
        first_channel: usize,
        walk: Walk,
        images_len: usize,
        mut visit: impl FnMut(&mut [T], usize, RowIndices),
    ) {
        for lane in 0..images_len / sizes.image() {
            for channel in 0..self.channels {
                let plane = lane * sizes.image() + (first_channel + channel) * sizes.pixels();
                for row in 0..sizes.height {
                    let source = if walk.mirror_rows {
                        sizes.height - 1 - row
                    } else {
                        row
                    };
                    let at = self.padded_offset(row + self.pad, self.pad) + channel * L + lane;
                    let begin = plane + source * sizes.width;
                    visit(
                        &mut self.data,
                        at,
                        RowIndices {
                            begin,
                            end: begin + sizes.width,
                            mirror: walk.mirror_columns,
                        },
                    );
                }
            }
        }
    }
}

/// Indices of one image row, forwards or backwards.
#[derive(Clone)]
struct RowIndices {
    begin: usize,
    end: usize,
    mirror: bool,
}

impl Iterator for RowIndices {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.begin == self.end {
            return None;
        }
        if self.mirror {
            self.end -= 1;
            Some(self.end)
        } else {
            self.begin += 1;
            Some(self.begin - 1)
        }
    }
}
