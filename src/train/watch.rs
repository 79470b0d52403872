//! Who watches a run: the border between training and what a user sees of it.

use super::RunDir;
use crate::Result;
use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tch::Tensor;

/// Time between two lines of [`Lines`].
const INTERVAL: Duration = Duration::from_secs(10);

/// Running figures of a run; displayed as a line for the user.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Epoch in progress, counted from 1.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Bits per dimension of the latest steps that were read; `None` if all were skipped.
    pub bpd: Option<f64>,
    /// Whether they lack log-determinants, so that they are no likelihood.
    pub without_log_dets: bool,
    /// Learning rate of the latest step.
    pub lr: f64,
    /// Training images per second.
    pub images_per_s: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}  ", self.epoch)?;
        match self.bpd {
            Some(bpd) => write!(f, "{bpd:.4}")?,
            None => write!(f, "-")?,
        }
        write!(
            f,
            " bits/dim{}  lr {:.2e}  {:.0} images/s",
            match self.without_log_dets {
                true => " without log-dets",
                false => "",
            },
            self.lr,
            self.images_per_s
        )
    }
}

/// A validated epoch, for pictures of it.
pub struct Moment<'a> {
    /// The run's folder; its metrics are up to date.
    pub run: &'a RunDir,
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Columns of a grid of the [samples](Moment::samples); with classes, a row of it is one class.
    pub columns: usize,
    pub(super) draw: &'a dyn Fn() -> Result<Option<Drawn>>,
}

/// Images of a sample grid.
#[derive(Debug)]
pub struct Drawn {
    /// `[N, C, H, W]` on the CPU, as the model decodes them: values may lie beyond `[0, 256)`, or not be finite.
    pub images: Tensor,
    /// What to say about values that are not finite, if there are any.
    pub remark: Option<String>,
}

impl fmt::Debug for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Moment");
        text.field("run", &self.run)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Moment<'_> {
    /// Images `[N, C, H, W]` that the model draws now, from the same latents every time, so that the grids of a run show
    /// one set of images taking shape; `None` if the configuration asks for none.
    ///
    /// # Errors
    /// What the model reports.
    pub fn samples(&self) -> Result<Option<Drawn>> {
        (self.draw)()
    }
}

/// What a run tells while it goes on. Every method does nothing unless it is written.
///
/// This module has [`Silent`] and [`Lines`], which write no file. The program's own, in `cli`, shows a bar where there is
/// a terminal and draws the sample grids and `curves.png`; a library without the feature `program` has neither.
pub trait Watch: fmt::Debug {
    /// The run goes from `step` to `total` steps.
    fn start(&mut self, step: u64, total: u64) {
        let _ = (step, total);
    }

    /// A step is done.
    fn step(&mut self, figures: Figures) {
        let _ = figures;
    }

    /// A sentence for the user.
    fn line(&mut self, text: &str) {
        let _ = text;
    }

    /// An epoch is validated. Returns the PNG file of the sample grid, if one was drawn.
    ///
    /// # Errors
    /// A picture that cannot be written, or what the model reports: the run says so and goes on.
    fn validated(&mut self, moment: &Moment<'_>) -> Result<Option<PathBuf>> {
        let _ = moment;
        Ok(None)
    }

    /// The session is over.
    fn finish(&mut self) {}
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Watch for Silent {}

/// Prints a line on standard output every ten seconds, and all sentences.
#[derive(Debug)]
pub struct Lines {
    total: u64,
    shown: Instant,
}

impl Lines {
    /// Begins to count the ten seconds.
    pub fn new() -> Self {
        Self {
            total: 0,
            shown: Instant::now(),
        }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch for Lines {
    fn start(&mut self, _step: u64, total: u64) {
        self.total = total;
    }

    fn step(&mut self, figures: Figures) {
        if self.shown.elapsed() >= INTERVAL {
            self.shown = Instant::now();
            say(&format!("step {}/{}  {figures}", figures.step, self.total));
        }
    }

    fn line(&mut self, text: &str) {
        say(text);
    }
}

/// Why the first line was lost that could not be written.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints a line on standard output; a reader that has gone away is not this program's error. Any other failure is kept for
/// [`lost_output`].
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(err) if err.kind() != ErrorKind::BrokenPipe => drop(LOST.set(err.to_string())),
        _ => {}
    }
}

/// Why lines of [`say`] did not reach standard output, if that is full or broken.
pub fn lost_output() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}
