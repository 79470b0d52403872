//! Several runs in one chart: training and validation of each, with a legend below the chart that has room for any text.

use super::backend::{render, Drawing, Drawn, Scale, COLOURS, INK};
use super::canvas::register;
use super::curves::{tick, y_axis_text};
use super::dashes::{dashed, DASHES};
use super::frame;
use super::legend::{Entry, Legend};
use super::range::{finite, smoothed, visible, Point, View};
use crate::{Error, Result};
use plotters::coord::types::RangedCoordf64;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// Size of the chart without the legend, pixels.
const SIZE: (u32, u32) = (1200, 660);

/// Points of a line of running means; more could not be seen apart.
const MAX_MEANS: usize = 400;

/// Markers that still have space between them.
const MAX_MARKERS: usize = 60;

/// One run of a chart of several.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// What the legend says about it.
    pub label: String,
    /// `(x, y)` by increasing x: a thin line through running means.
    pub training: Vec<(f64, f64)>,
    /// `(x, y)` by increasing x: a line with a marker at each.
    pub validation: Vec<(f64, f64)>,
}

impl Compared {
    fn points(&self) -> impl Iterator<Item = Point> + '_ {
        let training = self.means().flatten();
        training.chain(finite(&self.validation))
    }

    /// Running means of training, where it has finite values without a break.
    fn means(&self) -> impl Iterator<Item = Vec<Point>> + '_ {
        let pieces = self.training.split(|point| !point.1.is_finite());
        pieces.map(|piece| smoothed(piece, self.half_window(), MAX_MEANS))
    }

    fn half_window(&self) -> usize {
        self.training.len() / 60
    }
}

/// Saves a chart of runs, 1200 pixels wide, as SVG if the path ends so, else as PNG. Each run has a colour and a dash of its
/// own.
///
/// The y axis shows the later part of the curves, as that of [`curves`](super::curves); a run that stays far above the
/// others is left out of it, and the axis and the legend say so.
///
/// # Errors
/// No finite point in any run, or a path that cannot be written.
pub fn compare(
    runs: &[Compared],
    title: &str,
    x_label: &str,
    y_label: &str,
    path: impl AsRef<Path>,
) -> Result<()> {
    let views: Vec<_> = runs
        .iter()
        .filter_map(|run| View::of(run.points()))
        .collect();
    let view = View::together(&views)
        .ok_or_else(|| Error::argument("compare", "runs", "have no finite point to draw"))?;
    // texts are measured with it
    register()?;
    let mut entries = Vec::new();
    let grey = RGBColor(110, 110, 110);
    for (label, strong, there) in [
        (
            "validation",
            true,
            runs.iter().any(|run| !run.validation.is_empty()),
        ),
        (
            "training",
            false,
            runs.iter().any(|run| !run.training.is_empty()),
        ),
    ] {
        if there {
            entries.push(Entry {
                label: label.to_owned(),
                colour: if strong { grey } else { tinted(grey) },
                dash: DASHES[0],
                strong,
                marked: strong,
            });
        }
    }
    entries.extend(runs.iter().zip(styles()).map(|(run, (colour, dash))| {
        let above =
            run.points().next().is_some() && run.points().all(|point| point.1 > view.y.high);
        Entry {
            label: match above {
                true => format!("{} – above this chart", run.label),
                false => run.label.clone(),
            },
            colour,
            dash,
            strong: true,
            marked: false,
        }
    }));
    let drawing = Lines {
        runs,
        view: &view,
        texts: [title, x_label, y_label],
        legend: &Legend::of(&entries, SIZE.0),
    };
    render(&drawing, path.as_ref())
}

/// Colours and dashes, no two alike for the first forty.
fn styles() -> impl Iterator<Item = (RGBColor, &'static [u32])> {
    let colours = COLOURS.into_iter().cycle();
    colours.zip(DASHES.into_iter().cycle())
}

/// Between a colour and white.
fn tinted(colour: RGBColor) -> RGBColor {
    let tint = |channel: u8| 255 - (255 - channel) / 2;
    RGBColor(tint(colour.0), tint(colour.1), tint(colour.2))
}

struct Lines<'a> {
    runs: &'a [Compared],
    view: &'a View,
    texts: [&'a str; 3],
    legend: &'a Legend,
}

impl Drawing for Lines<'_> {
    fn size(&self) -> (u32, u32) {
        (SIZE.0, SIZE.1 + self.legend.height())
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: Scale) -> Drawn<B> {
        let ([title, x_label, y_label], view) = (self.texts, self.view);
        let (upper, lower) = area.split_vertically(scale.px(SIZE.1) as i32);
        let mut chart = frame::titled(&upper, title, scale)
            .build_cartesian_2d(view.x.low..view.x.high, view.y.low..view.y.high)?;
        let (x_tick, y_tick) = (|x: &f64| tick(*x, view.x), |y: &f64| tick(*y, view.y));
        let mut mesh = chart.configure_mesh();
        mesh.x_label_formatter(&x_tick).y_label_formatter(&y_tick);
        let y_text = y_axis_text(y_label, view);
        frame::grid(&mut mesh, [12, 10], [x_label, &y_text], scale);
        mesh.draw()?;
        // training below validation
        for (run, (colour, dash)) in self.runs.iter().zip(styles()) {
            let style = tinted(colour).stroke_width(scale.px(3) / 2);
            for means in run.means() {
                draw_line(&mut chart, &means, view, dash, style, scale)?;
                if means.len() == 1 {
                    draw_markers(&mut chart, &means, view, tinted(colour), scale)?;
                }
            }
        }
        for (run, (colour, dash)) in self.runs.iter().zip(styles()) {
            let style = colour.stroke_width(scale.px(5) / 2);
            draw_line(&mut chart, &run.validation, view, dash, style, scale)?;
            if run.validation.len() <= MAX_MARKERS {
                draw_markers(&mut chart, &run.validation, view, colour, scale)?;
            }
        }
        self.legend.draw(&lower, INK, scale)?;
        area.present()
    }
}

type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn draw_line<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    points: &[Point],
    view: &View,
    dash: &[u32],
    style: ShapeStyle,
    scale: Scale,
) -> Drawn<B> {
    let (width, height) = chart.plotting_area().dim_in_pixel();
    let per_unit = (
        f64::from(width) / view.x.length(),
        f64::from(height) / view.y.length(),
    );
    let lengths: Vec<_> = dash
        .iter()
        .map(|length| f64::from(scale.px(*length)))
        .collect();
    for piece in visible(points, view.y) {
        for drawn in dashed(&piece, &lengths, per_unit) {
            let segments = drawn.windows(2);
            chart.draw_series(segments.map(|ends| PathElement::new(ends.to_vec(), style)))?;
            // plotters' own joints of thick lines are spikes where the line turns sharply
            let inner = drawn.iter().skip(1).take(drawn.len().saturating_sub(2));
            let disc = |at: &Point| Circle::new(*at, style.stroke_width / 2, style.color.filled());
            chart.draw_series(inner.map(disc))?;
        }
    }
    Ok(())
}

fn draw_markers<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    points: &[Point],
    view: &View,
    colour: RGBColor,
    scale: Scale,
) -> Drawn<B> {
    let shown = finite(points).filter(|point| view.y.contains(point.1));
    chart.draw_series(shown.map(|point| Circle::new(point, scale.px(4), colour.filled())))?;
    Ok(())
}
