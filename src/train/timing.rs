//! Timing of calls.

use crate::cuda::events::Stopwatch;
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

/// What the time of a call on a GPU includes; on the CPU there is no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// What the host takes to queue the call, where the device waits for it: what a user sees.
    Host,
    /// The device's work alone: the host queues a batch of calls while the device is still busy with something else.
    Device,
}

/// Samples of each subject.
const SAMPLES: usize = 15;
/// A sample repeats its call until it is this long: clocks and scheduling are noise below it.
const SAMPLE: Duration = Duration::from_millis(6);
/// On a GPU a sample has at most this many calls, so that all of them fit into the queue of a stream.
const MOST_CALLS: usize = 100;
/// Bars of a gate at most.
const MOST_BARS: usize = 256;
/// Calls before the first sample, at least this many and at least this long.
const WARM_UP: (usize, Duration) = (3, Duration::from_millis(60));

/// Times every subject, their samples in turn: whatever else the machine does meets all of them alike.
///
/// # Errors
/// What a subject returns.
pub fn compare<const N: usize>(
    device: Device,
    pace: Pace,
    subjects: [&mut dyn FnMut() -> Result<()>; N],
) -> Result<[Timing; N]> {
    compare_samples(device, pace, SAMPLES, subjects)
}

/// As [`compare`], with the number of samples of each subject.
pub fn compare_samples<const N: usize>(
    device: Device,
    pace: Pace,
    samples: usize,
    subjects: [&mut dyn FnMut() -> Result<()>; N],
) -> Result<[Timing; N]> {
    let clock = Clock::of(device)?;
    let mut batches = Vec::with_capacity(N);
    let mut subjects = subjects;
    for call in &mut subjects {
        batches.push(clock.batch(pace, call)?);
    }
    let mut times = [(); N].map(|()| Vec::with_capacity(samples));
    for _ in 0..samples {
        for ((call, batch), times) in subjects.iter_mut().zip(&batches).zip(&mut times) {
            times.push(clock.sample(*batch, call)?);
        }
    }
    Ok(times.map(summary))
}

/// What tells the time: events on a GPU, for its own work, and the host's clock for the CPU's.
pub struct Clock {
    device: Device,
    events: Option<Stopwatch>,
}

/// The calls of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Batch {
    calls: usize,
    /// The gate before them.
    bars: usize,
}

impl Clock {
    /// The clock for work on `device`.
    ///
    /// # Errors
    /// CUDA is not available, or there is no such device.
    pub fn of(device: Device) -> Result<Self> {
        let events = match device {
            Device::Cuda(index) => Some(Stopwatch::new(index)?),
            _ => None,
        };
        Ok(Self { device, events })
    }

    /// What tells the time on `device`, as reports call it.
    pub fn name(device: Device) -> &'static str {
        match device {
            Device::Cuda(_) => "cuda events",
            _ => "host clock",
        }
    }

    /// Milliseconds of `work` on the device, which is done with it afterwards, and its result.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn time<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
        match &self.events {
            Some(events) => events.time(0, work),
            None => {
                let started = Instant::now();
                let result = work()?;
                Ok((started.elapsed().as_secs_f64() * 1e3, result))
            }
        }
    }

    /// Warms up, and chooses the batch of a sample.
    fn batch(&self, pace: Pace, call: &mut dyn FnMut() -> Result<()>) -> Result<Batch> {
        let started = Instant::now();
        let mut calls = 0;
        while calls < WARM_UP.0 || started.elapsed() < WARM_UP.1 {
            call()?;
            wait(self.device);
            calls += 1;
        }
        let once = started.elapsed().as_secs_f64() / calls as f64;
        let calls = (SAMPLE.as_secs_f64() / once).ceil() as usize;
        let Some(events) = &self.events else {
            return Ok(Batch { calls, bars: 0 });
        };
        // one call after the other was waited for: a batch takes less, so it may have more of them
        let mut queued = Duration::ZERO;
        let mut time = |calls: usize| {
            events.time(0, || {
                let started = Instant::now();
                (0..calls).try_for_each(|_| call())?;
                queued = started.elapsed();
                Ok(())
            })
        };
        let tried = calls.min(MOST_CALLS);
        let once = time(tried)?.0 / tried as f64;
        let calls = device_calls(once);
        if pace == Pace::Host || calls == 1 {
            return Ok(Batch { calls, bars: 0 });
        }
        time(calls)?;
        let bar = events.time_of_a_bar()?;
        Ok(Batch {
            calls,
            bars: gate(queued, bar),
        })
    }

    /// Milliseconds of one call.
    fn sample(&self, batch: Batch, call: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        let Batch { calls, bars } = batch;
        let all = || (0..calls).try_for_each(|_| call());
        let time = match &self.events {
            Some(events) => events.time(bars, all)?,
            None => self.time(all)?,
        };
        Ok(time.0 / calls as f64)
    }
}

/// Calls of a sample on a GPU that takes `once` milliseconds for one: [`SAMPLE`], or [`MOST_CALLS`].
fn device_calls(once: f64) -> usize {
    let calls = (SAMPLE.as_secs_f64() * 1e3 / once).ceil();
    // a saturating conversion: a call of no time at all has the most
    (calls as usize).clamp(1, MOST_CALLS)
}

/// Bars of `bar` milliseconds each that hold the device until the host has queued a batch, for which it takes `queued`.
fn gate(queued: Duration, bar: f64) -> usize {
    let bars = (1.5 * queued.as_secs_f64() * 1e3 / bar).ceil();
    (bars as usize).clamp(1, MOST_BARS)
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
        let [quick, slow] = compare(Device::Cpu, Pace::Device, [&mut first, &mut second]).unwrap();
        assert!(quick.median_ms < slow.median_ms);
        assert!(calls[0] > calls[1] && calls[1] >= SAMPLES);
        let mut fails = || Err(crate::Error::config("no"));
        assert!(compare(Device::Cpu, Pace::Host, [&mut fails]).is_err());
    }

    #[test]
    fn samples_on_a_gpu_are_long_or_have_many_calls_and_the_gate_outlasts_the_host() {
        assert_eq!(device_calls(6.1), 1);
        assert_eq!(device_calls(2.0), 3);
        assert_eq!(device_calls(0.002), MOST_CALLS);
        assert_eq!(device_calls(0.0), MOST_CALLS);
        let ms = Duration::from_millis;
        assert_eq!(gate(ms(1), 0.02), 75);
        assert_eq!(gate(ms(0), 0.02), 1);
        assert_eq!(gate(ms(1000), 0.02), MOST_BARS);
        assert_eq!(gate(ms(1), 0.0), MOST_BARS);
    }
}
