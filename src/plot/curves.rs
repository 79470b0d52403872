//! Line charts of metrics.

use super::backend::{render, Drawing, Drawn, Scale, COLOURS};
use super::frame;
use super::range::{finite, smoothed, visible, Interval, Point, View};
use crate::{Error, Result};
use plotters::coord::types::RangedCoordf64;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// Points of the smoothed line; more could not be seen apart.
const MAX_MEANS: usize = 400;

/// Markers that still have space between them.
const MAX_MARKERS: usize = 80;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Many noisy points, one a step: a light line through all and a strong one through running means.
    Dense,
    /// Few points, one an epoch: a line with a marker at each.
    Markers,
}

/// One curve of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub label: String,
    /// `(x, y)` by increasing x; values that are not finite break the line.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: Style,
}

impl Series {
    /// A series in the [`Dense`](Style::Dense) style.
    pub fn dense(label: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            label: label.into(),
            points,
            style: Style::Dense,
        }
    }

    /// A series in the [`Markers`](Style::Markers) style.
    pub fn markers(label: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            label: label.into(),
            points,
            style: Style::Markers,
        }
    }
}

/// Saves a line chart of 900x540 pixels, as SVG if the path ends so, else as PNG.
///
/// The y axis shows the later part of the curves; early or stray values far outside it are cut off, and
/// then the axis says so. The font is part of the program, so no font need be installed.
///
/// # Errors
/// No finite point in any series, or a path that cannot be written.
pub fn curves(
    series: &[Series],
    title: &str,
    x_label: &str,
    y_label: &str,
    path: impl AsRef<Path>,
) -> Result<()> {
    let view = View::of(series.iter().flat_map(|series| finite(&series.points)))
        .ok_or_else(|| Error::argument("curves", "series", "has no finite point to draw"))?;
    let lines = Lines {
        series,
        view: &view,
        texts: [title, x_label, y_label],
    };
    render(&lines, path.as_ref())
}

type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

struct Lines<'a> {
    series: &'a [Series],
    view: &'a View,
    texts: [&'a str; 3],
}

impl Drawing for Lines<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: Scale) -> Drawn<B> {
        let ([title, x_label, y_label], view) = (self.texts, self.view);
        let mut chart = frame::titled(area, title, scale)
            .build_cartesian_2d(view.x.low..view.x.high, view.y.low..view.y.high)?;
        let (x_tick, y_tick) = (|x: &f64| tick(*x, view.x), |y: &f64| tick(*y, view.y));
        let mut mesh = chart.configure_mesh();
        mesh.x_label_formatter(&x_tick).y_label_formatter(&y_tick);
        frame::grid(
            &mut mesh,
            [10, 8],
            [x_label, &y_axis_text(y_label, view)],
            scale,
        );
        mesh.draw()?;
        for (series, colour) in self.series.iter().zip(COLOURS.into_iter().cycle()) {
            draw_series(&mut chart, series, colour, view.y, scale)?;
        }
        frame::legend(&mut chart, SeriesLabelPosition::UpperRight, scale)?;
        area.present()
    }
}

fn draw_series<'a, B: DrawingBackend + 'a>(
    chart: &mut Chart<'a, B>,
    series: &Series,
    colour: RGBColor,
    y: Interval,
    scale: Scale,
) -> Drawn<B> {
    let px = |length| scale.px(length);
    let strong = colour.stroke_width(px(2));
    let half_window = match series.style {
        Style::Dense => series.points.len() / 60,
        Style::Markers => 0,
    };
    if half_window > 0 {
        // an opaque tint: where a thousand values share a pixel, alpha would add up to the full colour
        let tint = |channel: u8| 255 - (255 - channel) / 3;
        let light = RGBColor(tint(colour.0), tint(colour.1), tint(colour.2));
        let pieces = visible(&series.points, y).into_iter();
        chart.draw_series(pieces.map(|piece| PathElement::new(piece, light)))?;
        let means = smoothed(&series.points, half_window, MAX_MEANS);
        draw_line(chart, &means, y, strong)?;
    } else {
        draw_line(chart, &series.points, y, strong)?;
    }
    let markers = series.style == Style::Markers && series.points.len() <= MAX_MARKERS;
    if markers || series.points.len() == 1 {
        let shown = finite(&series.points).filter(|point| y.contains(point.1));
        chart.draw_series(shown.map(|point| Circle::new(point, px(4), colour.filled())))?;
    }
    // an empty series carries the legend: the lines above come in pieces
    let label = LineSeries::new(std::iter::empty(), strong);
    chart
        .draw_series(label)?
        .label(series.label.clone())
        .legend(move |(left, middle)| {
            let px = |length| scale.px(length);
            let ends = [(left, middle), (left + px(24) as i32, middle)];
            let line = EmptyElement::at((0, 0)) + PathElement::new(ends, strong);
            let radius = if markers { px(4) } else { 0 };
            let centre = (left + px(12) as i32, middle);
            line + Circle::new(centre, radius, colour.filled())
        });
    Ok(())
}

/// Draws the visible part of a line segment by segment, with a disc at every joint: plotters' own joints of
/// thick lines are spikes where the line turns sharply.
fn draw_line<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    points: &[Point],
    y: Interval,
    style: ShapeStyle,
) -> Drawn<B> {
    for piece in visible(points, y) {
        let segments = piece.windows(2);
        chart.draw_series(segments.map(|ends| PathElement::new(ends.to_vec(), style)))?;
        let joints = piece.iter().copied();
        let disc = |at| Circle::new(at, style.stroke_width / 2, style.color.filled());
        chart.draw_series(joints.map(disc))?;
    }
    Ok(())
}

/// The label of the y axis with a word about values that are not shown.
pub(super) fn y_axis_text(label: &str, view: &View) -> String {
    let (low, high) = (tick(view.y.low, view.y), tick(view.y.high, view.y));
    match view.clipped {
        (false, false) => label.to_owned(),
        (true, false) => format!("{label} (values above {high} not shown)"),
        (false, true) => format!("{label} (values below {low} not shown)"),
        (true, true) => format!("{label} (values outside {low} to {high} not shown)"),
    }
}

/// A number on an axis, with the decimals that the axis needs to tell its ticks apart.
pub(super) fn tick(value: f64, axis: Interval) -> String {
    let length = axis.length();
    // -0 would be written with its sign
    let value = if value.abs() < 1e-9 * length {
        0.0
    } else {
        value
    };
    if !(1e-3..1e7).contains(&length) {
        return format!("{value:.1e}");
    }
    if length >= 2e4 && value != 0.0 {
        return format!("{}k", value / 1e3);
    }
    let decimals = (1.0 - (length / 2.0).log10().floor()).clamp(0.0, 5.0) as usize;
    let digits = format!("{value:.decimals$}");
    match digits.contains('.') {
        true => digits
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        false => digits,
    }
}
