//! What stands in the cells of a row, from the row's state.

use super::report::{Cell, Order, RowReport, REBUILT, SOUND};
use super::times::{Authors, Sound};
use super::verdict::{self, Conditions, Judged};
use super::{Budget, BudgetName, Mode, Plan, Printed, Quantity, Row, RowState, Status};
use crate::train::presets;
use std::collections::BTreeMap;

impl Cell {
    fn of(printed: Option<Printed>, measured: Option<f64>, judged: Judged) -> Self {
        let paper = printed.map(Printed::value);
        Self {
            paper,
            paper_sd: printed.and_then(Printed::deviation),
            ratio: measured.zip(paper).map(|(own, paper)| own / paper),
            measured,
            n: usize::from(measured.is_some()),
            verdict: judged.verdict.into(),
            basis: judged.basis,
            ..Self::default()
        }
    }

    fn spread(self, spread: Option<f64>, what: &str, n: usize) -> Self {
        Self {
            spread,
            spread_is: spread.map(|_| what.to_owned()).unwrap_or_default(),
            n,
            ..self
        }
    }
}

/// The report of a row.
pub(super) fn row_report(plan: &Plan, row: &Row, state: &RowState) -> RowReport {
    let mut cells = BTreeMap::new();
    let mut quantities: Vec<Quantity> = row.paper.cells.iter().map(|cell| cell.0).collect();
    // measured everywhere, printed in some tables only
    for also in [
        Quantity::St,
        Quantity::Ft,
        Quantity::Params,
        Quantity::Memory,
    ] {
        if !quantities.contains(&also) {
            quantities.push(also);
        }
    }
    for quantity in quantities {
        cells.insert(quantity.key().to_owned(), cell(plan, row, state, quantity));
    }
    let (step, sampling) = (state.step.as_ref(), state.sampling.as_ref());
    let sound = [
        sampling.map(|s| s.one),
        sampling.map(|s| s.many),
        step.map(|s| s.forward),
        step.map(|s| s.step),
    ];
    for ((key, _), sound) in SOUND.into_iter().zip(sound) {
        let cell = sound.map_or_else(|| missing(plan, row, state, None), sound_cell);
        cells.insert(key.to_owned(), cell);
    }
    cells.extend(rebuilt_cells(plan, row, state));
    RowReport {
        row: row.name.clone(),
        preset: row.preset.clone(),
        mode: row.mode.text().into(),
        status: state.status.text().into(),
        cells,
        data: state.data.clone(),
        batch_size: state.batch_size,
        clamp: state.clamp,
        wall_seconds: state.wall_seconds,
        environment: state.environment.clone(),
        notes: notes(&plan.budget, row, state),
    }
}

/// A cell without a number, with the reason.
fn missing(plan: &Plan, row: &Row, state: &RowState, printed: Option<Printed>) -> Cell {
    let judged = match state.status {
        Status::Failed => Judged::new("failed", "the notes of the row say why"),
        Status::Interrupted => Judged::new("not yet", "the same command goes on"),
        _ => Judged::new("not run", not_run(&plan.budget, row)),
    };
    Cell::of(printed, None, judged)
}

fn sound_cell(s: Sound) -> Cell {
    let basis = format!(
        "{} image{} a call",
        s.images,
        if s.images == 1 { "" } else { "s" }
    );
    Cell::of(
        None,
        Some(s.median_ms),
        Judged::new("no printed value", basis),
    )
    .spread(Some(s.iqr_ms), "iqr", s.calls)
}

/// Whether the steps of a row have as many images as those of the paper.
fn own_batch(row: &Row, state: &RowState) -> bool {
    presets::by_name(&row.preset).is_ok_and(|config| config.train.batch_size == state.batch_size)
}

fn judged_cost(plan: &Plan, printed: Option<Printed>, same_work: bool) -> Judged {
    match printed {
        Some(_) => verdict::cost(plan.budget.name == BudgetName::Smoke, same_work),
        None => Judged::new("no printed value", ""),
    }
}

/// What a step costs that rebuilds its activations, where that was compared.
fn rebuilt_cells(plan: &Plan, row: &Row, state: &RowState) -> Vec<(String, Cell)> {
    let Some(rebuilt) = state.step.as_ref().and_then(|step| step.rebuilt.as_ref()) else {
        return Vec::new();
    };
    let printed = row.paper.get(Quantity::Memory);
    let judged = judged_cost(plan, printed, own_batch(row, state));
    let memory = rebuilt.peak_bytes.map(|bytes| bytes as f64 / 1e9);
    let basis = "of the length of the gradient with kept activations";
    let difference = Judged::new("no printed value", basis);
    let cells = [
        sound_cell(rebuilt.step),
        Cell::of(printed, memory, judged),
        Cell::of(None, Some(rebuilt.gradient_difference), difference),
    ];
    REBUILT.map(str::to_owned).into_iter().zip(cells).collect()
}

fn cell(plan: &Plan, row: &Row, state: &RowState, quantity: Quantity) -> Cell {
    let printed = row.paper.get(quantity);
    let own_batch = own_batch(row, state);
    let judged_cost = |same_work| judged_cost(plan, printed, same_work);
    let authors = |times: Authors, same_work| {
        Cell::of(printed, Some(times.mean_ms), judged_cost(same_work)).spread(
            Some(times.sd_ms),
            "population sd",
            times.kept,
        )
    };
    let (step, sampling) = (state.step.as_ref(), state.sampling.as_ref());
    let found = match quantity {
        Quantity::St => sampling.map(|times| authors(times.st, true)),
        Quantity::Ft => step.map(|times| authors(times.ft, own_batch)),
        Quantity::Memory => step.and_then(|times| {
            let gb = times.peak_bytes? as f64 / 1e9;
            Some(Cell::of(printed, Some(gb), judged_cost(own_batch)))
        }),
        Quantity::Params => state.params.map(|count| {
            let judged = match printed {
                Some(printed) => verdict::parameters(printed, count, row.mode),
                None => Judged::new("no printed value", ""),
            };
            Cell::of(printed, Some(count as f64 / 1e6), judged)
        }),
        Quantity::Bpd | Quantity::Nll => (!state.seeds.is_empty())
            .then(|| likelihood_cell(plan, row, state, quantity))
            .flatten(),
    };
    found.unwrap_or_else(|| missing(plan, row, state, printed))
}

fn likelihood_cell(plan: &Plan, row: &Row, state: &RowState, quantity: Quantity) -> Option<Cell> {
    let printed = row.paper.get(quantity)?;
    let seeds: Vec<f64> = state
        .seeds
        .iter()
        .filter_map(|seed| seed.test.as_ref())
        .map(|test| match quantity {
            Quantity::Bpd => verdict::mean_and_deviation(&test.bpd).0,
            _ => verdict::mean_and_deviation(&test.nll_nats).0,
        })
        .collect();
    let whole = plan.budget.limit.is_none();
    let data = match whole {
        true => state.data.clone(),
        false => format!("a few images of {}", state.data),
    };
    let conditions = Conditions {
        mode: row.mode,
        data: &data,
        own_data: state.own_data && whole,
        complete: state.seeds.iter().all(|seed| seed.complete),
    };
    let judged = verdict::likelihood(printed, &seeds, conditions);
    if seeds.is_empty() {
        return Some(Cell::of(Some(printed), None, judged));
    }
    let (mean, sd) = verdict::mean_and_deviation(&seeds);
    let cell = Cell::of(Some(printed), Some(mean), judged);
    Some(cell.spread(sd, "sd over seeds", seeds.len()))
}

/// Why a row has no numbers.
fn not_run(budget: &Budget, row: &Row) -> String {
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

fn notes(budget: &Budget, row: &Row, state: &RowState) -> Vec<String> {
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
            "seed {}: {} steps in {:.0} s",
            seed.seed, seed.steps, seed.seconds
        );
        if let Some(test) = &seed.test {
            text += &format!(
                "; test split: {} images, {} dequantisation sample{} each",
                test.images,
                test.bpd.len(),
                if budget.samples == 1 { "" } else { "s" }
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
    if let Some(problem) = state.sampling.as_ref().and_then(|s| s.problem.as_ref()) {
        notes.push(format!(
            "sampling times are those of a fresh model; the trained one: {problem}"
        ));
    }
    notes
}

/// How far the rows stand in the order of the paper, column by column.
pub(super) fn orders(plan: &Plan, states: &[(Row, RowState)]) -> Vec<Order> {
    let mut orders = Vec::new();
    for mode in Mode::ALL {
        for quantity in [Quantity::Bpd, Quantity::St, Quantity::Ft, Quantity::Memory] {
            let numbers: Vec<(f64, f64)> = states
                .iter()
                .filter(|(row, _)| row.mode == mode && !row.extra)
                .filter_map(|(row, state)| {
                    let cell = cell(plan, row, state, quantity);
                    cell.paper.zip(cell.measured)
                })
                .collect();
            let (same, pairs) = verdict::same_order(&numbers);
            if pairs > 0 {
                orders.push(Order {
                    quantity: quantity.key().into(),
                    mode: mode.text().into(),
                    same,
                    pairs,
                });
            }
        }
    }
    orders
}
