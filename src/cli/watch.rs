//! What a user sees of a run: a bar on a terminal, plain lines elsewhere, and the pictures in its folder.

use super::curves::draw_curves;
use crate::plot::save_grid;
use crate::train::{say, Figures, Lines, Moment, Watch};
use crate::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::PathBuf;

/// Pixels of the picture for one of an image, in sample grids.
const SCALE: usize = 2;

/// Shows a run and draws its pictures.
#[derive(Debug)]
pub struct Screen(Shown);

#[derive(Debug)]
enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Lines),
}

impl Screen {
    /// A bar on standard error if that is a terminal, else lines on standard output; nothing with `quiet`. The pictures
    /// are drawn in any case.
    pub fn new(quiet: bool) -> Self {
        Self(match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, true) => Shown::Bar(bar()),
            (false, false) => Shown::Lines(Lines::new()),
        })
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // the text in the middle is cut off where the line would be longer than the terminal is wide
    let template = "{bar:12} {pos}/{len}  {wide_msg}  {eta} left";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Watch for Screen {
    fn start(&mut self, step: u64, total: u64) {
        match &mut self.0 {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(step);
                // the rate, and with it the time left, is that of this session
                bar.reset_eta();
            }
            Shown::Lines(lines) => lines.start(step, total),
        }
    }

    fn step(&mut self, figures: Figures) {
        match &mut self.0 {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_position(figures.step);
                bar.set_message(figures.to_string());
            }
            Shown::Lines(lines) => lines.step(figures),
        }
    }

    fn line(&mut self, text: &str) {
        match &mut self.0 {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.suspend(|| say(text)),
            Shown::Lines(lines) => lines.line(text),
        }
    }

    fn validated(&mut self, moment: &Moment<'_>) -> Result<Option<PathBuf>> {
        draw_curves(moment.run)?;
        let Some(drawn) = moment.samples()? else {
            return Ok(None);
        };
        let path = moment.run.samples(moment.epoch);
        save_grid(&drawn.images, moment.columns, SCALE, &path)?;
        if let Some(remark) = drawn.remark {
            self.line(&format!("samples: {remark}; magenta in {}", path.display()));
        }
        Ok(Some(path))
    }

    fn finish(&mut self) {
        if let Shown::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
