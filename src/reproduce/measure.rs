//! Times and memory by two protocols, side by side.
//!
//! | | the authors' | a sound one |
//! |---|---|---|
//! | sampling | 100 single draws, numbers 20 to 79 kept, mean and population deviation (ST) | 1 and 100 images a call, warm-up, median and distance of the quartiles |
//! | forward | a whole training step, the first and last batches dropped (FT) | the forward pass and the training step, each by itself |
//!
//! In both the clock stops when the device has done its work. Latents are drawn inside the timed call, as in the
//! published code (`inf/train/experiment.py`, lines 276 to 331 and 377 to 400).

use super::times::{Authors, RebuiltStep, SampleTimes, Sound, StepTimes};
use super::Timings;
use crate::cuda::check;
use crate::data::{stream, Purpose};
use crate::ffi::peak;
use crate::flows::Cx;
use crate::models::{parameter_count, MultiScale};
use crate::train::timing::{summary, wait};
use crate::train::{build_model, initialize_at_random, stop, Learner, RandomBatch, RunConfig};
use crate::Result;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// A learning rate that leaves the parameters where they are, so that all steps do the same work.
const STANDSTILL: f64 = 1e-9;

/// Training step, forward pass and memory of a fresh model on random images; `None` if a signal asked to stop. With
/// `rebuild` also a step that rebuilds its activations.
///
/// # Errors
/// What the model reports, not enough memory among it.
pub fn step_times(
    config: &RunConfig,
    device: Device,
    timings: &Timings,
    rebuild: bool,
) -> Result<Option<StepTimes>> {
    peak::reset(device)?;
    let held = peak::peak(device)?.mib;
    let (mut model, vs) = build_model(config, device)?;
    let params = parameter_count(&vs);
    let images = config.train.batch_size as i64;
    let mut rng = stream(config.seed, Purpose::Probe, 0);
    let batch = initialize_at_random(&mut model, images, &mut rng, device)?;
    let mut learner = Learner::new(model, vs, &config.train)?;
    let rebuilt = match rebuild {
        false => None,
        true => match rebuilt(&mut learner, &batch, device, timings, held)? {
            Some(rebuilt) => Some(rebuilt),
            None => return Ok(None),
        },
    };
    peak::reset(device)?;
    let mut step = || learner.step(&batch.x, batch.given(), STANDSTILL).map(drop);
    let Some(authors) = calls(
        device,
        (LEAST_CALLS, timings.steps),
        timings.seconds,
        &mut step,
    )?
    else {
        return Ok(None);
    };
    let Some(sound_step) = sound(device, timings, images, &mut step)? else {
        return Ok(None);
    };
    let peak = peak::peak(device)?;
    let model = &learner.model;
    let mut forward = || tch::no_grad(|| model.log_prob(&batch.x, batch.cx())).map(drop);
    let Some(forward) = sound(device, timings, images, &mut forward)? else {
        return Ok(None);
    };
    Ok(Some(StepTimes {
        params,
        ft: Authors::of(&authors, timings.dropped),
        step: sound_step,
        forward,
        peak_bytes: Some(bytes(peak.mib - held)),
        memory_is: peak.what.into(),
        rebuilt,
    }))
}

fn bytes(mib: f64) -> u64 {
    (mib.max(0.0) * f64::from(1 << 20)) as u64
}

/// The steps that rebuild their activations, before others have taken memory that the system may not get back. `held`
/// are the MiB from before the model was built.
fn rebuilt(
    learner: &mut Learner,
    batch: &RandomBatch,
    device: Device,
    timings: &Timings,
    held: f64,
) -> Result<Option<RebuiltStep>> {
    learner.rebuild_activations(true);
    peak::reset(device)?;
    let images = batch.x.size()[0];
    let mut call = || learner.step(&batch.x, batch.given(), STANDSTILL).map(drop);
    let Some(step) = sound(device, timings, images, &mut call)? else {
        return Ok(None);
    };
    let peak = peak::peak(device)?;
    let (_, rebuilt) = learner.gradients(&batch.x, batch.given())?;
    learner.rebuild_activations(false);
    let (_, kept) = learner.gradients(&batch.x, batch.given())?;
    Ok(Some(RebuiltStep {
        step,
        peak_bytes: Some(bytes(peak.mib - held)),
        gradient_difference: difference(&kept, &rebuilt)?,
    }))
}

/// `|b - a| / |a|` over all gradients together; those that are undefined are 0.
fn difference(a: &[Tensor], b: &[Tensor]) -> Result<f64> {
    let (mut apart, mut length) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b).filter(|(a, b)| a.defined() && b.defined()) {
        let (a, b) = (a.f_to_kind(Kind::Double)?, b.f_to_kind(Kind::Double)?);
        length += a.f_square()?.f_sum(Kind::Double)?.f_double_value(&[])?;
        let squares = b.f_sub(&a)?.f_square()?;
        apart += squares.f_sum(Kind::Double)?.f_double_value(&[])?;
    }
    Ok((apart / length).sqrt())
}

/// Sampling with a model; `None` if a signal asked to stop.
///
/// # Errors
/// What the model reports.
pub fn sample_times(
    model: &MultiScale,
    device: Device,
    timings: &Timings,
) -> Result<Option<SampleTimes>> {
    let draw = |images: i64| {
        // latents from libtorch's own generator on the device, as the published code draws them
        model.sample(images, 1.0, Cx::default()).map(drop)
    };
    let Some(draws) = calls(
        device,
        (LEAST_CALLS, timings.draws),
        timings.seconds,
        &mut || draw(1),
    )?
    else {
        return Ok(None);
    };
    let Some(one) = sound(device, timings, 1, &mut || draw(1))? else {
        return Ok(None);
    };
    let many = timings.many;
    let Some(many) = sound(device, timings, many, &mut || draw(many))? else {
        return Ok(None);
    };
    check(device).map_err(|err| model.locate(err, Cx::default()))?;
    Ok(Some(SampleTimes {
        st: Authors::of(&draws, draws.len() / 5),
        one,
        many,
        problem: None,
        fresh: false,
    }))
}

/// Calls of a quantity that are made even if its time is over, unless a single call takes all of that time.
const LEAST_CALLS: usize = 3;

/// Milliseconds of up to `most` calls, fewer after `seconds` but at least `least`, or one that takes longer than
/// `seconds`; `None` if a signal asked to stop.
fn calls(
    device: Device,
    (least, most): (usize, usize),
    seconds: f64,
    call: &mut dyn FnMut() -> Result<()>,
) -> Result<Option<Vec<f64>>> {
    let mut times = Vec::with_capacity(most);
    let began = Instant::now();
    let enough = |times: &[f64]| {
        let long = times.last().is_some_and(|&ms| ms > seconds * 1e3);
        let over = began.elapsed().as_secs_f64() >= seconds;
        times.len() >= most || long || (times.len() >= least && over)
    };
    while !enough(&times) {
        if stop::requested() {
            return Ok(None);
        }
        wait(device);
        let started = Instant::now();
        call()?;
        wait(device);
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Some(times))
}

fn sound(
    device: Device,
    timings: &Timings,
    images: i64,
    call: &mut dyn FnMut() -> Result<()>,
) -> Result<Option<Sound>> {
    if calls(device, (1, timings.warm_up), timings.seconds / 5.0, call)?.is_none() {
        return Ok(None);
    }
    let Some(times) = calls(device, (LEAST_CALLS, timings.calls), timings.seconds, call)? else {
        return Ok(None);
    };
    let count = times.len();
    let timing = summary(times);
    Ok(Some(Sound {
        median_ms: timing.median_ms,
        iqr_ms: timing.iqr_ms,
        calls: count,
        images,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_calls_are_made_three_times_very_slow_ones_once_and_their_errors_come_out() {
        let made = |most: usize, seconds: f64, call_ms: u64| {
            let mut made = 0;
            let times = calls(Device::Cpu, (3, most), seconds, &mut || {
                made += 1;
                std::thread::sleep(std::time::Duration::from_millis(call_ms));
                Ok(())
            });
            assert_eq!(times.unwrap().unwrap().len(), made);
            made
        };
        assert_eq!(made(50, 0.5, 200), 3);
        assert_eq!(made(50, 0.005, 50), 1);
        assert_eq!(made(2, 60.0, 0), 2);
        let mut fails = || Err(crate::Error::config("no"));
        assert!(calls(Device::Cpu, (3, 5), 1.0, &mut fails).is_err());
    }
}
