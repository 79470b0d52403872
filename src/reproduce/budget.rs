//! How much is spent on a row.

use super::numbers::number;
use super::{select, BudgetName, Mode, Row, Table};
use crate::train::RunConfig;
use crate::words::counted;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How often a call is timed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Single draws of the authors' protocol; the first and last fifth are dropped.
    pub draws: usize,
    /// Training steps of the authors' protocol.
    pub steps: usize,
    /// Of them dropped at either end; the authors drop 100 of an epoch.
    pub dropped: usize,
    /// Calls before the first one that counts, in the sound protocol.
    pub warm_up: usize,
    /// Calls that count.
    pub calls: usize,
    /// Images of the larger sampling call.
    pub many: i64,
    /// Seconds after which a quantity makes do with the calls it has.
    pub seconds: f64,
}

/// What a row gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// The budget.
    pub name: BudgetName,
    /// Runs with different seeds.
    pub seeds: u64,
    /// Training minutes of every run; the recipe's own length if `None`.
    pub minutes: Option<f64>,
    /// Training steps of every run; the recipe's own length if `None`.
    pub steps: Option<u64>,
    /// Images of every split; all if `None`.
    pub limit: Option<usize>,
    /// Images of a batch; the recipe's own if `None`.
    pub batch_size: Option<usize>,
    /// Dequantisation samples of every test image.
    pub samples: u64,
    /// Timings.
    pub timings: Timings,
}

/// Training minutes of all rows of a table together that leave time for the rest of an hour.
const SHORT_MINUTES: f64 = 40.0;
/// Steps of every row of a smoke run.
const SMOKE_STEPS: u64 = 2;
/// Validations of a run whose length is a number of steps.
const VALIDATIONS: u64 = 15;
/// Images of such a validation: always the same ones, so that the noise of their choice is the same for every
/// checkpoint of a run, and few enough that validations are a small part of the run.
const VALIDATION_IMAGES: usize = 1000;
/// Steps of the rows that measure time and memory only.
const SCALING_STEPS: u64 = 5;

impl Budget {
    /// The budget `name` for a table.
    ///
    /// # Errors
    /// `short-cpu` for a table without rows on the common backbone; `steps`, which [`of_steps`](Self::of_steps) makes.
    pub fn new(name: BudgetName, table: Table) -> Result<Self> {
        let scaling = table.varies().is_some();
        let smoke_batch = if scaling { 1 } else { 2 };
        let thorough = Timings {
            draws: 100,
            steps: 60,
            dropped: 10,
            warm_up: 10,
            calls: 50,
            many: 100,
            seconds: 600.0,
        };
        let full = Self {
            name,
            seeds: if scaling { 1 } else { 3 },
            minutes: None,
            steps: scaling.then_some(SCALING_STEPS),
            limit: None,
            batch_size: None,
            samples: 5,
            timings: thorough,
        };
        let short = Self {
            seeds: 1,
            samples: 1,
            timings: Timings {
                seconds: 20.0,
                ..thorough
            },
            ..full.clone()
        };
        Ok(match name {
            BudgetName::Full => full,
            BudgetName::Short => Self {
                minutes: (!scaling).then_some(SHORT_MINUTES / select(table, &[])?.len() as f64),
                ..short
            },
            BudgetName::ShortCpu if scaling => {
                return Err(Error::config(format!(
                    "short-cpu trains the methods on their common backbone, which {table} does not have: choose table3 or table6, or --budget smoke"
                )))
            }
            BudgetName::Steps => {
                return Err(Error::config(
                    "budget steps needs to know how many: add --steps-per-row N",
                ))
            }
            BudgetName::ShortCpu => Self {
                minutes: Some(10.0),
                ..short
            },
            BudgetName::Smoke => Self {
                steps: Some(SMOKE_STEPS),
                // one epoch
                limit: Some(SMOKE_STEPS as usize * smoke_batch),
                batch_size: Some(smoke_batch),
                timings: Timings {
                    draws: 5,
                    steps: 3,
                    dropped: 1,
                    warm_up: 1,
                    calls: 3,
                    many: if scaling { 1 } else { 4 },
                    // what takes longer is timed once
                    seconds: 0.1,
                },
                ..short
            },
        })
    }

    /// `steps` training steps for every row of a table.
    ///
    /// # Errors
    /// 0 steps.
    pub fn of_steps(steps: u64, table: Table) -> Result<Self> {
        if steps == 0 {
            return Err(Error::config("--steps-per-row must be at least 1"));
        }
        Ok(Self {
            name: BudgetName::Steps,
            minutes: None,
            steps: Some(steps),
            ..Self::new(BudgetName::Short, table)?
        })
    }

    /// Steps between two validations of a run, if they are counted in steps.
    fn val_every_steps(&self) -> Option<u64> {
        let steps = self.steps.filter(|_| self.name == BudgetName::Steps)?;
        Some((steps / VALIDATIONS).max(1))
    }

    /// Whether the budget has room for a row.
    pub fn includes(&self, row: &Row) -> bool {
        self.name != BudgetName::ShortCpu || row.mode != Mode::Faithful
    }

    /// Cuts a run of the row down to what the budget allows.
    pub fn apply(&self, row: &Row, config: &mut RunConfig) {
        let t = &mut config.train;
        t.max_steps = self.steps.or(t.max_steps);
        t.max_minutes = self.minutes.or(t.max_minutes);
        t.batch_size = self.batch_size.unwrap_or(t.batch_size);
        config.data.limit = self.limit;
        if let (Some(every), Some(steps)) = (self.val_every_steps(), self.steps) {
            t.val_every_steps = Some(every);
            t.val_limit = Some(VALIDATION_IMAGES);
            // an epoch has a step at least: the recipe's own end does not come first
            t.epochs = t.epochs.max(steps);
        }
        if self.name == BudgetName::Smoke {
            t.samples = 4;
            t.log_every = 1;
            // once, at the end
            t.eval_every = u64::MAX;
        }
        if self.name == BudgetName::Full && row.mode == Mode::Faithful {
            t.target_bpd = row
                .paper
                .get(super::Quantity::Bpd)
                .map(super::Printed::value);
        }
    }

    /// What the budget allows, in words.
    pub fn text(&self) -> String {
        let length = match (self.steps, self.minutes, self.name) {
            (Some(steps), ..) => match self.val_every_steps() {
                None => counted(steps, "training step"),
                Some(every) => format!(
                    "{} (validated every {every} with the first {VALIDATION_IMAGES} images of the split, the best checkpoint counts)",
                    counted(steps, "training step")
                ),
            },
            (_, Some(minutes), _) => format!("{} of training", counted(number(minutes), "minute")),
            (_, _, BudgetName::Full) => {
                "the recipe's own length, ended early at the paper's bits per dimension".into()
            }
            _ => "the recipe's own length".into(),
        };
        let batch = match self.batch_size {
            Some(size) => format!(", batches of {size}"),
            None => String::new(),
        };
        let limit = match self.limit {
            Some(limit) => format!(", the first {} of every split", counted(limit, "image")),
            None => String::new(),
        };
        format!(
            "{}: {}, {length} each{batch}{limit}",
            self.name,
            counted(self.seeds, "seed")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::*;
    use crate::train::presets;

    /// What the budget makes of the row's preset.
    fn applied(budget: &Budget, table: Table, name: &str) -> RunConfig {
        let rows = rows(table);
        let row = rows.iter().find(|row| row.name == name).unwrap();
        let mut config = presets::by_name(&row.preset).unwrap();
        budget.apply(row, &mut config);
        config
    }

    #[test]
    fn a_number_of_steps_is_all_that_ends_a_run() {
        for (steps, every) in [(1500, 100), (800, 53), (44, 2), (14, 1), (1, 1)] {
            let budget = Budget::of_steps(steps, Table::Table3).unwrap();
            let train = applied(&budget, Table::Table3, "inverse-flow-harness").train;
            assert_eq!(train.max_steps, Some(steps));
            assert_eq!((train.max_minutes, train.target_bpd), (None, None));
            assert_eq!(train.val_every_steps, Some(every), "{steps}");
            assert_eq!(train.val_limit, Some(VALIDATION_IMAGES));
        }
        // 7 epochs of this recipe are fewer steps
        let budget = Budget::of_steps(100_000, Table::Table3).unwrap();
        let train = applied(&budget, Table::Table3, "inverse-flow-tuned").train;
        assert!(train.epochs >= 100_000);
        // nor does a published number, or a table that is about sizes
        for (table, row) in [(Table::Table6, "snf"), (Table::Table10, "11")] {
            let train = applied(&Budget::of_steps(1000, table).unwrap(), table, row).train;
            assert_eq!((train.max_steps, train.target_bpd), (Some(1000), None));
        }
    }

    #[test]
    fn the_number_of_steps_has_to_be_said() {
        let refused = |budget: Result<Budget>| budget.unwrap_err().to_string();
        let message = refused(Budget::new(BudgetName::Steps, Table::Table3));
        assert!(message.contains("--steps-per-row"), "{message}");
        let message = refused(Budget::of_steps(0, Table::Table3));
        assert!(message.contains("at least 1"), "{message}");
        let text = Budget::of_steps(1500, Table::Table3).unwrap().text();
        assert!(
            text.starts_with("steps: 1 seed, 1500 training steps (validated every 100 "),
            "{text}"
        );
    }
}
