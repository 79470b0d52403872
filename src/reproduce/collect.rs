//! From the states of the rows to a report.

use super::cells::{orders, row_report};
use super::report::TableReport;
use super::{rows, Environment, Pass, Plan, Row, RowState, Status};
use crate::Result;
use std::path::Path;

impl TableReport {
    /// The report of what is in a result folder; `here` stands in while no row has run.
    ///
    /// # Errors
    /// A file of the folder cannot be read.
    pub fn read(plan: &Plan, dir: &Path, here: &Environment) -> Result<Self> {
        let mut states = Vec::new();
        for row in rows(plan.table) {
            let state = RowState::read(dir, &row.name)?;
            // extra rows are in the report once they have been asked for
            if !row.extra || state.status != Status::NotRun {
                states.push((row, state));
            }
        }
        Ok(Self::of(plan, &states, here))
    }

    /// The report of rows with their states.
    pub fn of(plan: &Plan, states: &[(Row, RowState)], here: &Environment) -> Self {
        let ran = || {
            states
                .iter()
                .filter(|(_, state)| state.status != Status::NotRun)
        };
        let joined = |of: fn(&Environment) -> &String| {
            let mut all: Vec<&String> = Vec::new();
            for (_, state) in ran() {
                let passes = Pass::ALL.iter().flat_map(|pass| state.passes.of(*pass));
                for text in passes.chain([&state.environment]).map(of) {
                    if !all.contains(&text) {
                        all.push(text);
                    }
                }
            }
            match all.as_slice() {
                [] => of(here).clone(),
                all => all
                    .iter()
                    .map(|text| text.as_str())
                    .collect::<Vec<_>>()
                    .join("; "),
            }
        };
        let last = ran()
            .next_back()
            .map_or(here, |(_, state)| &state.environment);
        Self {
            table: plan.table.to_string(),
            title: plan.table.title().into(),
            budget: plan.budget.text(),
            budget_name: plan.budget.name,
            hardware: joined(|environment| &environment.hardware),
            commit: joined(|environment| &environment.commit),
            facts: last.facts.clone(),
            clamp: plan.clamp,
            wall_seconds: states.iter().map(|(_, state)| state.wall_seconds).sum(),
            rows: states
                .iter()
                .map(|(row, state)| row_report(plan, row, state))
                .collect(),
            orders: orders(plan, states),
            inconsistencies: plan
                .table
                .inconsistencies()
                .iter()
                .map(|&s| s.into())
                .collect(),
        }
    }
}
