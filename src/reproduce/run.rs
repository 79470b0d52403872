//! One row: time the training step, train, evaluate, time the sampling; each part once.

use super::measure::{sample_times, step_times};
use super::{
    BudgetName, Environment, Mode, Pass, Plan, Row, RowState, SampleTimes, SeedState, Status, Test,
};
use crate::data::{load_split, DataConfig, DataName, Source, Split};
use crate::flows::Cx;
use crate::models::parameter_count;
use crate::train::{
    build_model, find_checkpoint, load_model, presets, stop, Checkpoint, Dequantization,
    DeviceChoice, Evaluation, Outcome, RunConfig, RunDir, Trainer, Watch,
};
use crate::{Error, Result};
use std::path::Path;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// Runs what is missing of a row, or of one pass of it, and keeps every number in its folder; every run of it is watched
/// by what `watch` makes. An error of the row becomes part of its state; a signal leaves it interrupted.
///
/// # Errors
/// Its folder cannot be read or written.
pub fn run_row(
    plan: &Plan,
    row: &Row,
    dir: &Path,
    only: Option<Pass>,
    environment: Environment,
    watch: &dyn Fn() -> Box<dyn Watch>,
) -> Result<RowState> {
    let mut state = RowState::read(dir, &row.name)?;
    let missing = |state: &RowState, pass| !state.is_complete(pass, &plan.budget);
    let asked: Vec<_> = Pass::ALL
        .into_iter()
        .filter(|pass| only.is_none_or(|only| only == *pass))
        .filter(|pass| missing(&state, *pass))
        .collect();
    if asked.is_empty() {
        return Ok(state);
    }
    let started = Instant::now();
    let before = state.wall_seconds;
    state.status = Status::Interrupted;
    state.preset.clone_from(&row.preset);
    for pass in &asked {
        state.passes.add(*pass, &environment);
    }
    state.environment = environment;
    state.error = None;
    let mut work = Work {
        plan,
        row,
        dir,
        asked,
        watch,
        started,
        before,
    };
    let outcome = work.run(&mut state);
    match outcome {
        Ok(true) => {
            let half = Pass::ALL.into_iter().any(|pass| missing(&state, pass));
            state.status = if half { Status::OnePass } else { Status::Done };
        }
        Ok(false) => {}
        Err(err) => {
            state.status = Status::Failed;
            state.error = Some(err.to_string());
        }
    }
    work.keep(&mut state)?;
    Ok(state)
}

struct Work<'a> {
    plan: &'a Plan,
    row: &'a Row,
    dir: &'a Path,
    asked: Vec<Pass>,
    watch: &'a dyn Fn() -> Box<dyn Watch>,
    started: Instant,
    before: f64,
}

impl Work<'_> {
    fn keep(&mut self, state: &mut RowState) -> Result<()> {
        state.wall_seconds = self.before + self.started.elapsed().as_secs_f64();
        state.write(self.dir, &self.row.name)
    }

    fn is_asked(&self, pass: Pass) -> bool {
        self.asked.contains(&pass)
    }

    /// Whether all that was asked for is done; not so if a signal asked to stop.
    fn run(&mut self, state: &mut RowState) -> Result<bool> {
        let device = self.plan.device.parse::<DeviceChoice>()?.pick()?.device;
        let config = self.config(state)?;
        if self.is_asked(Pass::Times) && state.step.is_none() {
            // tables of sizes are about time and memory
            let rebuild = self.plan.table.varies().is_some();
            state.step = step_times(&config, device, &self.plan.budget.timings, rebuild)?;
            if let Some(step) = &state.step {
                state.params = Some(step.params);
            }
            self.keep(state)?;
        }
        if self.is_asked(Pass::Likelihood) && !self.likelihood(state, &config, device)? {
            return Ok(false);
        }
        if self.is_asked(Pass::Times) && state.sampling.is_none() && !stop::requested() {
            let is_trained = state.seeds.iter().any(|done| done.seed == 0);
            state.sampling = match is_trained {
                true => self.sampling(&config, device)?,
                false => self.fresh_sampling(&config, device)?,
            };
            self.keep(state)?;
        }
        let budget = &self.plan.budget;
        Ok(self
            .asked
            .iter()
            .all(|pass| state.is_complete(*pass, budget)))
    }

    /// Whether every seed is trained and evaluated.
    fn likelihood(
        &mut self,
        state: &mut RowState,
        config: &RunConfig,
        device: Device,
    ) -> Result<bool> {
        for seed in 0..self.plan.budget.seeds {
            if stop::requested() {
                return Ok(false);
            }
            if state.seeds.iter().any(|done| done.seed == seed) {
                continue;
            }
            let config = RunConfig {
                seed,
                ..config.clone()
            };
            match self.train(state, config, device)? {
                Some(done) => state.seeds.push(done),
                None => return Ok(false),
            }
            self.keep(state)?;
        }
        Ok(true)
    }

    /// The configuration of the row's runs: the preset, cut down to the budget, on the data that are there.
    fn config(&self, state: &mut RowState) -> Result<RunConfig> {
        let mut config = presets::by_name(&self.row.preset)?;
        self.plan.budget.apply(self.row, &mut config);
        config.train.device.clone_from(&self.plan.device);
        config.data.dir.clone_from(&self.plan.data_dir);
        if self.plan.clamp && self.row.mode == Mode::Faithful {
            config.train.clamp_weights = clamp(&self.row.preset);
        }
        state.clamp = config.train.clamp_weights;
        state.batch_size = config.train.batch_size;
        if !self.is_asked(Pass::Likelihood) {
            // images are of no account for times, and those of the likelihoods are already known or will be
            return Ok(config);
        }
        state.own_data = !matches!(config.data.name, Source::Known(DataName::Noise(_)));
        if let Err(missing) = present(&config.data) {
            if self.plan.budget.name != BudgetName::Smoke {
                return Err(missing);
            }
            state.own_data = false;
            let side = config.model.image()[1] as u16;
            config.data.name = match config.data.name == DataName::Mnist {
                true => DataName::Glyphs,
                false => DataName::Noise(side),
            }
            .into();
        }
        state.data = config.data.name.to_string();
        Ok(config)
    }

    fn train(
        &self,
        state: &mut RowState,
        config: RunConfig,
        device: Device,
    ) -> Result<Option<SeedState>> {
        let seed = config.seed;
        let root = Plan::row_dir(self.dir, &self.row.name).join(format!("seed-{seed}"));
        let mut trainer = match root.join("checkpoints/last.safetensors").exists() {
            true => Trainer::resume(RunDir::open(&root)?, (self.watch)(), |_| Ok(()))?,
            false => {
                if root.exists() {
                    // a run that was stopped before its first checkpoint
                    std::fs::remove_dir_all(&root).map_err(|err| Error::file(&root, err))?;
                }
                Trainer::new(config.clone(), &root, false, (self.watch)())?
            }
        };
        let problem = match trainer.run() {
            Ok(Outcome::Interrupted) => return Ok(None),
            Ok(Outcome::Finished) => None,
            Err(err @ Error::Diverged(_)) => Some(err.to_string()),
            Err(err) => return Err(err),
        };
        let progress = trainer.progress();
        drop(trainer);
        let t = &config.train;
        let reached = t.target_bpd.zip(progress.best_bpd);
        Ok(Some(SeedState {
            seed,
            steps: progress.step,
            seconds: progress.seconds,
            val_bpd: progress.best_bpd,
            complete: progress.epoch > t.epochs || reached.is_some_and(|(goal, best)| best <= goal),
            test: self.test(state, &root, &config, device)?,
            problem,
        }))
    }

    /// The untouched test split, once for every dequantisation sample.
    fn test(
        &self,
        state: &mut RowState,
        root: &Path,
        config: &RunConfig,
        device: Device,
    ) -> Result<Option<Test>> {
        let (model, vs) = load_model(&Checkpoint::open(&find_checkpoint(root)?)?, device)?;
        state.params = Some(parameter_count(&vs));
        let data = load_split(&config.data, config.seed, Split::Test)?;
        let mut test = Test {
            images: data.len(),
            bpd: Vec::new(),
            nll_nats: Vec::new(),
        };
        for sample in 0..self.plan.budget.samples {
            let evaluation = Evaluation {
                batch_size: config.train.batch_size,
                dequantize: Dequantization::Uniform,
                seed: sample,
                device,
            };
            let likelihood = evaluation.likelihood(&model, &data)?;
            if !likelihood.bpd.is_finite() {
                return Ok(None);
            }
            test.bpd.push(likelihood.bpd);
            test.nll_nats.push(likelihood.nll_nats);
        }
        Ok(Some(test))
    }

    /// Sampling with the model of the first seed.
    fn sampling(&self, config: &RunConfig, device: Device) -> Result<Option<SampleTimes>> {
        let root = Plan::row_dir(self.dir, &self.row.name).join("seed-0");
        let (model, _vs) = load_model(&Checkpoint::open(&find_checkpoint(&root)?)?, device)?;
        let timings = &self.plan.budget.timings;
        match sample_times(&model, device, timings) {
            // a trained model that cannot be inverted is a result: what sampling costs is told by a fresh one
            Err(err @ (Error::NotConverged { .. } | Error::Singular { .. })) => {
                let mut times = self.fresh_sampling(config, device)?;
                if let Some(times) = &mut times {
                    times.problem = Some(err.to_string());
                }
                Ok(times)
            }
            times => times,
        }
    }

    fn fresh_sampling(&self, config: &RunConfig, device: Device) -> Result<Option<SampleTimes>> {
        let (mut model, _vs) = build_model(config, device)?;
        let [c, h, w] = config.model.image();
        let x = Tensor::f_rand([8, c, h, w], (Kind::Float, device))?;
        let x = x.f_mul_scalar(255.0)?.f_floor()?;
        tch::no_grad(|| model.initialize(&x, Cx::default()))?;
        let times = sample_times(&model, device, &self.plan.budget.timings)?;
        Ok(times.map(|times| SampleTimes {
            fresh: true,
            ..times
        }))
    }
}

/// Whether every split of a data set can be read.
fn present(data: &DataConfig) -> Result<()> {
    let one = DataConfig {
        limit: Some(1),
        ..data.clone()
    };
    for split in [Split::Train, Split::Val, Split::Test] {
        load_split(&one, 0, split)?;
    }
    Ok(())
}

/// What the published code clamps every parameter to (`grad_clip` in its configurations, applied to the weights); the
/// methods of other code are not clamped.
fn clamp(preset: &str) -> Option<f64> {
    match preset {
        "table3/inverse-flow" | "table6/inverse-flow" => Some(0.01),
        "table3/finc" | "table3/snf" | "table3/emerging" => Some(0.01),
        "table6/finc" | "table6/snf" => Some(0.001),
        preset if preset.starts_with("table10/") => Some(0.01),
        _ => None,
    }
}
