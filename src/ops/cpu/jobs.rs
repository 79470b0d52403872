//! Jobs over libtorch's threads, each taken by whoever is free.

use super::Sizes;
use crate::ffi::memory::parallel_for;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

/// Runs `run(scratch, job)` for every job. Each worker makes its scratch once; jobs are taken in their order, so a job
/// may wait for an earlier one.
///
/// # Panics
/// A panic of `run` is raised again on the calling thread.
pub fn run_jobs<J: Send, X>(
    jobs: Vec<J>,
    scratch: impl Fn() -> X + Sync,
    run: impl Fn(&mut X, J) + Sync,
) {
    let workers = jobs.len().min(threads());
    let slots: Vec<_> = jobs.into_iter().map(|job| Mutex::new(Some(job))).collect();
    let next = AtomicUsize::new(0);
    parallel_for(workers, |_| {
        let mut mine = scratch();
        while let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) {
            let job = slot.lock().ok().and_then(|mut slot| slot.take());
            if let Some(job) = job {
                run(&mut mine, job);
            }
        }
    });
}

/// Threads that jobs may run on.
pub fn threads() -> usize {
    tch::get_num_threads().max(1) as usize
}

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
