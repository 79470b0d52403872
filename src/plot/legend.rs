//! A legend below a chart: as many rows as it needs, and no text that is cut off.

use super::backend::{Drawn, Scale};
use super::dashes::dashed;
use plotters::coord::Shift;
use plotters::prelude::*;

/// Size of the font, height of a line, length of a sample, and the space between things, in pixels.
const FONT: u32 = 16;
const LINE: u32 = 23;
const SAMPLE: u32 = 52;
const SPACE: u32 = 12;
const MARGIN: u32 = 28;

/// Viewers of SVG files have fonts of their own, some of them wider than the one that is measured here.
const WIDER: f64 = 1.15;

/// One line of a chart in its legend.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub label: String,
    pub colour: RGBColor,
    pub dash: &'static [u32],
    pub strong: bool,
    pub marked: bool,
}

/// Entries with their places.
#[derive(Debug)]
pub(super) struct Legend {
    entries: Vec<Placed>,
    height: u32,
}

#[derive(Debug)]
struct Placed {
    entry: Entry,
    lines: Vec<String>,
    at: (u32, u32),
}

impl Legend {
    /// Puts entries below a chart of this width, in as many columns as their texts fit into.
    pub fn of(entries: &[Entry], width: u32) -> Self {
        let inside = width - 2 * MARGIN;
        let room = |columns: u32| inside / columns - SAMPLE - 2 * SPACE;
        let widest = entries.iter().map(|entry| text_width(&entry.label)).max();
        let fitting = [4, 3, 2]
            .into_iter()
            .find(|columns| widest <= Some(room(*columns)));
        let columns = fitting.unwrap_or(1);
        let (mut placed, mut top) = (Vec::new(), SPACE / 2);
        for row in entries.chunks(columns as usize) {
            let mut height = 0;
            for (column, entry) in (0..).zip(row) {
                let lines = wrapped(&entry.label, room(columns));
                height = height.max(lines.len() as u32 * LINE);
                placed.push(Placed {
                    entry: entry.clone(),
                    lines,
                    at: (MARGIN + column * (inside / columns), top),
                });
            }
            top += height;
        }
        Self {
            entries: placed,
            height: top + SPACE,
        }
    }

    /// Pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    pub fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        ink: RGBColor,
        scale: Scale,
    ) -> Drawn<B> {
        let px = |length| scale.px(length) as i32;
        for Placed { entry, lines, at } in &self.entries {
            let (left, middle) = (px(at.0), px(at.1 + LINE / 2));
            let width = scale.px(if entry.strong { 5 } else { 3 }) / 2;
            let style = entry.colour.stroke_width(width);
            let lengths: Vec<_> = entry.dash.iter().map(|l| f64::from(scale.px(*l))).collect();
            let ends = [(f64::from(left), 0.0), (f64::from(left + px(SAMPLE)), 0.0)];
            for piece in dashed(&ends, &lengths, (1.0, 1.0)) {
                let piece: Vec<_> = piece
                    .iter()
                    .map(|end| (end.0.round() as i32, middle))
                    .collect();
                area.draw(&PathElement::new(piece, style))?;
            }
            if entry.marked {
                let centre = (left + px(SAMPLE) / 2, middle);
                area.draw(&Circle::new(centre, scale.px(4), entry.colour.filled()))?;
            }
            for (line, text) in (0..).zip(lines) {
                let at = (
                    left + px(SAMPLE + SPACE),
                    px(at.1 + line * LINE + (LINE - FONT) / 2 + 2),
                );
                area.draw(&Text::new(text.clone(), at, scale.font(FONT).color(&ink)))?;
            }
        }
        Ok(())
    }
}

/// Pixels that a text takes, with room for wider fonts.
fn text_width(text: &str) -> u32 {
    let measured = Scale::ONE.font(FONT).font.box_size(text);
    // a font that cannot be measured: a wide one
    let width = measured.map_or(FONT * text.chars().count() as u32, |size| size.0);
    (f64::from(width) * WIDER).ceil() as u32
}

/// A text in lines of at most this width, broken between words, and inside those that are longer.
fn wrapped(text: &str, width: u32) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if text_width(&format!("{line}{}", word.trim_end())) <= width {
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(String::new());
        }
        for letter in word.chars() {
            let line = lines.last_mut().expect("there is a first line");
            if !line.is_empty() && text_width(&format!("{line}{letter}")) > width {
                lines.push(letter.into());
            } else {
                line.push(letter);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::canvas::register;
    use super::*;

    #[test]
    fn texts_are_broken_and_nothing_is_lost() {
        register().unwrap();
        let long = format!("a few words, {} and more of them", "x".repeat(300));
        let lines = wrapped(&long, 400);
        assert!(lines.len() > 4, "{lines:?}");
        assert_eq!(lines.concat(), long);
        assert!(lines.iter().all(|line| text_width(line.trim_end()) <= 400));
        assert_eq!(wrapped("short", 400), ["short"]);
    }

    #[test]
    fn there_are_as_many_columns_as_texts_fit_into() {
        register().unwrap();
        let entries = |label: &str| {
            vec![
                Entry {
                    label: label.into(),
                    colour: BLACK,
                    dash: &[],
                    strong: true,
                    marked: false,
                };
                4
            ]
        };
        let height = |label: &str| Legend::of(&entries(label), 1200).height();
        let (short, long) = (height("lr 0.001"), height(&"long ".repeat(60)));
        assert_eq!(short, LINE + SPACE + SPACE / 2);
        assert!(long >= 8 * LINE, "{long}");
    }
}
