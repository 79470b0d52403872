//! The pictures of a report, each chart as SVG and as PNG.
//!
//! | file | what it shows |
//! |---|---|
//! | `bpd-sampling` | bits per dimension against sampling time of all methods, the paper's points beside ours |
//! | `st`, `ft`, `memory` | the column over the size that the table varies, the paper's curve beside ours |
//! | `loss-*-step`, `loss-*-time` | validation of the first seeds, by step and by seconds |
//! | `samples-ROW.png` | images of the row's model |

use super::verdict::mean_and_deviation;
use super::{rows, Mode, Plan, Quantity, RowReport, RowState, TableReport};
use crate::data::Split;
use crate::plot::{chart, curves, Chart, Mark, Marked, Series};
use crate::train::{metrics, RunDir};
use crate::{files, Error, Result};
use std::path::{Path, PathBuf};

/// Means of the training loss that a curve has at most.
const MEANS: usize = 120;
/// Bits per dimension of 8-bit pixels under no model at all. What is above is left out of the picture, where it would
/// press all that matters into a line.
const NO_MODEL: f64 = 8.0;

/// Draws all pictures into `DIR/plots`, in the place of those that are there.
///
/// # Errors
/// A file that cannot be read or written.
pub fn draw(report: &TableReport, plan: &Plan, dir: &Path) -> Result<()> {
    let plots = dir.join("plots");
    if plots.exists() {
        std::fs::remove_dir_all(&plots).map_err(|err| Error::file(&plots, err))?;
    }
    std::fs::create_dir_all(&plots).map_err(|err| Error::file(&plots, err))?;
    match plan.table.varies() {
        None => save(&methods(report), &plots, "bpd-sampling")?,
        Some(size) => {
            for (quantity, file) in [
                (Quantity::St, "st"),
                (Quantity::Ft, "ft"),
                (Quantity::Memory, "memory"),
            ] {
                save(&scaling(report, quantity, size), &plots, file)?;
            }
        }
    }
    draw_losses(plan, dir, &plots)?;
    copy_samples(plan, dir, &plots)
}

/// Saves a chart twice; one without a point is left out.
fn save(drawing: &Chart, plots: &Path, file: &str) -> Result<()> {
    if drawing.series.is_empty() {
        return Ok(());
    }
    chart(drawing, plots.join(file).with_extension("svg"))?;
    chart(drawing, plots.join(file).with_extension("png"))
}

/// The paper's claim in one picture: bits per dimension against sampling time.
fn methods(report: &TableReport) -> Chart {
    let get = |row: &RowReport, key: &str| row.cells.get(key).cloned().unwrap_or_default();
    let points = |of: &dyn Fn(&RowReport) -> Option<(f64, f64)>, mode: Option<Mode>| {
        let wanted = mode.unwrap_or(Mode::Faithful).text();
        let rows = report.rows.iter().filter(|row| row.mode == wanted);
        rows.filter_map(|row| {
            let (x, y) = of(row)?;
            let ends = Mode::ALL.map(Mode::suffix).into_iter();
            let name = ends
                .filter(|end| !end.is_empty())
                .find_map(|end| row.row.strip_suffix(end))
                .unwrap_or(&row.row);
            Some((x, y, name.to_owned()))
        })
        .collect::<Vec<_>>()
    };
    let printed = |row: &RowReport| get(row, "st_ms").paper.zip(get(row, "bpd").paper);
    let own = |row: &RowReport| get(row, "st_ms").measured.zip(get(row, "bpd").measured);
    let mut series = vec![Marked {
        label: "the paper, its own GPU".into(),
        points: points(&printed, None),
        mark: Mark::Circles,
    }];
    for mode in Mode::ALL {
        series.push(Marked {
            label: format!("here, {}", mode.text()),
            points: points(&own, Some(mode)),
            mark: Mark::Discs,
        });
    }
    for series in &mut series {
        let all = series.points.len();
        series.points.retain(|point| point.1 <= NO_MODEL);
        let left_out = all - series.points.len();
        if left_out > 0 {
            series.label += &format!(" ({left_out} above {NO_MODEL} bits not shown)");
        }
    }
    // an alternative of a method has the printed numbers of that method: once is enough
    series[0].points.dedup_by(|a, b| (a.0, a.1) == (b.0, b.1));
    series.retain(|series| !series.points.is_empty());
    Chart {
        title: report.title.clone(),
        x_label: "sampling time of one image, ms (authors' protocol)".into(),
        y_label: "bits per dimension".into(),
        log_x: true,
        log_y: false,
        series,
    }
}

fn scaling(report: &TableReport, quantity: Quantity, size: &str) -> Chart {
    let line = |key: &str, printed: bool| {
        let rows = report.rows.iter();
        rows.filter_map(|row| {
            let cell = row.cells.get(key)?;
            let value = if printed { cell.paper } else { cell.measured };
            Some((row.row.parse().ok()?, value?, String::new()))
        })
        .collect::<Vec<_>>()
    };
    let key = quantity.key();
    let mut series = vec![
        Marked {
            label: "the paper, its own GPU".into(),
            points: line(key, true),
            mark: Mark::ThinLine,
        },
        Marked {
            label: match quantity {
                Quantity::Memory => "here, activations kept".into(),
                _ => "here, authors' protocol".into(),
            },
            points: line(key, false),
            mark: Mark::Line,
        },
    ];
    let sound: &[(&str, &str)] = match quantity {
        Quantity::St => &[
            ("sample_1_ms", "here, 1 image, median"),
            ("sample_100_ms", "here, many images, median"),
        ],
        Quantity::Ft => &[
            ("step_ms", "here, training step, median"),
            ("forward_ms", "here, forward pass, median"),
            ("step_rebuilt_ms", "here, step rebuilding activations"),
        ],
        Quantity::Memory => &[("memory_rebuilt_gb", "here, activations rebuilt")],
        _ => &[],
    };
    series.extend(sound.iter().map(|(key, label)| Marked {
        label: (*label).into(),
        points: line(key, false),
        mark: Mark::Line,
    }));
    series.retain(|series| !series.points.is_empty());
    // a column that the paper does not print and no row has measured
    if series.iter().all(|series| series.mark == Mark::ThinLine) && series.len() > 1 {
        series.clear();
    }
    Chart {
        title: report.title.clone(),
        x_label: size.into(),
        y_label: quantity.title().into(),
        log_x: true,
        log_y: true,
        series,
    }
}

fn draw_losses(plan: &Plan, dir: &Path, plots: &Path) -> Result<()> {
    for mode in Mode::ALL {
        let (mut by_step, mut by_time) = (Vec::new(), Vec::new());
        for row in rows(plan.table).into_iter().filter(|row| row.mode == mode) {
            let root = Plan::row_dir(dir, &row.name).join("seed-0");
            let Ok(run) = RunDir::open(&root) else {
                continue;
            };
            if !run.metrics().exists() {
                continue;
            }
            let records = metrics::read(&run.metrics())?;
            let losses: Vec<(f64, f64, f64)> = records
                .iter()
                .filter(|record| record.split == Split::Train)
                .filter_map(|record| Some((record.step as f64, record.seconds, record.any_bpd()?)))
                .collect();
            let means = means(&losses);
            let points = |x: fn(&(f64, f64, f64)) -> f64| -> Vec<(f64, f64)> {
                means.iter().map(|mean| (x(mean), mean.2)).collect()
            };
            if !means.is_empty() {
                // such a training loss is no likelihood and need not fall
                let lacking = records.iter().any(|r| r.bpd_without_log_dets.is_some());
                let label = match lacking {
                    true => format!("{} (without log-dets)", row.name),
                    false => row.name,
                };
                by_step.push(Series::markers(label.clone(), points(|mean| mean.0)));
                by_time.push(Series::markers(label, points(|mean| mean.1)));
            }
        }
        let name = serde_json::to_value(mode).ok();
        let name = name
            .as_ref()
            .and_then(|name| name.as_str())
            .unwrap_or("rows");
        for (series, axis, file) in [(by_step, "step", "step"), (by_time, "seconds", "time")] {
            if series.is_empty() {
                continue;
            }
            let title = format!("training, {}", mode.text());
            for kind in ["svg", "png"] {
                let path = plots.join(format!("loss-{name}-{file}.{kind}"));
                curves(&series, &title, axis, "bits per dimension", path)?;
            }
        }
    }
    Ok(())
}

/// At most [`MEANS`] means of consecutive points.
fn means(points: &[(f64, f64, f64)]) -> Vec<(f64, f64, f64)> {
    let size = points.len().div_ceil(MEANS).max(1);
    let chunks = points.chunks(size);
    chunks
        .map(|chunk| {
            let mean = |of: fn(&(f64, f64, f64)) -> f64| {
                mean_and_deviation(&chunk.iter().map(of).collect::<Vec<_>>()).0
            };
            (mean(|p| p.0), mean(|p| p.1), mean(|p| p.2))
        })
        .collect()
}

fn copy_samples(plan: &Plan, dir: &Path, plots: &Path) -> Result<()> {
    for row in rows(plan.table) {
        if RowState::read(dir, &row.name)?.seeds.is_empty() {
            continue;
        }
        let folder = Plan::row_dir(dir, &row.name).join("seed-0/samples");
        let Some(latest) = latest(&folder) else {
            continue;
        };
        let copy = plots.join(format!("samples-{}.png", row.name));
        let picture = std::fs::read(&latest).map_err(|err| Error::file(&latest, err))?;
        files::write(copy, picture)?;
    }
    Ok(())
}

/// The last picture of a folder by name.
fn latest(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "png"))
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_become_means() {
        let points: Vec<_> = (0..1000)
            .map(|i| (f64::from(i), 2.0 * f64::from(i), 1.0))
            .collect();
        let means = means(&points);
        assert!(means.len() <= MEANS && means.len() > MEANS / 2);
        assert_eq!(means[0], (4.0, 8.0, 1.0));
    }
}
