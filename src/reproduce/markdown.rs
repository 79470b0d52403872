//! `report.md`.

use super::report::TableReport;
use super::sections::sections;
use super::words::{facts, row_text};
use std::fmt::Write as _;

/// The report as Markdown.
pub fn markdown(report: &TableReport) -> String {
    let mut text = format!("# {}\n\n", report.title);
    let _ = writeln!(
        text,
        "Written by `inverse-flow reproduce {}`; the numbers are in `report.json`, the pictures in `plots/` and `report.html`.\n",
        report.table
    );
    for (name, value) in facts(report) {
        let _ = writeln!(text, "- {name}: {value}");
    }
    for section in sections(report) {
        let _ = write!(text, "\n## {}\n\n", section.title);
        if !section.text.is_empty() {
            let _ = write!(text, "{}\n\n", section.text);
        }
        text += &table(&section.headings, &section.lines);
    }
    text += "\n## Known inconsistencies of the printed table\n\n";
    for line in &report.inconsistencies {
        let _ = writeln!(text, "- {line}");
    }
    text += "\n## Notes on the rows\n\n";
    for row in &report.rows {
        let _ = writeln!(text, "- {}", row_text(row));
        for note in &row.notes {
            let _ = writeln!(text, "  - {}", note.replace('\n', " "));
        }
    }
    text
}

fn table(headings: &[&str], lines: &[Vec<String>]) -> String {
    let row = |cells: Vec<&str>| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "/")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = row(headings.to_vec());
    text += &format!("|{}\n", "---|".repeat(headings.len()));
    for line in lines {
        text += &row(line.iter().map(String::as_str).collect());
    }
    text
}
