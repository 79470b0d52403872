//! The paper's tables, measured again: every row trained, evaluated, sampled and timed, and the numbers set beside the
//! printed ones.
//!
//! | file | what it holds |
//! |---|---|
//! | `paper`, `printed` | [`Table`], [`Quantity`]: what the paper prints, and where it contradicts itself |
//! | `rows` | [`Row`]: the presets that stand for the rows of a table |
//! | `budget`, `budget_name`, `plan` | [`Budget`], [`Plan`]: how much is spent on a row; what a result folder was begun with |
//! | `measure`, `times` | both protocols of timing, side by side; what they find |
//! | `run`, `state`, `folder` | one row from its first step to its last number, and what is kept of it on the disk |
//! | `pass`, `environment` | [`Pass`]: likelihood, and times with memory, each of which may be measured by itself; on what |
//! | `cells`, `notes` | what stands in the cells of a row, and beside them |
//! | `verdict` | what may be said of a number beside a printed one, and why |
//! | `report`, `collect` | [`TableReport`]: `report.json`, and how it is put together |
//! | `sections`, `provenance`, `words`, `numbers` | the tables and sentences of a report, and how it writes numbers |
//! | `write`, `markdown`, `html`, `plots` | the files of a report: `report.md`, `report.html`, the pictures |
//!
//! A result folder holds `plan.json`, the reports, `plots/`, and for every row `rows/ROW/` with `state.json` and a run
//! folder `seed-S` for each seed. All of it is written in one piece or not at all, so a stopped command goes on where it
//! was when it is called again.
//!
//! Source: Nagar, Varma, *Inverse-Flow*, 2025, <https://arxiv.org/abs/2410.14634>.

mod budget;
mod budget_name;
mod cells;
mod collect;
mod environment;
mod folder;
mod html;
mod markdown;
pub mod measure;
mod notes;
mod numbers;
mod paper;
mod pass;
mod plan;
mod plots;
mod printed;
mod provenance;
mod report;
mod rows;
mod run;
mod sections;
mod state;
mod times;
pub mod verdict;
mod words;
mod write;

pub use budget::{Budget, Timings};
pub use budget_name::BudgetName;
pub use environment::Environment;
pub use html::html;
pub use markdown::markdown;
pub use paper::Table;
pub use pass::{Pass, Passes};
pub use plan::Plan;
pub use plots::draw;
pub use printed::{PaperRow, Printed, Quantity};
pub use report::{Cell, RowReport, TableReport};
pub use rows::{rows, select, Mode, Row};
pub use run::run_row;
pub use state::{RowState, SeedState, Status, Test};
pub use times::{Authors, RebuiltStep, SampleTimes, Sound, StepTimes};
