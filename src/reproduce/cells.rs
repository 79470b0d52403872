//! What stands in the cells of a row, from the row's state.

use super::notes::{not_run, notes};
use super::report::{Cell, Order, RowReport, NOT_IN_THE_PAPER, REBUILT, SOUND};
use super::times::{Authors, Sound};
use super::verdict::{self, Conditions, Judged};
use super::{BudgetName, Mode, Pass, Plan, Printed, Quantity, Row, RowState, Status};
use crate::train::presets;
use crate::words::counted;
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
    let mut quantities = plan.table.columns().to_vec();
    // likelihoods of real images too
    if state.own_data && state.has(Pass::Likelihood) {
        quantities.extend([Quantity::Bpd, Quantity::Nll]);
    }
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
        let cell = sound.map_or_else(|| missing(plan, row, state, Pass::Times, None), sound_cell);
        cells.insert(key.to_owned(), cell);
    }
    cells.extend(rebuilt_cells(plan, row, state));
    for (key, cell) in &mut cells {
        if cell.measured.is_some() {
            cell.pass = pass_of(key).map_or(String::new(), |pass| pass.to_string());
        }
    }
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
        passes: state.passes.clone(),
        notes: notes(&plan.budget, row, state),
    }
}

/// The pass that measures a column; a number of parameters is the same in both.
fn pass_of(key: &str) -> Option<Pass> {
    match key {
        key if key == Quantity::Params.key() => None,
        key if key == Quantity::Bpd.key() || key == Quantity::Nll.key() => Some(Pass::Likelihood),
        _ => Some(Pass::Times),
    }
}

/// A cell of a pass without a number, with the reason.
fn missing(plan: &Plan, row: &Row, state: &RowState, pass: Pass, printed: Option<Printed>) -> Cell {
    let judged = match state.status {
        Status::OnePass => Judged::new("not measured", format!("`--only {pass}` measures it")),
        Status::Failed => Judged::new("failed", "the notes of the row say why"),
        Status::Interrupted => Judged::new("not yet", "the same command goes on"),
        _ => Judged::new("not run", not_run(&plan.budget, row)),
    };
    Cell::of(printed, None, judged)
}

fn sound_cell(s: Sound) -> Cell {
    let basis = format!("{} a call", counted(s.images, "image"));
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

fn judged_cost(plan: &Plan, row: &Row, printed: Option<Printed>, same_work: bool) -> Judged {
    match printed {
        Some(_) => verdict::cost(plan.budget.name == BudgetName::Smoke, same_work),
        None => no_printed_value(row),
    }
}

/// The verdict on a number that stands alone.
fn no_printed_value(row: &Row) -> Judged {
    match row.paper.cells.is_empty() {
        true => Judged::new(NOT_IN_THE_PAPER, "the paper's table leaves this method out"),
        false => Judged::new("no printed value", ""),
    }
}

/// What a step costs that rebuilds its activations, where that was compared.
fn rebuilt_cells(plan: &Plan, row: &Row, state: &RowState) -> Vec<(String, Cell)> {
    let Some(rebuilt) = state.step.as_ref().and_then(|step| step.rebuilt.as_ref()) else {
        return Vec::new();
    };
    let printed = row.paper.get(Quantity::Memory);
    let judged = judged_cost(plan, row, printed, own_batch(row, state));
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
    let judged_cost = |same_work| judged_cost(plan, row, printed, same_work);
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
                None => no_printed_value(row),
            };
            Cell::of(printed, Some(count as f64 / 1e6), judged)
        }),
        Quantity::Bpd | Quantity::Nll => {
            (!state.seeds.is_empty()).then(|| likelihood_cell(plan, row, state, quantity))
        }
    };
    let pass = pass_of(quantity.key()).unwrap_or(Pass::Times);
    found.unwrap_or_else(|| missing(plan, row, state, pass, printed))
}

fn likelihood_cell(plan: &Plan, row: &Row, state: &RowState, quantity: Quantity) -> Cell {
    let printed = row.paper.get(quantity);
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
    if seeds.is_empty() {
        return Cell::of(printed, None, verdict::no_likelihood());
    }
    let judged = match printed {
        Some(printed) => verdict::likelihood(printed, &seeds, conditions),
        None => no_printed_value(row),
    };
    let (mean, sd) = verdict::mean_and_deviation(&seeds);
    let cell = Cell::of(printed, Some(mean), judged);
    cell.spread(sd, "sd over seeds", seeds.len())
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
