//! The tables of a report, the same in Markdown and in HTML.

use super::numbers::{number, thousands, with_spread};
use super::provenance::{pass_lines, PASSES, PASS_HEADINGS};
use super::report::{Cell, RowReport, TableReport, NOT_IN_THE_PAPER, REBUILT, SOUND};
use super::Quantity;

/// A table with what it shows.
pub(super) struct Section {
    pub title: &'static str,
    pub text: &'static str,
    pub headings: Vec<&'static str>,
    pub lines: Vec<Vec<String>>,
    /// Column of verdicts.
    pub marked: Option<usize>,
}

/// The tables that have a line.
pub(super) fn sections(report: &TableReport) -> Vec<Section> {
    let section = |title, text, headings: &[&'static str], lines| Section {
        title,
        text,
        headings: headings.to_vec(),
        lines,
        marked: None,
    };
    let mut all = vec![
        Section {
            marked: Some(6),
            ..section("Cells", "", &CELL_HEADINGS, cell_lines(report))
        },
        section(
            "Both protocols",
            PROTOCOLS,
            &protocol_headings(),
            protocol_lines(report),
        ),
        section(
            "Sampling many images",
            SAMPLING,
            &SAMPLING_HEADINGS,
            sampling_lines(report),
        ),
        section(
            "Rebuilding activations",
            REBUILDING,
            &REBUILT_HEADINGS,
            rebuilt_lines(report),
        ),
        section(
            "Order of the rows",
            ORDERS,
            &ORDER_HEADINGS,
            order_lines(report),
        ),
        section(
            "Where the numbers come from",
            PASSES,
            &PASS_HEADINGS,
            pass_lines(report),
        ),
    ];
    all.retain(|section| !section.lines.is_empty());
    all
}

const CELL_HEADINGS: [&str; 8] = [
    "row", "column", "paper", "measured", "n", "ratio", "verdict", "basis",
];

/// A line for every cell that the paper prints, and for those of methods that it leaves out.
fn cell_lines(report: &TableReport) -> Vec<Vec<String>> {
    report.rows.iter().flat_map(lines_of_a_row).collect()
}

/// One line for each printed column; one for all of them if the row never ran.
fn lines_of_a_row(row: &RowReport) -> Vec<Vec<String>> {
    let order = [
        Quantity::Bpd,
        Quantity::Nll,
        Quantity::St,
        Quantity::Ft,
        Quantity::Params,
        Quantity::Memory,
    ];
    let printed: Vec<(Quantity, &Cell)> = order
        .into_iter()
        .filter_map(|quantity| Some((quantity, row.cells.get(quantity.key())?)))
        .filter(|(quantity, cell)| {
            let also = is_unprinted(row) || *quantity == Quantity::Bpd;
            cell.paper.is_some() || (also && cell.measured.is_some())
        })
        .collect();
    let paper = |cell: &Cell| match is_unprinted(row) {
        true => NOT_IN_THE_PAPER.to_owned(),
        false => with_spread(cell.paper, cell.paper_sd),
    };
    if let (false, Some((_, first))) = (has_numbers(row), printed.first()) {
        let all = printed
            .iter()
            .map(|(quantity, cell)| format!("{} {}", quantity.title(), paper(cell)));
        return vec![vec![
            row.row.clone(),
            "all".into(),
            all.collect::<Vec<_>>().join("; "),
            first.verdict.clone(),
            String::new(),
            String::new(),
            first.verdict.clone(),
            first.basis.clone(),
        ]];
    }
    let line = |(quantity, cell): (Quantity, &Cell)| {
        let n = if cell.n == 0 {
            String::new()
        } else {
            cell.n.to_string()
        };
        let ratio = cell.ratio.map(|ratio| format!("{}×", number(ratio)));
        vec![
            row.row.clone(),
            quantity.title().into(),
            paper(cell),
            measured(cell),
            n,
            ratio.unwrap_or_default(),
            cell.verdict.clone(),
            cell.basis.clone(),
        ]
    };
    printed.into_iter().map(line).collect()
}

/// Whether the paper prints nothing in this row.
fn is_unprinted(row: &RowReport) -> bool {
    row.cells.values().all(|cell| cell.paper.is_none())
}

fn has_numbers(row: &RowReport) -> bool {
    row.cells.values().any(|cell| cell.measured.is_some())
}

const PROTOCOLS: &str = "ST and FT as the authors measured them (ST: single draws, the first and last fifth of 100 dropped by position, mean ± population standard deviation; FT: a whole training step, the first and last steps dropped), and the median (with the interquartile range) of calls after a warm-up, where the clock stops when the device is done. Milliseconds; n is the number of calls.";

fn protocol_headings() -> Vec<&'static str> {
    let mut headings = vec!["row", "authors' ST", "authors' FT"];
    headings.extend(SOUND.map(|(_, title)| title));
    headings.extend(["batch", "memory, GB", "parameters"]);
    headings
}

/// A line for every row with its times by both protocols.
fn protocol_lines(report: &TableReport) -> Vec<Vec<String>> {
    let ran = report.rows.iter().filter(|row| has_numbers(row));
    let lines = ran.map(|row| {
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

const SAMPLING: &str = "Every method compared with Inverse-Flow on the same backbone: medians of a call for many images, in milliseconds. A difference counts only if the medians are further apart than the sum of both interquartile ranges.";

const SAMPLING_HEADINGS: [&str; 5] = [
    "row",
    "images a call",
    "this row",
    "Inverse-Flow",
    "Inverse-Flow is",
];

/// A line for every other method that was sampled from on the same backbone as Inverse-Flow.
fn sampling_lines(report: &TableReport) -> Vec<Vec<String>> {
    let time = |row: &RowReport| {
        let cell = row.cells.get("sample_100_ms")?;
        Some((
            cell.measured?,
            cell.spread.unwrap_or(0.0),
            cell.basis.clone(),
        ))
    };
    let line = |row: &RowReport| {
        let same =
            |other: &&RowReport| other.mode == row.mode && other.row.starts_with("inverse-flow");
        let ours = report.rows.iter().find(same)?;
        if ours.row == row.row {
            return None;
        }
        let ((ours, our_spread, _), (theirs, spread, basis)) = (time(ours)?, time(row)?);
        let apart = (ours - theirs).abs() > our_spread + spread;
        let outcome = match (apart, ours < theirs) {
            (false, _) => "neither faster nor slower".to_owned(),
            (true, true) => format!("{} times faster", number(theirs / ours)),
            (true, false) => format!("{} times slower", number(ours / theirs)),
        };
        Some(vec![
            row.row.clone(),
            basis.split(' ').next().unwrap_or_default().to_owned(),
            with_spread(Some(theirs), Some(spread)),
            with_spread(Some(ours), Some(our_spread)),
            outcome,
        ])
    };
    report.rows.iter().filter_map(line).collect()
}

const REBUILDING: &str = "A training step that keeps the activations of the whole network for its backward pass, compared with one that rebuilds them there by inverting the flow (`train --rebuild-activations`). Milliseconds and GB; memory as the notes say. The last column is the distance between the two gradients of all parameters, relative to their length.";

const REBUILT_HEADINGS: [&str; 8] = [
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
fn rebuilt_lines(report: &TableReport) -> Vec<Vec<String>> {
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

const ORDERS: &str = "Of all pairs of rows, how many stand in the order of the paper.";

const ORDER_HEADINGS: [&str; 3] = ["column", "rows", "same order"];

/// A line for every order of the rows.
fn order_lines(report: &TableReport) -> Vec<Vec<String>> {
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

fn measured(cell: &Cell) -> String {
    match cell.measured {
        None => cell.verdict.clone(),
        Some(_) => with_spread(cell.measured, cell.spread),
    }
}
