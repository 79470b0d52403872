//! What a user sees of a run: a bar on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between two plain lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Running figures of a run.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Epoch in progress, counted from 1.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Bits per dimension of the latest steps; `None` if all were skipped.
    pub bpd: Option<f64>,
    /// Learning rate of the latest step.
    pub lr: f64,
    /// Training images per second.
    pub images_per_s: f64,
}

/// Progress of a run of a known number of steps.
#[derive(Debug)]
pub struct Report {
    bar: Option<ProgressBar>,
    quiet: bool,
    total: u64,
    shown: Instant,
}

impl Report {
    /// A bar on standard error if that is a terminal, else lines on standard output; nothing with `quiet`.
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template = "{bar:24} {pos}/{len} steps  {msg}  {elapsed}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            quiet,
            total: 0,
            shown: Instant::now(),
        }
    }

    /// The run goes from `step` to `total` steps.
    pub fn start(&mut self, step: u64, total: u64) {
        self.total = total;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(step);
            // the rate, and with it the time left, is that of this session
            bar.reset_eta();
        }
    }

    /// After every step.
    pub fn step(&mut self, figures: Figures) {
        let bpd = match figures.bpd {
            Some(bpd) => format!("{bpd:.4}"),
            None => "-".into(),
        };
        let text = format!(
            "epoch {}  {bpd} bits/dim  lr {:.2e}  {:.0} images/s",
            figures.epoch, figures.lr, figures.images_per_s
        );
        if let Some(bar) = &self.bar {
            bar.set_position(figures.step);
            bar.set_message(text);
        } else if self.shown.elapsed() >= INTERVAL {
            self.shown = Instant::now();
            self.line(&format!("step {}/{}  {text}", figures.step, self.total));
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Prints a line on standard output; a reader that has gone away is not this program's error.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
