//! `inverse-flow reproduce`

use super::{doctor, signals, Screen};
use crate::data::default_data_dir;
use crate::reproduce::{
    draw, run_row, select, Budget, BudgetName, Pass, Plan, Row, RowState, Status, Table,
    TableReport,
};
use crate::train::{say, stop, DeviceChoice, Watch};
use crate::words::counted;
use crate::Error;
use anyhow::Context;
use clap::Args;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time between two looks at a running row.
const LOOK: Duration = Duration::from_millis(50);

/// Measure a table of the paper again, row by row, and report every number beside the printed one
///
/// The folder gets report.md, report.json, report.html and plots/, and rows/ROW with the run folders of each row. Ctrl-C and
/// --max-minutes save and stop; the same command continues, and does not run finished rows again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: inverse-flow reproduce table3 --budget smoke --out runs/table3-smoke
          inverse-flow reproduce table3 --budget short-cpu --max-minutes 60 --out runs/table3
          inverse-flow reproduce table3 --row harness --budget steps --steps-per-row 1500 --seeds 3 --out runs/table3
          inverse-flow reproduce table6 --row inverse-flow --row snf --budget full --device cuda --out runs/table6
Budgets: smoke (seconds for a row), short (an hour on one GPU), short-cpu (equal minutes for every method on one backbone),
steps (equal training steps, whatever else the machine does),
full (the recipe of each row with three seeds, until the paper's bits per dimension)."
)]
pub struct ReproduceArgs {
    /// Table: table3, table6, table7, table9 or table10
    #[arg(value_name = "TABLE")]
    table: Table,
    /// Only this row, or all of a kind: published, harness, harness-wide or tuned; may be repeated [default: all but a few]
    #[arg(long, value_name = "R")]
    row: Vec<String>,
    /// What each row gets: smoke, short, short-cpu, steps or full
    #[arg(long, value_name = "B", default_value = "smoke")]
    budget: BudgetName,
    /// Only this pass: likelihood (training and test split) or times (with memory; wants a quiet machine)
    #[arg(long, value_name = "PASS")]
    only: Option<Pass>,
    /// Training steps of each run, for --budget steps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps_per_row: Option<u64>,
    /// Training minutes of each run, instead of the budget's
    #[arg(long, value_name = "T", conflicts_with = "steps_per_row")]
    minutes_per_row: Option<f64>,
    /// Number of seeds, instead of the budget's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Images per step, instead of the recipe's
    #[arg(long, value_name = "B")]
    batch_size: Option<usize>,
    /// Limit the weights as the published code does, in the rows as published
    #[arg(long)]
    clamp: bool,
    /// Stop after T minutes; the same command continues
    #[arg(long, value_name = "T")]
    max_minutes: Option<f64>,
    /// Folder of the data files [default: $INVERSE_FLOW_DATA, else data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder of the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Run nothing, only write the reports again
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    compute: super::compute::Compute,
    /// Run one row in this process, for a parent that reads its state
    #[arg(long, hide = true, value_name = "R")]
    run_row: Option<String>,
}

impl ReproduceArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        signals::install()?;
        // what a row has done is saved when it stops
        let _listening = stop::listen();
        if let Some(row) = &self.run_row {
            return self.child(row);
        }
        let rows = select(self.table, &self.row)?;
        let plan = match self.report {
            true => Plan::read(&self.out)?
                .ok_or_else(|| Error::file(&self.out, "holds no results to report on"))?,
            false => self.plan()?,
        };
        plan.settle(&self.out, self.only)?;
        let here = doctor::environment(plan.device.parse::<DeviceChoice>()?.pick()?.device);
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|row| plan.budget.includes(row))
            .collect();
        let mut failed = Vec::new();
        let mut open = 0;
        if !self.report {
            let deadline = self.deadline();
            for (nth, row) in rows.iter().enumerate() {
                let place = format!("{} of {}: {}", nth + 1, rows.len(), row.name);
                let state = self.row_state(&plan, row, &place, deadline)?;
                match state.status {
                    Status::Failed => failed.push(row.name.clone()),
                    _ if self.is_done(&plan, &state) => {}
                    _ => open += 1,
                }
                TableReport::read(&plan, &self.out, &here)?.write_numbers(&self.out)?;
            }
        }
        let report = TableReport::read(&plan, &self.out, &here)?;
        report.write_numbers(&self.out)?;
        draw(&report, &plan, &self.out)?;
        report.write_page(&self.out)?;
        let out = self.out.display();
        say(&format!(
            "see report.html, report.md and report.json in {out}"
        ));
        if open > 0 {
            say(&format!(
                "not done yet: {}; the same command goes on",
                counted(open, "row")
            ));
        }
        match failed.as_slice() {
            [] => Ok(()),
            names => Err(anyhow::anyhow!(
                "{} failed: the report says why, the same command tries again",
                names.join(", ")
            )),
        }
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        self.compute.apply_threads()?;
        let device = self.compute.device.unwrap_or(DeviceChoice::Auto);
        let picked = device.pick()?;
        if device == DeviceChoice::Auto {
            eprintln!("device: {}", picked.text);
        }
        let mut budget = self.budget()?;
        budget.minutes = self.minutes_per_row.or(budget.minutes);
        budget.seeds = self.seeds.unwrap_or(budget.seeds);
        budget.batch_size = self.batch_size.or(budget.batch_size);
        let data_dir = self.data_dir.clone().unwrap_or_else(default_data_dir);
        Ok(Plan {
            table: self.table,
            budget,
            clamp: self.clamp,
            // what was chosen, so that a row which goes on elsewhere does not change its device in silence
            device: match picked.device {
                tch::Device::Cuda(index) => format!("cuda:{index}"),
                _ => "cpu".into(),
            },
            threads: self.compute.threads,
            data_dir: std::fs::canonicalize(&data_dir).unwrap_or(data_dir),
        })
    }

    /// The budget by its name, or by its number of steps.
    fn budget(&self) -> crate::Result<Budget> {
        match (self.budget, self.steps_per_row) {
            (BudgetName::Steps, Some(steps)) => Budget::of_steps(steps, self.table),
            (name, Some(_)) => Err(Error::config(format!(
                "--steps-per-row is for --budget steps, this is budget {name}"
            ))),
            (name, None) => Budget::new(name, self.table),
        }
    }

    /// Whether all that this command asks of a row is there.
    fn is_done(&self, plan: &Plan, state: &RowState) -> bool {
        let mut asked = Pass::ALL
            .into_iter()
            .filter(|pass| self.only.is_none_or(|only| only == *pass));
        asked.all(|pass| state.is_complete(pass, &plan.budget))
    }

    fn deadline(&self) -> Option<Instant> {
        let seconds = (self.max_minutes? * 60.0).clamp(0.0, 1e9);
        Instant::now().checked_add(Duration::from_secs_f64(seconds))
    }

    /// Runs a row in a process of its own: its peak memory is then its own, and what ends it does not end the others.
    fn row_state(
        &self,
        plan: &Plan,
        row: &Row,
        place: &str,
        deadline: Option<Instant>,
    ) -> anyhow::Result<RowState> {
        let before = RowState::read(&self.out, &row.name)?;
        let stop = || stop::requested() || deadline.is_some_and(|end| Instant::now() >= end);
        if self.is_done(plan, &before) || stop() {
            return Ok(before);
        }
        say(place);
        // this very program, even if a build has put another one in its place since
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("inverse-flow")
            .args(["reproduce", &plan.table.to_string(), "--run-row", &row.name])
            .arg("--out")
            .arg(&self.out)
            // those of the folder's plan, or of this pass
            .args(["--device", &plan.device])
            .arg("--data-dir")
            .arg(&plan.data_dir)
            .stdin(Stdio::piped());
        if let Some(threads) = plan.threads {
            command.args(["--threads", &threads.to_string()]);
        }
        if let Some(only) = self.only {
            command.args(["--only", &only.to_string()]);
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("no process can be started for the row {}", row.name))?;
        let mut line = child.stdin.take();
        let mut asked_to_stop = false;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if stop() {
                // the end of its input asks the row to save and stop
                line = None;
                asked_to_stop = true;
            }
            std::thread::sleep(LOOK);
        };
        drop(line);
        let mut state = RowState::read(&self.out, &row.name)?;
        if !status.success() && !asked_to_stop && state.status != Status::Failed {
            state.status = Status::Failed;
            state.preset.clone_from(&row.preset);
            state.error = Some(format!(
                "its process ended with {status}; a kill without a message is most often for want of memory"
            ));
            state.write(&self.out, &row.name)?;
        }
        if let (Status::Failed, Some(error)) = (state.status, &state.error) {
            eprintln!("{}: {error}", row.name);
        }
        Ok(state)
    }

    /// One row in this process.
    fn child(&self, name: &str) -> anyhow::Result<()> {
        let watched = std::thread::Builder::new().spawn(|| {
            // nothing is ever written: the end of the input means that the parent stops or is gone
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            stop::request();
        });
        watched.map_err(|err| Error::System(format!("no thread can be started: {err}")))?;
        let mut plan =
            Plan::read(&self.out)?.ok_or_else(|| Error::file(&self.out, "holds no plan.json"))?;
        self.compute.apply_threads()?;
        plan.threads = self.compute.threads;
        if let Some(device) = self.compute.device {
            plan.device = device.to_string();
        }
        plan.data_dir = self.data_dir.clone().unwrap_or(plan.data_dir);
        let rows = select(plan.table, &[name.to_owned()])?;
        let device = plan.device.parse::<DeviceChoice>()?.pick()?.device;
        let quiet = plan.budget.name == BudgetName::Smoke;
        for row in &rows {
            let watch = || -> Box<dyn Watch> { Box::new(Screen::new(quiet)) };
            let here = doctor::environment(device);
            run_row(&plan, row, &self.out, self.only, here, &watch)?;
        }
        Ok(())
    }
}
