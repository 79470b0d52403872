//! The section on what the numbers come from, where a row's passes differ.

use super::report::TableReport;
use super::{Environment, Pass};

/// What the section is about.
pub(super) const PASSES: &str = "Likelihoods and times of these rows were measured in passes of their own, with different programs or on different machines, or only one of the two is there yet. Continued by another program, a pass has a line for each.";

/// Its columns.
pub(super) const PASS_HEADINGS: [&str; 4] = ["row", "pass", "commit", "hardware"];

/// A line for every environment of every pass of the rows that have more than one, or that lack a pass.
pub(super) fn pass_lines(report: &TableReport) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for row in &report.rows {
        let [likelihood, times] = Pass::ALL.map(|pass| row.passes.of(pass));
        let in_one = match (likelihood, times) {
            ([one], [other]) => one.is_like(other),
            (likelihood, times) => likelihood.is_empty() && times.is_empty(),
        };
        if in_one {
            continue;
        }
        for pass in Pass::ALL {
            let line = |environment: &Environment| {
                vec![
                    row.row.clone(),
                    pass.to_string(),
                    environment.commit.clone(),
                    environment.hardware.clone(),
                ]
            };
            lines.extend(row.passes.of(pass).iter().map(line));
        }
    }
    lines
}
