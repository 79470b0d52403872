//! What all charts look like: margins, grid, axes, legend.

use super::backend::{Drawn, Scale};
use plotters::chart::MeshStyle;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;

/// A chart with its title and room for the texts of both axes.
pub(super) fn titled<'a, 'b, B: DrawingBackend>(
    area: &'a DrawingArea<B, Shift>,
    title: &str,
    scale: Scale,
) -> ChartBuilder<'a, 'b, B> {
    let mut chart = ChartBuilder::on(area);
    let room = area.dim_in_pixel().0.saturating_sub(2 * scale.px(40));
    chart
        .margin(scale.px(14))
        // half of the last number of the x axis
        .margin_right(scale.px(28))
        .caption(fitted(title, &scale.font(21), room), scale.font(21))
        .x_label_area_size(scale.px(46))
        .y_label_area_size(scale.px(66));
    chart
}

/// A text without what is in its middle, if it were wider than that.
fn fitted(text: &str, style: &TextStyle<'_>, width: u32) -> String {
    let fits = |text: &str| style.font.box_size(text).is_ok_and(|size| size.0 <= width);
    if fits(text) {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    let shortened = |kept: usize| {
        let (start, end) = letters.split_at(kept.div_ceil(2));
        let end = &end[end.len() - kept / 2..];
        start.iter().chain(&['…']).chain(end).collect::<String>()
    };
    let kept = (0..letters.len()).rev().map(shortened);
    kept.into_iter().find(|text| fits(text)).unwrap_or_default()
}

/// Grid and axes in grey, with about `labels` numbers and the texts `names` along them.
pub(super) fn grid<X, Y, XT, YT, B>(
    mesh: &mut MeshStyle<'_, '_, X, Y, B>,
    labels: [usize; 2],
    names: [&str; 2],
    scale: Scale,
) where
    X: Ranged<ValueType = XT> + ValueFormatter<XT>,
    Y: Ranged<ValueType = YT> + ValueFormatter<YT>,
    B: DrawingBackend,
{
    let line = scale.px(1);
    mesh.x_labels(labels[0])
        .y_labels(labels[1])
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(226, 226, 226).stroke_width(line))
        .axis_style(RGBColor(150, 150, 150).stroke_width(line))
        .set_all_tick_mark_size(scale.px(4))
        .label_style(scale.font(15))
        .axis_desc_style(scale.font(17))
        .x_desc(names[0])
        .y_desc(names[1]);
}

/// The names of the series in a box.
pub(super) fn legend<'a, B: DrawingBackend + 'a, C: CoordTranslate>(
    chart: &mut ChartContext<'a, B, C>,
    corner: SeriesLabelPosition,
    scale: Scale,
) -> Drawn<B> {
    chart
        .configure_series_labels()
        .position(corner)
        .margin(scale.px(10))
        .legend_area_size(scale.px(32))
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(210, 210, 210).stroke_width(scale.px(1)))
        .label_font(scale.font(15))
        .draw()
}
