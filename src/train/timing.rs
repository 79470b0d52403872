//! Timing of calls.

use crate::Result;
use std::time::{Duration, Instant};
use tch::Device;

/// Time of one call, milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Middle of the samples.
    pub median_ms: f64,
    /// Distance between the quartiles of the samples.
    pub iqr_ms: f64,
}

/// Samples of each subject.
const SAMPLES: usize = 15;
/// A sample repeats its call until it is this long: clocks and scheduling are noise below it.
const SAMPLE: Duration = Duration::from_millis(6);
/// Calls before the first sample, at least this many and at least this long.
const WARM_UP: (usize, Duration) = (3, Duration::from_millis(60));

/// Times every subject, their samples in turn: whatever else the machine does meets all of them alike.
///
/// On a GPU a sample ends when the device has done its calls.
///
/// # Errors
/// What a subject returns.
pub fn compare<const N: usize>(
    device: Device,
    subjects: [&mut dyn FnMut() -> Result<()>; N],
) -> Result<[Timing; N]> {
    compare_samples(device, SAMPLES, subjects)
}

/// As [`compare`], with the number of samples of each subject.
pub fn compare_samples<const N: usize>(
    device: Device,
    samples: usize,
    subjects: [&mut dyn FnMut() -> Result<()>; N],
) -> Result<[Timing; N]> {
    let mut subjects = subjects.map(|call| (call, 1, Vec::with_capacity(samples)));
    for (call, repeats, _) in &mut subjects {
        let started = Instant::now();
        let mut calls = 0;
        while calls < WARM_UP.0 || started.elapsed() < WARM_UP.1 {
            call()?;
            wait(device);
            calls += 1;
        }
        let once = started.elapsed().as_secs_f64() / calls as f64;
        *repeats = (SAMPLE.as_secs_f64() / once).ceil() as usize;
    }
    for _ in 0..samples {
        for (call, repeats, samples) in &mut subjects {
            let started = Instant::now();
            for _ in 0..*repeats {
                call()?;
            }
            wait(device);
            samples.push(started.elapsed().as_secs_f64() * 1e3 / *repeats as f64);
        }
    }
    Ok(subjects.map(|(_, _, samples)| summary(samples)))
}

/// Waits until the device has done what was asked of it.
pub fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

/// Median and distance of the quartiles of times in milliseconds; zeros if there is none.
pub fn summary(mut samples: Vec<f64>) -> Timing {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    let at = |quarter: usize| samples.get(last * quarter / 4).copied().unwrap_or(0.0);
    Timing {
        median_ms: at(2),
        iqr_ms: at(3) - at(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_median_and_distance_of_the_quartiles() {
        let timing = summary(vec![9.0, 1.0, 3.0, 2.0, 100.0]);
        assert_eq!((timing.median_ms, timing.iqr_ms), (3.0, 7.0));
    }

    #[test]
    fn every_subject_is_called_and_its_error_comes_out() {
        let mut calls = [0; 2];
        let [a, b] = &mut calls;
        let mut first = || {
            *a += 1;
            std::thread::sleep(Duration::from_micros(400));
            Ok(())
        };
        let mut second = || {
            *b += 1;
            std::thread::sleep(Duration::from_millis(4));
            Ok(())
        };
        let [quick, slow] = compare(Device::Cpu, [&mut first, &mut second]).unwrap();
        assert!(quick.median_ms < slow.median_ms);
        assert!(calls[0] > calls[1] && calls[1] >= SAMPLES);
        let mut fails = || Err(crate::Error::config("no"));
        assert!(compare(Device::Cpu, [&mut fails]).is_err());
    }
}
