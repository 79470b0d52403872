//! `curves.png` from `metrics.jsonl`.

use super::{metrics, RunDir};
use crate::data::Split;
use crate::plot::{curves, Series};
use crate::{Error, Result};

/// Draws the bits per dimension of a run over its steps.
///
/// # Errors
/// No metrics yet, or a file that cannot be read or written.
pub fn draw_curves(run: &RunDir) -> Result<()> {
    let records = metrics::read(&run.metrics())?;
    let points = |split: Split| -> Vec<(f64, f64)> {
        records
            .iter()
            .filter(|record| record.split == split)
            .filter_map(|record| Some((record.step as f64, record.bpd?)))
            .collect()
    };
    let mut series = vec![
        Series::dense("training", points(Split::Train)),
        Series::markers("validation", points(Split::Val)),
    ];
    series.retain(|series| !series.points.is_empty());
    if series.is_empty() {
        let problem = "holds no measurement yet: nothing to draw";
        return Err(Error::file(run.metrics(), problem));
    }
    let title = run.root().file_name().unwrap_or_default();
    curves(
        &series,
        &title.to_string_lossy(),
        "step",
        "bits per dimension",
        run.curves(),
    )
}
