//! From latents to pictures on the disk: what `sample`, `decode` and others do in the end.

use super::{Gallery, Settings, Target};
use crate::cli::model_file::Loaded;
use crate::cli::non_finite::NonFinite;
use crate::cli::progress::Progress;
use crate::flows::to_pixels;
use crate::plot::{check_grid, save_grid};
use crate::train::{grid_columns, say, Decoding, Labels, Tally, Team};
use crate::words::counted;
use crate::Error;
use std::path::Path;
use tch::Tensor;

/// Pixels of a grid for one of an image.
const SCALE: usize = 2;

/// Columns of a grid at most.
const MOST_COLUMNS: usize = 1000;

/// Columns of a grid that is as wide as high.
fn columns_of(count: usize) -> usize {
    ((count as f64).sqrt().ceil() as usize).clamp(1, MOST_COLUMNS)
}

/// Pictures that are to be made.
pub struct Filling<'a> {
    /// The processes that make them.
    pub team: &'a Team,
    /// The model.
    pub loaded: &'a Loaded,
    /// How they are decoded.
    pub decoding: Decoding<'a>,
    /// Where they go.
    pub target: &'a Target,
    /// What happens where values are not finite.
    pub non_finite: NonFinite,
}

impl Filling<'_> {
    /// Makes the pictures and says so, with `how` they were made; `settings` are what they depend on.
    ///
    /// # Errors
    /// Values that are not finite, unless that is allowed; what the model reports; files that cannot be written.
    pub fn run(
        &self,
        how: &str,
        settings: impl FnOnce() -> crate::Result<Settings>,
    ) -> anyhow::Result<()> {
        let tally = match self.target {
            Target::Grid(path) => self.grid(path)?,
            _ => match self.gallery(settings()?)? {
                Some(tally) => tally,
                None => return Ok(()),
            },
        };
        if !self.team.is_main() {
            return Ok(());
        }
        if let Some(precision) = self.loaded.precision() {
            say(&precision);
        }
        let beyond = tally.beyond_text().map(|text| format!("; {text}"));
        say(&format!(
            "{}{how} in {}{}",
            counted(self.decoding.count, "image"),
            self.target.path().display(),
            beyond.unwrap_or_default()
        ));
        Ok(())
    }

    fn grid(&self, path: &Path) -> anyhow::Result<Tally> {
        let count = self.decoding.count as usize;
        let columns = match self.decoding.labels {
            Labels::All(_) | Labels::Each(_) => columns_of(count),
            Labels::Rows => grid_columns(&self.loaded.model, count).min(MOST_COLUMNS),
        };
        let chw = self.loaded.model.image_shape();
        check_grid(chw, count, columns, SCALE).map_err(|err| {
            Error::config(format!(
                "{err}\n--out DIR and --out FILE.npy write the images one by one"
            ))
        })?;
        let images = self.decoding.all_in(self.team, &self.loaded.model)?;
        if self.team.is_main() {
            save_grid(&images, columns, SCALE, path)?;
        }
        self.look_for_lost(0, &images)?;
        Ok(Tally::of(&images)?)
    }

    /// The counts of the images that were made now; nothing if all were there.
    fn gallery(&self, settings: Settings) -> anyhow::Result<Option<Tally>> {
        let Self {
            team,
            loaded,
            decoding,
            target,
            ..
        } = self;
        let mut gallery = None;
        let missing = team.from_main(|| {
            let chw = loaded.model.image_shape();
            let (opened, missing) = Gallery::open(target, settings, chw, decoding)?;
            gallery = Some(opened);
            Ok(missing)
        })?;
        let of_a_batch = |batch: &u64| decoding.images(*batch).count() as u64;
        let left: u64 = missing.iter().map(of_a_batch).sum();
        let there = decoding.count - left;
        if left > 0 && there > 0 && team.is_main() {
            say(&format!(
                "{there} of {} are there already: going on",
                counted(decoding.count, "image")
            ));
        }
        let mut progress = Progress::new(left > 0 && team.is_main(), there, decoding.count);
        let mut tally = Tally::default();
        let mut lost = None;
        let drawn = decoding.each_batch_in(team, &loaded.model, &missing, |images, decoded| {
            let part = Tally::of(&decoded)?;
            tally.add(part);
            if let Err(err) = self.look_for_lost(images.start, &decoded) {
                lost = Some(err);
                return Err(Error::config("not finite"));
            }
            progress.advance(part.images);
            match &mut gallery {
                Some(gallery) => gallery.put(images, &to_pixels(&decoded)?),
                None => Ok(()),
            }
        });
        drop(progress);
        match lost {
            Some(lost) => return Err(lost),
            None => drawn?,
        }
        if let Some(gallery) = gallery {
            gallery.finish()?;
        }
        if left > 0 {
            return Ok(Some(tally));
        }
        if team.is_main() {
            say(&format!(
                "{} with these settings is there already: {}",
                counted(decoding.count, "image"),
                target.path().display()
            ));
        }
        Ok(None)
    }

    /// Says how many values of these images are not finite, and from which layer on; `start` is the number of the first.
    fn look_for_lost(&self, start: u64, decoded: &Tensor) -> anyhow::Result<()> {
        match self
            .decoding
            .lost_text(&self.loaded.model, start, decoded)?
        {
            Some(text) => self.non_finite.meet(self.team, &text),
            None => Ok(()),
        }
    }
}
