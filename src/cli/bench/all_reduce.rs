//! The time of a sum over all processes.

use crate::distributed::Group;
use crate::train::timing::Clock;
use crate::Result;
use std::time::Duration;
use tch::{Device, Kind, Tensor};

/// A sample repeats its sum until it is this long.
const SAMPLE: Duration = Duration::from_millis(10);
const MOST_CALLS: f64 = 200.0;

/// Sums of one size. Times are milliseconds of one call in the slowest process: median and quartile distance.
pub(super) struct AllReduce {
    /// float32 numbers of the tensor.
    pub(super) numbers: i64,
    /// Bytes of the tensor.
    pub(super) bytes: i64,
    /// Bytes that each process sends at least, whatever the algorithm: a ring and a tree of halves send as many.
    pub(super) sent: f64,
    /// The sum.
    pub(super) time: [f64; 2],
    /// The control: all processes copy as many bytes as they send, at the same time, within their own memory.
    pub(super) copy: [f64; 2],
}

impl AllReduce {
    /// Bytes sent by each process a second of the sum, in 10^9.
    pub(super) fn rate(&self) -> f64 {
        self.sent / self.time[0] / 1e6
    }
}

/// Times sums of `numbers` float32 numbers and their control, in turns.
pub(super) fn measure(
    group: &Group,
    device: Device,
    numbers: i64,
    samples: usize,
) -> Result<AllReduce> {
    let ranks = f64::from(group.ranks());
    let bytes = 4 * numbers;
    let sent = 2.0 * (ranks - 1.0) / ranks * bytes as f64;
    // zeros stay zeros, however often they are summed
    let x = Tensor::f_zeros([numbers], (Kind::Float, device))?;
    let copied = Tensor::f_zeros([((sent / 4.0).ceil() as i64).max(1)], (Kind::Float, device))?;
    let target = copied.f_zeros_like()?;
    let sum = || group.sum(&x);
    let copy = || Ok(target.shallow_clone().f_copy_(&copied).map(drop)?);
    let (sums, copies) = (calls(group, device, &sum)?, calls(group, device, &copy)?);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..samples {
        times[0].push(together(group, device, sums, &sum)?);
        times[1].push(together(group, device, copies, &copy)?);
    }
    let [time, copy] = times.map(|times| summary(&times));
    Ok(AllReduce {
        numbers,
        bytes,
        sent,
        time,
        copy,
    })
}

/// Milliseconds of one of `calls` calls that all processes begin together, in the slowest of them.
pub(super) fn together(
    group: &Group,
    device: Device,
    calls: usize,
    call: &dyn Fn() -> Result<()>,
) -> Result<f64> {
    let clock = Clock::of(device)?;
    group.barrier()?;
    let (time, ()) = clock.time(|| (0..calls).try_for_each(|_| call()))?;
    slowest(group, time / calls as f64)
}

/// The largest of the numbers that the processes have.
pub(super) fn slowest(group: &Group, own: f64) -> Result<f64> {
    let mut all = vec![0.0; group.ranks() as usize];
    all[group.rank() as usize] = own;
    let sum = Tensor::f_from_slice(&all)?;
    group.sum(&sum)?;
    Ok(sum.f_max()?.f_double_value(&[])?)
}

/// How many calls make a sample, the same number in all processes.
fn calls(group: &Group, device: Device, call: &dyn Fn() -> Result<()>) -> Result<usize> {
    // the first one makes connections and buffers
    together(group, device, 1, call)?;
    let once = together(group, device, 3, call)?;
    Ok((SAMPLE.as_secs_f64() * 1e3 / once)
        .clamp(1.0, MOST_CALLS)
        .ceil() as usize)
}

/// Median and distance of the quartiles.
pub(super) fn summary(times: &[f64]) -> [f64; 2] {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    [at(0.5), at(0.75) - at(0.25)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_median_and_quartile_distance() {
        assert_eq!(summary(&[5.0, 1.0, 2.0, 4.0, 3.0]), [3.0, 2.0]);
        assert_eq!(summary(&[7.0]), [7.0, 0.0]);
    }

    #[test]
    fn the_rate_is_that_of_the_bytes_sent() {
        let of = AllReduce {
            numbers: 1_000_000,
            bytes: 4_000_000,
            sent: 6e6,
            time: [3.0, 0.0],
            copy: [1.0, 0.0],
        };
        assert_eq!(of.rate(), 2.0);
    }
}
