//! Charts of numbers beside numbers: points with names, and lines over a size.

use super::axis::Axis;
use super::backend::{render, Drawing, Drawn, Scale, COLOURS};
use super::frame;
use crate::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// How a series is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Filled discs.
    Discs,
    /// Circles: numbers that are not one's own.
    Circles,
    /// Discs joined by a line.
    Line,
    /// Circles joined by a thin line.
    ThinLine,
}

/// One series of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Marked {
    /// Name in the legend.
    pub label: String,
    /// `(x, y)` with a name that stands beside the point, empty for none.
    pub points: Vec<(f64, f64, String)>,
    /// How it is marked.
    pub mark: Mark,
}

/// A chart; an axis is logarithmic where equal factors shall be equal lengths.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Above the chart.
    pub title: String,
    /// Below the x axis.
    pub x_label: String,
    /// Beside the y axis.
    pub y_label: String,
    /// Whether the x axis is logarithmic.
    pub log_x: bool,
    /// Whether the y axis is logarithmic.
    pub log_y: bool,
    /// What is shown.
    pub series: Vec<Marked>,
}

/// Saves a chart of 900x540 pixels, as SVG if the path ends so, else as PNG.
///
/// # Errors
/// No point that can be shown, or a path that cannot be written.
pub fn chart(chart: &Chart, path: impl AsRef<Path>) -> Result<()> {
    let values = |of: fn(&(f64, f64, String)) -> f64| {
        chart
            .series
            .iter()
            .flat_map(move |series| series.points.iter().map(of))
    };
    let axes = Axis::around(values(|point| point.0), chart.log_x)
        .zip(Axis::around(values(|point| point.1), chart.log_y));
    let (x, y) =
        axes.ok_or_else(|| Error::argument("chart", "series", "has no point that can be shown"))?;
    render(&Placed { chart, x, y }, path.as_ref())
}

struct Placed<'a> {
    chart: &'a Chart,
    x: Axis,
    y: Axis,
}

impl Drawing for Placed<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: Scale) -> Drawn<B> {
        let Chart {
            title,
            x_label,
            y_label,
            ..
        } = self.chart;
        let mut context = frame::titled(area, title, scale).build_cartesian_2d(self.x, self.y)?;
        let mut mesh = context.configure_mesh();
        frame::grid(&mut mesh, [12, 12], [x_label, y_label], scale);
        mesh.draw()?;
        for (series, colour) in self.chart.series.iter().zip(COLOURS.into_iter().cycle()) {
            let shown: Vec<_> = series
                .points
                .iter()
                .filter(|(x, y, _)| self.x.shows(*x) && self.y.shows(*y))
                .cloned()
                .collect();
            draw_series(&mut context, series, shown, colour, scale)?;
        }
        // curves over a size rise to the right
        let points = [Mark::Discs, Mark::Circles];
        let corner = match self.chart.series.iter().all(|s| points.contains(&s.mark)) {
            true => SeriesLabelPosition::UpperRight,
            false => SeriesLabelPosition::UpperLeft,
        };
        frame::legend(&mut context, corner, scale)?;
        area.present()
    }
}

type Context<'a, B> = ChartContext<'a, B, Cartesian2d<Axis, Axis>>;

fn draw_series<'a, B: DrawingBackend + 'a>(
    context: &mut Context<'a, B>,
    series: &Marked,
    shown: Vec<(f64, f64, String)>,
    colour: RGBColor,
    scale: Scale,
) -> Drawn<B> {
    let own = matches!(series.mark, Mark::Discs | Mark::Line);
    let joined = matches!(series.mark, Mark::Line | Mark::ThinLine);
    let stroke = colour.stroke_width(scale.px(if own { 2 } else { 1 }));
    let marker = if own {
        colour.filled()
    } else {
        colour.stroke_width(scale.px(1))
    };
    let radius = scale.px(5);
    if joined {
        let ends = shown.windows(2);
        context.draw_series(ends.map(|ends| {
            PathElement::new(ends.iter().map(|p| (p.0, p.1)).collect::<Vec<_>>(), stroke)
        }))?;
    }
    let points = shown
        .iter()
        .map(|point| Circle::new((point.0, point.1), radius, marker));
    context.draw_series(points)?;
    let beside = (scale.px(8) as i32, -(scale.px(14) as i32));
    let named = shown.iter().filter(|point| !point.2.is_empty());
    context.draw_series(named.map(|(x, y, name)| {
        EmptyElement::at((*x, *y)) + Text::new(name.clone(), beside, scale.font(13))
    }))?;
    // an empty series carries the legend
    context
        .draw_series(std::iter::empty::<Circle<(f64, f64), u32>>())?
        .label(series.label.clone())
        .legend(move |(left, middle)| {
            let right = if joined {
                left + scale.px(24) as i32
            } else {
                left
            };
            let line = EmptyElement::at((0, 0))
                + PathElement::new([(left, middle), (right, middle)], stroke);
            line + Circle::new((left + scale.px(12) as i32, middle), radius, marker)
        });
    Ok(())
}
