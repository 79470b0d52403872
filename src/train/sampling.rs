//! Images from latents, batch by batch, and latents to draw them from.

use super::finite::where_decoding_ends;
use super::{first_lost, Tally, Team};
use crate::cuda::check;
use crate::data::{standard_normal_after, stream, Purpose};
use crate::flows::{to_range, Bits, Cx};
use crate::models::{Latents, MultiScale};
use crate::phase::{self, Phase};
use crate::Result;
use std::fmt;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Standard normal latents of `count` images, a function of the seed alone.
///
/// # Errors
/// A device that is not there.
pub fn prior_latents(model: &MultiScale, count: i64, seed: u64, device: Device) -> Result<Latents> {
    prior_latents_of(model, 0..count.max(0) as u64, seed, device)
}

/// The latents of some images: those of image i depend on the seed and i alone.
///
/// # Errors
/// A device that is not there.
pub fn prior_latents_of(
    model: &MultiScale,
    images: Range<u64>,
    seed: u64,
    device: Device,
) -> Result<Latents> {
    let count = images.end.saturating_sub(images.start) as i64;
    let shapes = model.latent_shapes().into_iter().enumerate();
    let latents = shapes.map(|(level, [c, h, w])| {
        // a stream per level, in which the numbers of one image follow those of another
        let rng = stream(seed, Purpose::Latent, level as u64);
        let before = images.start * (c * h * w) as u64;
        standard_normal_after(rng, before, &[count, c, h, w], Kind::Float, device)
    });
    Ok(Latents(latents.collect::<Result<_>>()?))
}

/// Images that are decoded from latents a batch at a time: continuous ones, or the pixels of a density of fewer than 8 bits.
#[derive(Clone, Copy)]
pub struct Decoding<'a> {
    /// The latents of some of the images, on the device.
    pub latents: &'a dyn Fn(Range<u64>) -> Result<Latents>,
    /// Number of all images.
    pub count: u64,
    /// Images at a time. The last bits of an image may depend on it, and on nothing else of the others.
    pub batch: u64,
    /// Where the model is.
    pub device: Device,
    /// The classes of the images of a conditional model; nothing to other models.
    pub labels: Labels<'a>,
}

/// Which class each image is of.
#[derive(Debug, Clone, Copy)]
pub enum Labels<'a> {
    /// [Rows](grid_columns) of each class.
    Rows,
    /// All of one.
    All(u16),
    /// Each of its own.
    Each(&'a [u16]),
}

impl From<Option<u16>> for Labels<'_> {
    /// All of the one that was asked for, or rows of each.
    fn from(label: Option<u16>) -> Self {
        label.map_or(Self::Rows, Self::All)
    }
}

impl Decoding<'_> {
    /// How many batches the images are.
    pub fn batches(&self) -> u64 {
        self.count.div_ceil(self.batch.max(1))
    }

    /// The images in a batch.
    pub fn images(&self, batch: u64) -> Range<u64> {
        let start = batch * self.batch.max(1);
        start.min(self.count)..(start + self.batch.max(1)).min(self.count)
    }

    /// Decodes some of the batches and calls `take` with the images of each, `[N, C, H, W]` on the CPU, as the model decodes
    /// them; in every process, with the images of all of them.
    ///
    /// Each process decodes a batch at the same time as the others, so that no more than their number is in memory.
    ///
    /// # Errors
    /// What the model, the latents or `take` report, or the end of another process.
    pub fn each_batch_in(
        &self,
        team: &Team,
        model: &MultiScale,
        batches: &[u64],
        mut take: impl FnMut(Range<u64>, Tensor) -> Result<()>,
    ) -> Result<()> {
        phase::enter(Phase::Decoding);
        let _guard = tch::no_grad_guard();
        for round in batches.chunks(team.ranks()) {
            let own = round.get(team.rank());
            let mut own = own.map(|&batch| self.decode(model, batch)).transpose()?;
            for (rank, &batch) in round.iter().enumerate() {
                let images = self.images(batch);
                let decoded = match own.take_if(|_| rank == team.rank()) {
                    Some(decoded) => decoded,
                    None => {
                        let [c, h, w] = model.image_shape();
                        let shape = [(images.end - images.start) as i64, c, h, w];
                        Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))?
                    }
                };
                // where one process has an image, the others have zeros
                team.sum(&decoded)?;
                take(images, decoded)?;
            }
        }
        Ok(())
    }

    /// All images, `[N, C, H, W]` on the CPU, as the model decodes them, in every process.
    ///
    /// # Errors
    /// As [`each_batch_in`](Self::each_batch_in).
    pub fn all_in(&self, team: &Team, model: &MultiScale) -> Result<Tensor> {
        let batches: Vec<u64> = (0..self.batches()).collect();
        let mut all = Vec::with_capacity(batches.len());
        self.each_batch_in(team, model, &batches, |_, images| {
            all.push(images);
            Ok(())
        })?;
        if all.is_empty() {
            let [c, h, w] = model.image_shape();
            return Ok(Tensor::f_zeros([0, c, h, w], (Kind::Float, Device::Cpu))?);
        }
        Ok(Tensor::f_cat(&all, 0)?)
    }

    /// What to say about values that are not finite in decoded images, the first of which has the number `start`, and from
    /// which layer on; nothing if all are finite.
    ///
    /// # Errors
    /// What the model or the latents report.
    pub fn lost_text(
        &self,
        model: &MultiScale,
        start: u64,
        decoded: &Tensor,
    ) -> Result<Option<String>> {
        let Some(first) = first_lost(decoded)? else {
            return Ok(None);
        };
        let tally = Tally::of(decoded)?;
        let image = start + first as u64;
        let condition = self.condition(model, image..image + 1)?;
        let cx = Cx {
            condition: condition.as_ref(),
            ..Cx::default()
        };
        let place = where_decoding_ends(model, &(self.latents)(image..image + 1)?, cx)?;
        let mut text = tally.lost_text(place.as_deref());
        if let (true, Some(text)) = (tally.images < self.count, &mut text) {
            *text += &format!(" (image {image} is the first)");
        }
        Ok(text)
    }

    /// Which classes some images are of, if the model wants to know.
    fn condition(&self, model: &MultiScale, images: Range<u64>) -> Result<Option<Tensor>> {
        let label = |image| match self.labels {
            Labels::All(label) => label,
            Labels::Each(labels) => labels.get(image as usize).copied().unwrap_or(u16::MAX),
            Labels::Rows => row_label(model, self.count as usize, image as usize),
        };
        model.condition(&images.map(label).collect::<Vec<_>>())
    }

    fn decode(&self, model: &MultiScale, batch: u64) -> Result<Tensor> {
        let images = self.images(batch);
        let latents = (self.latents)(images.clone())?;
        let condition = self.condition(model, images)?;
        let cx = Cx {
            condition: condition.as_ref(),
            ..Cx::default()
        };
        let decoded = model.decode(&latents, cx)?.value;
        let decoded = decoded.f_to_device(Device::Cpu)?;
        check(self.device).map_err(|err| model.locate(err, Cx::default()))?;
        match model.bits() {
            Bits::ALL => Ok(decoded),
            // of a pixel that stands for several grey levels, all are drawn as one
            bits => Ok(bits.split(&decoded)?.0),
        }
    }
}

impl fmt::Debug for Decoding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoding")
            .field("count", &self.count)
            .field("batch", &self.batch)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Images `[count, C, H, W]` with values in `[0, 256)`, on the CPU, decoded `batch` at a time from [`prior_latents`] times
/// `temperature`; of a model with classes, as many of each, in their order.
///
/// At temperature 1 they follow the model's own distribution; below 1 they are closer to its mode (Kingma and
/// Dhariwal, Glow, 2018, <https://arxiv.org/abs/1807.03039>, section 6).
///
/// # Errors
/// A temperature that is negative or not finite, or what the model reports.
pub fn sample(
    model: &MultiScale,
    count: i64,
    temperature: f64,
    seed: u64,
    device: Device,
    batch: i64,
) -> Result<Tensor> {
    let latents = |images| prior_latents_of(model, images, seed, device)?.scaled(temperature);
    let decoding = Decoding {
        latents: &latents,
        count: count.max(0) as u64,
        batch: batch.max(1) as u64,
        device,
        labels: Labels::Rows,
    };
    to_range(&decoding.all_in(&Team::alone(), model)?)
}

/// The class of image `i` of `count`, so that a grid has a row a class: see [`grid_columns`]. 0 for a model without classes.
pub fn row_label(model: &MultiScale, count: usize, i: usize) -> u16 {
    let last = model.classes().map_or(0, |classes| classes.names.len() - 1);
    (i / grid_columns(model, count)).min(last) as u16
}

/// Columns of a grid of `count` images: as many as rows, or for a model with classes so many that each class has a row.
pub fn grid_columns(model: &MultiScale, count: usize) -> usize {
    match model.classes() {
        Some(classes) => count.div_ceil(classes.names.len()).max(1),
        None => ((count as f64).sqrt().ceil() as usize).max(1),
    }
}

/// The latents of `length` images from `start` on.
pub(super) fn narrow_latents(latents: &Latents, start: i64, length: i64) -> Result<Latents> {
    let parts = latents.0.iter().map(|z| z.f_narrow(0, start, length));
    Ok(Latents(parts.collect::<std::result::Result<_, _>>()?))
}
