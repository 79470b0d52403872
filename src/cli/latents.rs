//! Latents in files: what `encode` writes and `decode` reads.
//!
//! | file | what is in it |
//! |---|---|
//! | `.safetensors` | `latents.0`, `latents.1`, ... `[N, C, H, W]` float32, one for each level, the top last; `log_prob` `[N]` float64 and `index` `[N]` of the images; the metadata are texts |
//! | `.npy` | `[N, D]` float32: the levels one after the other, each in the order `[C, H, W]` |

use super::{npy, out};
use crate::models::{Latents, MultiScale};
use crate::train::EncodedImages;
use crate::weights::{write_safetensors, StateFile};
use crate::words::counted;
use crate::{files, Error, Result};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// How the names of files of latents end.
pub const ENDINGS: [&str; 2] = ["safetensors", "npy"];

/// By which a file of latents is known.
const FORMAT: &str = "inverse-flow latents 1";

/// Writes latents, with `about` them where the format has a place for it.
///
/// # Errors
/// The file cannot be written.
pub fn write(
    path: &Path,
    encoded: EncodedImages,
    labels: Option<&[u16]>,
    about: Vec<(&str, String)>,
) -> Result<()> {
    let EncodedImages { latents, log_prob } = encoded;
    if out::ending("--out", path, &ENDINGS)? == "npy" {
        let flat = flat(&latents)?;
        let (n, d) = flat.size2()?;
        let numbers = Vec::<f32>::try_from(flat.f_view([-1])?)?;
        let mut bytes = npy::header("<f4", &[n as u64, d as u64]);
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        return files::write(path, bytes);
    }
    let index = Tensor::f_arange(log_prob.size()[0], (Kind::Int64, Device::Cpu))?;
    let named = (0..).zip(latents.0);
    let mut tensors: Vec<_> = named
        .map(|(level, latent): (usize, _)| (format!("latents.{level}"), latent))
        .collect();
    tensors.push(("log_prob".to_owned(), log_prob));
    tensors.push(("index".to_owned(), index));
    if let Some(labels) = labels {
        let labels: Vec<i64> = labels.iter().map(|&label| label.into()).collect();
        tensors.push(("label".to_owned(), Tensor::f_from_slice(&labels)?));
    }
    let about = about
        .into_iter()
        .chain([("format", FORMAT.to_owned())])
        .map(|(name, text)| (name.to_owned(), text));
    write_safetensors(path, tensors, about.collect())
}

/// Latents that were read.
#[derive(Debug)]
pub struct Stored {
    /// The latents, on the CPU.
    pub latents: Latents,
    /// The fingerprint of the model that made them, if the file says so.
    pub weights: Option<String>,
    /// The class of each image, if the file says so.
    pub labels: Option<Vec<u16>>,
}

impl Stored {
    /// How many images they are of.
    pub fn count(&self) -> u64 {
        self.latents
            .0
            .first()
            .map_or(0, |latent| latent.size()[0] as u64)
    }
}

/// Reads latents for a model.
///
/// # Errors
/// A file that is none of latents, or of another model's.
pub fn read(path: &Path, model: &MultiScale) -> Result<Stored> {
    let wrong = |problem: String| Error::file(path, problem);
    let shapes = model.latent_shapes();
    if out::ending("the file of latents", path, &ENDINGS)? == "npy" {
        let bytes = std::fs::read(path).map_err(|err| Error::file(path, err))?;
        let (shape, data) = npy::read(&bytes, "<f4").map_err(wrong)?;
        let dims: i64 = shapes.iter().map(|chw| chw.iter().product::<i64>()).sum();
        let [n, d] = shape[..] else {
            return Err(wrong(format!("must be [N, {dims}], is {shape:?}")));
        };
        if d != dims || data.len() as i64 != 4 * n * d {
            return Err(wrong(format!(
                "must be [N, {dims}] for this model and whole, its header says [{n}, {d}] and it has {}",
                counted(data.len(), "byte")
            )));
        }
        let words = data.chunks_exact(4);
        let numbers: Vec<f32> = words
            .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        let flat = Tensor::f_from_slice(&numbers)?.f_view([n, d])?;
        return Ok(Stored {
            latents: split(&flat, &shapes)?,
            weights: None,
            labels: None,
        });
    }
    let file = StateFile::open(path)?;
    if file.metadata("format") != Some(FORMAT) {
        return Err(wrong(
            "holds no latents: `inverse-flow encode` writes them".into(),
        ));
    }
    let mut tensors: HashMap<String, Tensor> =
        Tensor::read_safetensors(path)?.into_iter().collect();
    let latents = shapes.iter().enumerate().map(|(level, chw)| {
        let name = format!("latents.{level}");
        let latent = tensors.remove(&name).ok_or_else(|| wrong(format!("has no `{name}`")))?;
        if latent.dim() != 4 || latent.size()[1..] != chw[..] || latent.kind() != Kind::Float {
            return Err(wrong(format!(
                "`{name}` must be [N, C, H, W] of float32 with [C, H, W] = {chw:?} for this model, is {:?}",
                latent.size()
            )));
        }
        Ok(latent)
    });
    let latents = Latents(latents.collect::<Result<_>>()?);
    let counts: Vec<i64> = latents.0.iter().map(|latent| latent.size()[0]).collect();
    if counts.iter().any(|count| *count != counts[0]) {
        return Err(wrong(format!(
            "its levels do not hold the same number of images: {counts:?}"
        )));
    }
    let labels = tensors.remove("label").map(|label| {
        let numbers = Vec::<i64>::try_from(&label).unwrap_or_default();
        let labels = numbers.into_iter().map(u16::try_from).collect();
        match labels {
            Ok(labels) if label.size() == counts[..1] => Ok::<Vec<u16>, _>(labels),
            _ => Err(wrong(format!(
                "`label` must hold the number of a class for each of {}",
                counted(counts[0], "image")
            ))),
        }
    });
    Ok(Stored {
        labels: labels.transpose()?,
        latents,
        weights: file.metadata("weights").map(str::to_owned),
    })
}

/// All numbers of each image in a row, `[N, D]`.
///
/// # Errors
/// What libtorch reports.
pub fn flat(latents: &Latents) -> Result<Tensor> {
    let levels = latents.0.iter().map(|latent| latent.f_flatten(1, -1));
    let levels = levels.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Tensor::f_cat(&levels, 1)?.f_contiguous()?)
}

/// Latents of these shapes from the rows that [`flat`] makes.
///
/// # Errors
/// What libtorch reports.
pub fn split(flat: &Tensor, shapes: &[[i64; 3]]) -> Result<Latents> {
    let mut start = 0;
    let levels = shapes.iter().map(|&[c, h, w]| {
        let level = flat.f_narrow(1, start, c * h * w)?;
        start += c * h * w;
        Ok(level.f_reshape([flat.size()[0], c, h, w])?)
    });
    Ok(Latents(levels.collect::<Result<_>>()?))
}

/// The latents of some of the images, on a device.
///
/// # Errors
/// A device that is not there.
pub fn part(latents: &Latents, images: Range<u64>, device: Device) -> Result<Latents> {
    let (start, count) = (images.start as i64, images.count() as i64);
    let parts = latents.0.iter().map(|latent| {
        let part = latent.f_narrow(0, start, count)?;
        part.f_to_device(device)
    });
    Ok(Latents(parts.collect::<std::result::Result<_, _>>()?))
}
