//! How far a command is: a bar on a terminal, a line now and then elsewhere.

use crate::train::say;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Shows how many of the images are done.
#[derive(Debug)]
pub struct Progress {
    done: u64,
    total: u64,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Instant),
}

impl Progress {
    /// `done` of `total` images are done before it begins; nothing is shown if not `speaks`.
    pub fn new(speaks: bool, done: u64, total: u64) -> Self {
        let shown = match (speaks, std::io::stderr().is_terminal()) {
            (false, _) => Shown::Nothing,
            (true, false) => Shown::Lines(Instant::now()),
            (true, true) => {
                let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
                let template = "images {bar:24} {pos}/{len}  {elapsed}, {eta} left";
                let bar = match ProgressStyle::with_template(template) {
                    Ok(style) => bar.with_style(style),
                    Err(_) => bar,
                };
                bar.set_position(done);
                bar.reset_eta();
                Shown::Bar(bar)
            }
        };
        Self { done, total, shown }
    }

    /// More images are done.
    pub fn advance(&mut self, images: u64) {
        self.done += images;
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.set_position(self.done),
            Shown::Lines(since) => {
                if since.elapsed() >= INTERVAL {
                    *since = Instant::now();
                    say(&format!("images {}/{}", self.done, self.total));
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
