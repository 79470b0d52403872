//! `inverse-flow bench distributed`: what the exchange between processes costs.

use super::all_reduce::{self, slowest, summary, together, AllReduce};
use super::head::head;
use crate::cli::compute::Compute;
use crate::data::{stream, Purpose};
use crate::distributed::{Group, Place};
use crate::train::timing::Clock;
use crate::train::{
    build_model, initialize_at_random, say, DeviceChoice, Learner, Own, RunConfig, Team, Wishes,
};
use crate::words::{self, counted};
use crate::{Error, Result};
use clap::Args;
use serde_json::json;
use std::cell::RefCell;
use std::time::Duration;
use tch::Device;

/// How long a process may take to come, and for anything that only one of them does.
const TIMEOUT: Duration = Duration::from_secs(300);
/// float32 numbers of a sum, unless others are asked for.
const SIZES: [i64; 6] = [1, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Time sums over several processes, and a training step with and without its sum
#[derive(Debug, Args)]
#[command(
    after_help = "Example: torchrun --no-python --nproc-per-node 2 inverse-flow bench distributed --threads 1
It also starts without torchrun, where RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set (and LOCAL_RANK for GPUs).
Rank 0 prints. Times are milliseconds in the slowest process, medians of samples taken in turn; all processes begin a sample
together. Each process sends at least 2 (n - 1) / n of a tensor's bytes in a sum over n. The control of a sum is a copy of as
many bytes in all processes at once. A step is that of the preset on its part of the batch: alone in rank 0 while the others wait,
in all of them without any exchange (the control: what they share of one machine), and with the sum of all gradients."
)]
pub struct DistributedArgs {
    /// float32 numbers of a sum; may be repeated [default: 1 to 10 million]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    size: Vec<i64>,
    /// Preset whose training step is timed
    #[arg(long, value_name = "P", default_value = "quick/inverse-flow", value_parser = crate::cli::values::preset(), hide_possible_values = true)]
    preset: String,
    /// Images of a step in all processes together [default: those of the preset]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    batch: Option<i64>,
    /// Number of samples of each time
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..))]
    samples: u64,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

/// A training step; times are milliseconds, median and quartile distance.
struct StepTimes {
    /// Trainable numbers.
    params: i64,
    /// Images of one process.
    images: i64,
    /// Bytes of the gradients; the sum has the likelihood and three wishes more.
    bytes: i64,
    /// In rank 0 while the others wait.
    alone: [f64; 2],
    /// In all processes, without exchange.
    control: [f64; 2],
    /// With the sum.
    step: [f64; 2],
}

impl StepTimes {
    /// What the exchange leaves of the time.
    fn efficiency(&self) -> f64 {
        self.control[0] / self.step[0]
    }

    /// What sharing the machine leaves of it.
    fn sharing(&self) -> f64 {
        self.alone[0] / self.control[0]
    }
}

impl DistributedArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        self.compute.apply_threads()?;
        let place = Place::from_env()?.ok_or_else(|| {
            Error::config(
                "bench distributed measures several processes, and this one is alone: \
                 torchrun --no-python --nproc-per-node 2 inverse-flow bench distributed",
            )
        })?;
        let choice = self.compute.device.unwrap_or(DeviceChoice::Auto);
        let device = choice.pick_in(&place)?.device;
        let group = Group::join(&place, TIMEOUT)?;
        group.connect(device)?;
        let team = Team::of(group);
        let group = team.group().expect("made of one");
        self.measure(&team, group, device)?;
        group.barrier()?;
        Ok(())
    }

    fn measure(&self, team: &Team, group: &Group, device: Device) -> Result<()> {
        let tell = |text: &str| {
            if group.rank() == 0 {
                say(text);
            }
        };
        if !self.json {
            let (ranks, over) = (
                counted(group.ranks() as usize, "process"),
                group.exchange(device),
            );
            tell(&format!(
                "{ranks} over {over}; rank 0 on {}, {}",
                head(device),
                Clock::name(device)
            ));
            tell("numbers        bytes  sent by each    sum ms     iqr    GB/s  copy ms");
        }
        let sizes = if self.size.is_empty() {
            &SIZES[..]
        } else {
            &self.size
        };
        for &numbers in sizes {
            let times = all_reduce::measure(group, device, numbers, self.samples as usize)?;
            tell(&match self.json {
                true => self.sum_to_json(group, device, &times),
                false => sum_to_text(&times),
            });
        }
        let times = self.step(team, group, device)?;
        tell(&match self.json {
            true => self.step_to_json(group, device, &times),
            false => self.step_to_text(&times),
        });
        Ok(())
    }

    fn step(&self, team: &Team, group: &Group, device: Device) -> Result<StepTimes> {
        let config = RunConfig::resolve(Some(&self.preset), None)?;
        let (mut model, vs) = build_model(&config, device)?;
        let ranks = i64::from(group.ranks());
        let of_all = self.batch.unwrap_or(config.train.batch_size as i64);
        let images = of_all / ranks;
        if images == 0 {
            return Err(Error::config(format!(
                "--batch {of_all}: fewer images than the {ranks} processes"
            )));
        }
        let mut rng = stream(0, Purpose::Noise, u64::from(group.rank()));
        let batch = initialize_at_random(&mut model, images, &mut rng, device)?;
        let learner = RefCell::new(Learner::new(model, vs, &config.train)?);
        let params: i64 = learner
            .borrow()
            .adam
            .params()
            .iter()
            .map(|p| p.numel() as i64)
            .sum();
        let step = || {
            learner
                .borrow_mut()
                .step(&batch.x, batch.given(), 1e-6)
                .map(drop)
        };
        let own = Own {
            x: &batch.x,
            given: batch.given(),
            share: 1.0 / ranks as f64,
            wishes: Wishes::default(),
        };
        let exchanged = || learner.borrow_mut().step_whole(team, own, 1e-6).map(drop);
        let clock = Clock::of(device)?;
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for sample in 0..=self.samples {
            group.barrier()?;
            let own = match group.rank() {
                0 => clock.time(step)?.0,
                _ => 0.0,
            };
            let now = [
                slowest(group, own)?,
                together(group, device, 1, &step)?,
                together(group, device, 1, &exchanged)?,
            ];
            if sample > 0 {
                // the first one warms up
                times
                    .iter_mut()
                    .zip(now)
                    .for_each(|(times, now)| times.push(now));
            }
        }
        let [alone, control, step] = times.map(|times| summary(&times));
        Ok(StepTimes {
            params,
            images,
            bytes: 4 * params,
            alone,
            control,
            step,
        })
    }

    fn sum_to_json(&self, group: &Group, device: Device, times: &AllReduce) -> String {
        json!({
            "bench": "distributed",
            "what": "sum",
            "device": words::device(device),
            "exchange": group.exchange(device),
            "ranks": group.ranks(),
            "threads": tch::get_num_threads(),
            "timer": Clock::name(device),
            "numbers": times.numbers,
            "bytes": times.bytes,
            "sent_bytes": times.sent,
            "median_ms": times.time[0],
            "iqr_ms": times.time[1],
            "sent_gb_per_s": times.rate(),
            "copy_ms": times.copy[0],
        })
        .to_string()
    }

    fn step_to_json(&self, group: &Group, device: Device, times: &StepTimes) -> String {
        json!({
            "bench": "distributed",
            "what": "step",
            "device": words::device(device),
            "exchange": group.exchange(device),
            "ranks": group.ranks(),
            "threads": tch::get_num_threads(),
            "timer": Clock::name(device),
            "preset": self.preset,
            "params": times.params,
            "images_per_rank": times.images,
            "bytes": times.bytes,
            "alone_ms": times.alone[0],
            "alone_iqr_ms": times.alone[1],
            "control_ms": times.control[0],
            "control_iqr_ms": times.control[1],
            "step_ms": times.step[0],
            "step_iqr_ms": times.step[1],
            "efficiency": times.efficiency(),
            "sharing": times.sharing(),
        })
        .to_string()
    }

    fn step_to_text(&self, times: &StepTimes) -> String {
        let line = |what: &str, [median, iqr]: [f64; 2]| {
            format!("\n  {what:<38} {median:>9.2} ms ({iqr:.2})")
        };
        format!(
            "{}: step on {} a process, sum of {}, {}{}{}{}\n  of the time of a step, the exchange leaves {:.1} %, sharing \
             the machine {:.1} %",
            self.preset,
            counted(times.images as usize, "image"),
            counted(times.params as usize, "number"),
            counted(times.bytes as usize, "byte"),
            line("rank 0 alone, the others waiting", times.alone),
            line("all processes, without exchange", times.control),
            line("all processes, with the sum", times.step),
            100.0 * times.efficiency(),
            100.0 * times.sharing(),
        )
    }
}

fn sum_to_text(times: &AllReduce) -> String {
    format!(
        "{:>8} {:>11} {:>13.0} {:>9.3} {:>7.3} {:>7.3} {:>8.3}",
        times.numbers,
        times.bytes,
        times.sent,
        times.time[0],
        times.time[1],
        times.rate(),
        times.copy[0]
    )
}
