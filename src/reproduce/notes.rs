//! What a report says of a row beside its numbers.

use super::{Budget, Row, RowState, Status};
use crate::words::counted;

/// Why a row has no numbers.
pub(super) fn not_run(budget: &Budget, row: &Row) -> String {
    match budget.includes(row) {
        true => format!(
            "not asked for, or not reached: `--row {}` runs it",
            row.name
        ),
        false => format!(
            "left out of {}, which compares the methods on their common backbone only",
            budget.name
        ),
    }
}

/// What a reader should know of a row.
pub(super) fn notes(budget: &Budget, row: &Row, state: &RowState) -> Vec<String> {
    let mut notes = Vec::new();
    if state.status == Status::NotRun {
        return vec![not_run(budget, row)];
    }
    if let Some(error) = &state.error {
        notes.push(format!("failed: {error}"));
    }
    if !state.own_data && !state.data.is_empty() {
        notes.push(format!(
            "the paper's images are not used, {} stand in: bits per dimension are not comparable",
            state.data
        ));
    }
    if let Some(limit) = state.clamp {
        notes.push(format!(
            "every weight clamped to ±{limit} after every step, as in the published code"
        ));
    }
    for seed in &state.seeds {
        let mut text = format!(
            "seed {}: {} in {:.0} s",
            seed.seed,
            counted(seed.steps, "step"),
            seed.seconds
        );
        if let Some(test) = &seed.test {
            text += &format!(
                "; test split: {}, {} each",
                counted(test.images, "image"),
                counted(test.bpd.len(), "dequantisation sample")
            );
        }
        if let Some(problem) = &seed.problem {
            text += &format!("; {problem}");
        }
        notes.push(text);
    }
    if let Some(step) = &state.step {
        notes.push(format!(
            "memory: {}, less what was held before the model",
            step.memory_is
        ));
    }
    match &state.sampling {
        Some(times) if times.problem.is_some() => notes.push(format!(
            "sampling times are those of a fresh model; the trained one: {}",
            times.problem.as_deref().unwrap_or_default()
        )),
        Some(times) if times.fresh => notes.push(
            "sampling times are those of a freshly initialised model: there was no trained one yet"
                .into(),
        ),
        _ => {}
    }
    notes
}
