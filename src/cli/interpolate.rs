//! `inverse-flow interpolate`

use super::compute::Compute;
use super::images::SourceImages;
use super::latents;
use super::model_file::{Loaded, ModelFile};
use super::non_finite::NonFinite;
use super::of_class::OfClass;
use super::out;
use crate::data::{load_picture, Dataset, Source};
use crate::flows::Cx;
use crate::models::Latents;
use crate::plot::{check_grid, save_film, save_grid};
use crate::train::{prior_latents_of, say, to_float, Decoding, Tally, Team};
use crate::words::counted;
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tch::{Device, Kind, Tensor};

/// Pixels of the picture for one of an image.
const SCALE: usize = 2;

/// Pixels of an animation for one of an image.
const FILM_SCALE: usize = 4;

/// How long a frame of an animation stands.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the way is not unique: the sine of the angle between two latents.
const SMALL_SINE: f64 = 1e-6;

/// Draw the way from one image to another through the latents of a model
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: inverse-flow interpolate runs/first seed:1 seed:2 --out strip.png
          inverse-flow interpolate runs/first glyphs:0 glyphs:7 --frames 24 --out way.gif
          inverse-flow interpolate runs/first a.png b.png --out way.apng
The direction of the latents goes along a great circle, their length evenly from that of A to that of B."
)]
pub struct InterpolateArgs {
    #[command(flatten)]
    file: ModelFile,
    /// First image: a picture file, SOURCE:INDEX for an image of a data set, or seed:S for the first sample of a seed
    #[arg(value_name = "A")]
    from: End,
    /// Last image
    #[arg(value_name = "B")]
    to: End,
    #[command(flatten)]
    images: SourceImages,
    /// Number of images, with both ends
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(2..=1000))]
    frames: u32,
    #[command(flatten)]
    of_class: OfClass,
    /// What the latents of seeds are multiplied by, as for sample
    #[arg(long, value_name = "T", default_value_t = 0.7)]
    temperature: f64,
    /// File to write: .png for a strip, .gif or .apng (an animated PNG) for an animation
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    non_finite: NonFinite,
    #[command(flatten)]
    compute: Compute,
}

/// One end of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// The first image that `sample` draws with this seed.
    Seed(u64),
    /// A picture.
    File(PathBuf),
    /// An image of a data set.
    Image(Source, usize),
}

impl FromStr for End {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if Path::new(text).is_file() {
            return Ok(Self::File(text.into()));
        }
        let wrong = || {
            Error::config(format!(
                "`{text}` is no image: give a picture file, SOURCE:INDEX such as mnist:3, or seed:S"
            ))
        };
        let (source, number) = text.rsplit_once(':').ok_or_else(wrong)?;
        if source == "seed" {
            return number.parse().map(Self::Seed).map_err(|_| wrong());
        }
        Ok(Self::Image(
            source.parse()?,
            number.parse().map_err(|_| wrong())?,
        ))
    }
}

impl InterpolateArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        out::check_file("--out", &self.out, &["png", "gif", "apng"])?;
        let is_strip = !["gif", "apng"]
            .map(Some)
            .contains(&self.out.extension().and_then(|e| e.to_str()));
        let device = self.compute.start()?;
        let loaded = self.file.load(device)?;
        let team = Team::alone();
        self.non_finite
            .check_parameters(&team, &self.file.path, &loaded.vs)?;
        let (chw, frames) = (loaded.model.image_shape(), self.frames as usize);
        check_grid(chw, frames, frames, SCALE)?;
        let _guard = tch::no_grad_guard();
        let label = self.of_class.needed(&loaded.model)?;
        let ends = [&self.from, &self.to];
        let [a, b] = ends.map(|end| self.latents(end, &loaded, device, label));
        let way = great_circle(&a?, &b?, self.frames)?;
        let way = latents::split(&way, &loaded.model.latent_shapes())?;
        let part = |images| latents::part(&way, images, device);
        let decoding = Decoding {
            latents: &part,
            count: u64::from(self.frames),
            batch: loaded.config.train.batch_size.max(1) as u64,
            device,
            labels: label.into(),
        };
        let images = decoding.all_in(&team, &loaded.model)?;
        match is_strip {
            true => save_grid(&images, frames, SCALE, &self.out)?,
            false => save_film(&images, FILM_SCALE, PAUSE, &self.out)?,
        }
        if let Some(precision) = loaded.precision() {
            say(&precision);
        }
        let beyond = Tally::of(&images)?.beyond_text();
        say(&format!(
            "{} in {}{}",
            counted(self.frames, "image"),
            self.out.display(),
            beyond.map(|text| format!("; {text}")).unwrap_or_default()
        ));
        match decoding.lost_text(&loaded.model, 0, &images)? {
            Some(text) => self.non_finite.meet(&team, &text),
            None => Ok(()),
        }
    }

    /// The latents of an end, `[1, D]` on the CPU.
    fn latents(
        &self,
        end: &End,
        loaded: &Loaded,
        device: Device,
        label: Option<u16>,
    ) -> Result<Tensor> {
        let (model, run) = (&loaded.model, &loaded.config);
        let latents: Latents = match end {
            End::Seed(seed) => {
                prior_latents_of(model, 0..1, *seed, device)?.scaled(self.temperature)?
            }
            End::File(path) => {
                let source = Source::Own(path.clone());
                let config = self.images.config(run, &source);
                encoded(loaded, &load_picture(path, &config)?, device, label)?
            }
            End::Image(source, index) => {
                let data = self.images.load(run, source, Some(index + 1))?;
                if *index >= data.len() {
                    return Err(Error::config(format!(
                        "{source}:{index} is not there: {} has {}",
                        data.name,
                        counted(data.len(), "image")
                    )));
                }
                encoded(loaded, &data.subset(*index..index + 1), device, label)?
            }
        };
        Ok(latents::flat(&latents)?.f_to_device(Device::Cpu)?)
    }
}

/// The latents of the one image of `data`, half a grey level above its pixels, as one of a class if there is one.
fn encoded(loaded: &Loaded, data: &Dataset, device: Device, label: Option<u16>) -> Result<Latents> {
    if data.chw != loaded.model.image_shape() {
        return Err(Error::config(format!(
            "{} is an image of {:?}, the model is for {:?}",
            data.name,
            data.chw,
            loaded.model.image_shape()
        )));
    }
    let x = to_float(&data.all()?, device)?;
    let condition = loaded.model.condition(&[label.unwrap_or(0)])?;
    let cx = Cx {
        condition: condition.as_ref(),
        ..Cx::default()
    };
    Ok(loaded.model.encode(&x, cx)?.latents)
}

/// `frames` points from `a` to `b`, both `[1, D]`, ends included: `[frames, D]`.
///
/// ```text
/// z(t) = r(t) (sin((1 - t) w) a/|a| + sin(t w) b/|b|) / sin w,   r(t) = (1 - t)|a| + t|b|
/// ```
///
/// Where: `w` is the angle between `a` and `b`. Standard normal vectors of many dimensions have nearly one length, which a
/// straight line between them does not keep: its middle is shorter by a third, where a model has seen nothing.
fn great_circle(a: &Tensor, b: &Tensor, frames: u32) -> Result<Tensor> {
    let length = |z: &Tensor| -> Result<f64> {
        Ok(z.f_to_kind(Kind::Double)?.f_norm()?.f_double_value(&[])?)
    };
    let (long_a, long_b) = (length(a)?, length(b)?);
    let product = a
        .f_to_kind(Kind::Double)?
        .f_mul(&b.f_to_kind(Kind::Double)?)?;
    let cosine = product.f_sum(Kind::Double)?.f_double_value(&[])? / (long_a * long_b);
    let angle = cosine.clamp(-1.0, 1.0).acos();
    let is_straight = !cosine.is_finite() || angle.sin() < SMALL_SINE;
    if is_straight && cosine < 0.0 {
        return Err(Error::config(
            "A and B are opposite to each other: every great circle leads from one to the other, choose others",
        ));
    }
    let last = f64::from(frames.saturating_sub(1)).max(1.0);
    let points = (0..frames).map(|frame| {
        let t = f64::from(frame) / last;
        // the ends are the images themselves, to the bit
        if frame == 0 {
            return Ok(a.shallow_clone());
        }
        if t >= 1.0 {
            return Ok(b.shallow_clone());
        }
        let (of_a, of_b) = match is_straight {
            true => (1.0 - t, t),
            false => {
                let length = (1.0 - t) * long_a + t * long_b;
                let part = |t: f64, own: f64| length * (t * angle).sin() / (angle.sin() * own);
                (part(1.0 - t, long_a), part(t, long_b))
            }
        };
        Ok(a.f_mul_scalar(of_a)?.f_add(&b.f_mul_scalar(of_b)?)?)
    });
    let points: Vec<Tensor> = points.collect::<Result<_>>()?;
    Ok(Tensor::f_cat(&points, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(numbers: &[f32]) -> Tensor {
        Tensor::from_slice(numbers).view([1, -1])
    }

    #[test]
    fn the_way_is_even_in_angle_and_in_length() {
        let (a, b) = (row(&[2.0, 0.0, 0.0]), row(&[0.0, 4.0, 0.0]));
        let way = great_circle(&a, &b, 4).unwrap();
        let lengths = way
            .square()
            .sum_dim_intlist([1i64].as_slice(), false, Kind::Float)
            .sqrt();
        let lengths = Vec::<f32>::try_from(lengths).unwrap();
        for (frame, length) in (0..4u8).zip(lengths) {
            assert!((length - (2.0 + f32::from(frame) * 2.0 / 3.0)).abs() < 1e-5);
            let (x, y) = (
                way.double_value(&[frame.into(), 0]),
                way.double_value(&[frame.into(), 1]),
            );
            let angle = f64::from(frame) * std::f64::consts::FRAC_PI_2 / 3.0;
            assert!((y.atan2(x) - angle).abs() < 1e-6, "{frame}");
        }
        assert_eq!((way.narrow(0, 0, 1), way.narrow(0, 3, 1)), (a, b));
    }

    #[test]
    fn a_way_that_is_no_circle_is_straight_or_refused() {
        let a = row(&[1.0, 2.0]);
        for b in [row(&[1.0, 2.0]), row(&[2.0, 4.0]), row(&[0.0, 0.0])] {
            let way = great_circle(&a, &b, 3).unwrap();
            let middle = (&a + &b) * 0.5;
            assert!((way.narrow(0, 1, 1) - middle).abs().max().double_value(&[]) < 1e-6);
        }
        let message = great_circle(&a, &(-&a), 3).unwrap_err().to_string();
        assert!(message.contains("opposite"), "{message}");
    }

    #[test]
    fn ends_are_seeds_files_and_images() {
        assert_eq!("seed:7".parse::<End>().unwrap(), End::Seed(7));
        let image = "glyphs:3".parse::<End>().unwrap();
        assert_eq!(image, End::Image("glyphs".parse().unwrap(), 3));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(file.parse::<End>().unwrap(), End::File(file.into()));
        for wrong in ["seed:x", "glyphs", "glyphs:", "glyphs:-1", "nothing:3", ""] {
            assert!(wrong.parse::<End>().is_err(), "{wrong}");
        }
    }
}
