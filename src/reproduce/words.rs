//! What a report says in words, the same in Markdown and in HTML.

use super::numbers::duration;
use super::report::{RowReport, TableReport};

/// Facts on the whole report.
pub(super) fn facts(report: &TableReport) -> Vec<(String, String)> {
    let mut facts = vec![
        ("budget".to_owned(), report.budget.clone()),
        ("hardware".into(), report.hardware.clone()),
        ("commit".into(), report.commit.clone()),
    ];
    facts.extend(report.facts.iter().cloned());
    let clamp = match report.clamp {
        true => "on, for the rows as published whose code clamps (the notes say where)",
        false => "off",
    };
    facts.push((
        "the published code's clamp of the weights".into(),
        clamp.into(),
    ));
    facts.push((
        "wall time of all rows".into(),
        duration(report.wall_seconds),
    ));
    facts
}

/// A row in a sentence.
pub(super) fn row_text(row: &RowReport) -> String {
    let mut text = format!("{} ({}, {}): {}", row.row, row.preset, row.mode, row.status);
    if row.wall_seconds > 0.0 {
        text += &format!(" in {}", duration(row.wall_seconds));
        if !row.data.is_empty() {
            text += &format!(", on {}", row.data);
        }
    }
    text
}
