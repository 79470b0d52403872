//! Images cut into bands of rows, to be shared out.

use super::sizes::Sizes;

/// Some rows of one group's planes in one image.
pub struct Band<'a, T> {
    /// Number of the image.
    pub image: usize,
    /// Number of the group.
    pub group: usize,
    /// Number of the band, from 0.
    pub index: usize,
    /// The rows, one piece for each of the group's channels.
    pub planes: Vec<&'a mut [T]>,
}

/// Cuts images `[B, C, H, W]` into bands of `rows` rows, all first bands before all second ones. The bands of a group for
/// which `upwards` holds are counted from the last row.
pub fn bands<'a, T>(
    sizes: &Sizes,
    rows: usize,
    upwards: impl Fn(usize) -> bool,
    images: &'a mut [T],
) -> Vec<Band<'a, T>> {
    let count = sizes.height.div_ceil(rows);
    let mut by_index: Vec<Vec<Band<'a, T>>> = (0..count).map(|_| Vec::new()).collect();
    for (number, image) in images.chunks_mut(sizes.image()).enumerate() {
        let groups = image.chunks_mut(sizes.group_channels * sizes.pixels());
        for (group, planes) in groups.enumerate() {
            for (index, bands) in by_index.iter_mut().enumerate() {
                bands.push(Band {
                    image: number,
                    group,
                    index,
                    planes: Vec::with_capacity(sizes.group_channels),
                });
            }
            for plane in planes.chunks_mut(sizes.pixels()) {
                let mut place = |index: usize, piece| {
                    if let Some(band) = by_index[index].last_mut() {
                        band.planes.push(piece);
                    }
                };
                let rows = rows * sizes.width;
                if upwards(group) {
                    let pieces = plane.rchunks_mut(rows).enumerate();
                    pieces.for_each(|(index, piece)| place(index, piece));
                } else {
                    let pieces = plane.chunks_mut(rows).enumerate();
                    pieces.for_each(|(index, piece)| place(index, piece));
                }
            }
        }
    }
    by_index.into_iter().flatten().collect()
}
