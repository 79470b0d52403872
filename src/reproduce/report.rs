//! `report.json`: every cell of a table with what is printed, what was measured, and what may be said of the two.

use super::{BudgetName, Environment, Passes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A measured number beside a printed one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What the paper prints.
    pub paper: Option<f64>,
    /// What it prints after ±.
    pub paper_sd: Option<f64>,
    /// What was measured here: a mean, or a median where `spread_is` says iqr.
    pub measured: Option<f64>,
    /// How far single values lie from it.
    pub spread: Option<f64>,
    /// What `spread` is.
    pub spread_is: String,
    /// Values that went into it.
    pub n: usize,
    /// `measured / paper`.
    pub ratio: Option<f64>,
    /// In one or two words.
    pub verdict: String,
    /// What the verdict rests on.
    pub basis: String,
    /// The pass that measured it: `likelihood` or `times`, empty where nothing was measured or both find the same.
    #[serde(default)]
    pub pass: String,
}

/// One row of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowReport {
    /// Name of the row.
    pub row: String,
    /// The configuration it starts from.
    pub preset: String,
    /// Its backbone, in words.
    pub mode: String,
    /// `done`, `one pass`, `interrupted`, `failed` or `not run`.
    pub status: String,
    /// Cells by key: the paper's columns, then those of the sound protocol.
    pub cells: BTreeMap<String, Cell>,
    /// Data in use.
    pub data: String,
    /// Images of a training step.
    pub batch_size: usize,
    /// Magnitude that the weights were clamped to; `None` if they were not.
    pub clamp: Option<f64>,
    /// Seconds of all calls together.
    pub wall_seconds: f64,
    /// What the latest call ran on.
    pub environment: Environment,
    /// What the numbers of each pass come from.
    #[serde(default)]
    pub passes: Passes,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// How much of the paper's order of the methods was found again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Key of the column.
    pub quantity: String,
    /// Backbone of the rows, in words.
    pub mode: String,
    /// Pairs of rows in the order of the paper.
    pub same: usize,
    /// Pairs of rows.
    pub pairs: usize,
}

/// A table measured again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableReport {
    /// Name of the table.
    pub table: String,
    /// What it compares.
    pub title: String,
    /// What a row was given.
    pub budget: String,
    /// Name of that budget.
    pub budget_name: BudgetName,
    /// What it ran on.
    pub hardware: String,
    /// The commit of the checkout.
    pub commit: String,
    /// Versions and the like, by name.
    pub facts: Vec<(String, String)>,
    /// Whether the published code's clamp of the weights was on.
    pub clamp: bool,
    /// Seconds of all rows together.
    pub wall_seconds: f64,
    /// The rows.
    pub rows: Vec<RowReport>,
    /// The order of the methods.
    pub orders: Vec<Order>,
    /// Where the printed table contradicts itself.
    pub inconsistencies: Vec<String>,
}

/// What stands in the place of a printed number where the paper's table leaves a method out.
pub(super) const NOT_IN_THE_PAPER: &str = "not in the paper";

/// Keys of the sound protocol with their headings.
pub(super) const SOUND: [(&str, &str); 4] = [
    ("sample_1_ms", "sample 1"),
    ("sample_100_ms", "sample 100"),
    ("forward_ms", "forward pass"),
    ("step_ms", "training step"),
];

/// Keys of a step that rebuilds its activations: its time, its memory, and how far its gradient is from the ordinary one.
pub(super) const REBUILT: [&str; 3] = [
    "step_rebuilt_ms",
    "memory_rebuilt_gb",
    "gradient_difference",
];
