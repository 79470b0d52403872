//! `report.md`.

use super::report::{REBUILT, SOUND};
use super::{Cell, Quantity, Report, RowReport};
use std::fmt::Write as _;

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("# {}\n\n", report.title);
    let _ = writeln!(
        text,
        "Written by `inverse-flow reproduce {}`; the numbers are in `report.json`, the pictures in `plots/` and `report.html`.\n",
        report.table
    );
    for (name, value) in facts(report) {
        let _ = writeln!(text, "- {name}: {value}");
    }
    text += "\n## Cells\n\n";
    text += &table(&CELL_HEADINGS, &cell_lines(report));
    text += "\n## Both protocols\n\n";
    text += &format!("{}\n\n", PROTOCOLS);
    text += &table(&protocol_headings(), &protocol_lines(report));
    let lines = rebuilt_lines(report);
    if !lines.is_empty() {
        text += &format!("\n## Rebuilding activations\n\n{REBUILDING}\n\n");
        text += &table(&REBUILT_HEADINGS, &lines);
    }
    if !report.orders.is_empty() {
        text += "\n## Order of the rows\n\nOf all pairs of rows, how many stand in the order of the paper:\n\n";
        text += &table(&["column", "rows", "same order"], &order_lines(report));
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

/// What both protocols are.
pub(super) const PROTOCOLS: &str = "ST and FT as the authors measured them (ST: single draws, the first and last fifth of 100 dropped by position, mean ± population deviation; FT: a whole training step, the first and last steps dropped), beside the median (and the distance of the quartiles) of calls after a warm-up, the clock stopped when the device is done. Milliseconds; n is the number of calls.";

/// Headings of [`cell_lines`].
pub(super) const CELL_HEADINGS: [&str; 8] = [
    "row", "column", "paper", "measured", "n", "ratio", "verdict", "basis",
];

/// Facts on the whole report.
pub(super) fn facts(report: &Report) -> Vec<(String, String)> {
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

/// A line for every cell that the paper prints.
pub(super) fn cell_lines(report: &Report) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for row in &report.rows {
        let order = [
            Quantity::Bpd,
            Quantity::Nll,
            Quantity::St,
            Quantity::Ft,
            Quantity::Params,
            Quantity::Memory,
        ];
        for quantity in order {
            let Some(cell) = row.cells.get(quantity.key()) else {
                continue;
            };
            if cell.paper.is_none() {
                continue;
            }
            lines.push(vec![
                row.row.clone(),
                quantity.title().into(),
                with_spread(cell.paper, cell.paper_sd),
                measured(cell),
                if cell.n == 0 {
                    String::new()
                } else {
                    cell.n.to_string()
                },
                cell.ratio
                    .map(|ratio| format!("{}×", number(ratio)))
                    .unwrap_or_default(),
                cell.verdict.clone(),
                cell.basis.clone(),
            ]);
        }
    }
    lines
}

/// Headings of [`protocol_lines`].
pub(super) fn protocol_headings() -> Vec<&'static str> {
    let mut headings = vec!["row", "authors' ST", "authors' FT"];
    headings.extend(SOUND.map(|(_, title)| title));
    headings.extend(["batch", "memory, GB", "parameters"]);
    headings
}

/// A line for every row with its times by both protocols.
pub(super) fn protocol_lines(report: &Report) -> Vec<Vec<String>> {
    let lines = report.rows.iter().map(|row| {
        let get = |key: &str| row.cells.get(key).cloned().unwrap_or_default();
        let time = |cell: Cell| match cell.measured {
            None => cell.verdict.clone(),
            Some(_) if cell.spread_is == "iqr" => {
                let spread = cell.spread.map(number).unwrap_or_default();
                format!(
                    "{} ({spread}), n={}",
                    number(cell.measured.unwrap_or(0.0)),
                    cell.n
                )
            }
            Some(_) => format!("{}, n={}", with_spread(cell.measured, cell.spread), cell.n),
        };
        let mut line = vec![row.row.clone(), time(get("st_ms")), time(get("ft_ms"))];
        line.extend(SOUND.map(|(key, _)| time(get(key))));
        let params = get(Quantity::Params.key()).measured;
        line.extend([
            if row.batch_size > 0 {
                row.batch_size.to_string()
            } else {
                String::new()
            },
            get(Quantity::Memory.key())
                .measured
                .map(number)
                .unwrap_or_default(),
            params
                .map(|millions| thousands((millions * 1e6).round() as i64))
                .unwrap_or_default(),
        ]);
        line
    });
    lines.collect()
}

/// What [`rebuilt_lines`] compare.
pub(super) const REBUILDING: &str = "A training step that keeps the activations of the whole network for its backward pass, beside one that rebuilds them there by inverting the flow (`train --rebuild-activations`). Milliseconds and GB; memory as the notes say. The last column is how far the gradient of all parameters is from the ordinary one, as a part of its length.";

/// Headings of [`rebuilt_lines`].
pub(super) const REBUILT_HEADINGS: [&str; 8] = [
    "row",
    "batch",
    "step",
    "step, rebuilding",
    "times as long",
    "memory",
    "memory, rebuilding",
    "gradient differs by",
];

/// A line for every row whose steps were timed with activations rebuilt.
pub(super) fn rebuilt_lines(report: &Report) -> Vec<Vec<String>> {
    let line = |row: &RowReport| {
        let get = |key: &str| row.cells.get(key).and_then(|cell| cell.measured);
        let [step, memory, difference] = REBUILT.map(get);
        let (kept, step) = (get("step_ms")?, step?);
        let gb = |value: Option<f64>| value.map(number).unwrap_or_default();
        let printed = row
            .cells
            .get(Quantity::Memory.key())
            .and_then(|cell| cell.paper);
        let printed = printed.map_or(String::new(), |gb| format!(" (paper {})", number(gb)));
        Some(vec![
            row.row.clone(),
            row.batch_size.to_string(),
            number(kept),
            number(step),
            number(step / kept),
            gb(get(Quantity::Memory.key())) + &printed,
            gb(memory),
            format!("{:.1e}", difference?),
        ])
    };
    report.rows.iter().filter_map(line).collect()
}

/// A line for every order of the rows.
pub(super) fn order_lines(report: &Report) -> Vec<Vec<String>> {
    let orders = report.orders.iter();
    orders
        .map(|order| {
            vec![
                order.quantity.clone(),
                order.mode.clone(),
                format!("{} of {}", order.same, order.pairs),
            ]
        })
        .collect()
}

/// A row in a sentence.
pub(super) fn row_text(row: &RowReport) -> String {
    let mut text = format!("{} ({}, {}): {}", row.row, row.preset, row.mode, row.status);
    if row.wall_seconds > 0.0 {
        text += &format!(" in {}, on {}", duration(row.wall_seconds), row.data);
    }
    text
}

fn measured(cell: &Cell) -> String {
    match cell.measured {
        None => cell.verdict.clone(),
        Some(_) => with_spread(cell.measured, cell.spread),
    }
}

/// `value ± spread`.
pub(super) fn with_spread(value: Option<f64>, spread: Option<f64>) -> String {
    match (value, spread) {
        (None, _) => String::new(),
        (Some(value), None) => number(value),
        (Some(value), Some(spread)) => format!("{} ± {}", number(value), number(spread)),
    }
}

/// Four significant digits, whole numbers in full.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

fn thousands(value: i64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds as people say them.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn table<T: AsRef<str>>(headings: &[T], lines: &[Vec<String>]) -> String {
    let row = |cells: Vec<&str>| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "/")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = row(headings.iter().map(AsRef::as_ref).collect());
    text += &format!("|{}\n", "---|".repeat(headings.len()));
    for line in lines {
        text += &row(line.iter().map(String::as_str).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        for (value, text) in [
            (1.30649, "1.306"),
            (25000.0, "25000"),
            (0.0123456, "0.01235"),
            (12.5, "12.5"),
            (0.0, "0"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(thousands(1_640_968), "1,640,968");
        assert_eq!(duration(61.4), "61 s");
    }
}
