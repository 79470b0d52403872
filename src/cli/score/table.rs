//! The lines about images, as CSV or JSON.

use super::auroc::quantile;
use crate::data::Dataset;
use crate::distributions::bits_per_dim;
use crate::files;
use crate::{Error, Result};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Display;
use std::path::Path;

/// The columns, in the order of [`Row`].
const HEAD: &str =
    "data,index,file,label,class,nll_nats,bpd,rank,typicality,png_bits,corrected_bits";

/// What the training images are to their model, to which others are compared.
#[derive(Debug)]
pub struct Reference {
    /// Name of the images.
    pub name: String,
    /// Their negative log-likelihoods, sorted.
    nll: Vec<f64>,
    mean: f64,
}

impl Reference {
    /// Of images with these negative log-likelihoods.
    pub fn new(name: String, mut nll: Vec<f64>) -> Self {
        nll.sort_by(f64::total_cmp);
        let mean = nll.iter().sum::<f64>() / nll.len() as f64;
        Self { name, nll, mean }
    }

    /// Negative log-likelihoods, sorted.
    pub fn nll(&self) -> &[f64] {
        &self.nll
    }

    /// Their mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }
}

/// The scores of one image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub data: String,
    /// In the split.
    pub index: usize,
    pub file: Option<String>,
    pub label: Option<u16>,
    pub class: Option<String>,
    pub nll_nats: f64,
    pub bpd: f64,
    /// The part of the training images that are more likely.
    pub rank: Option<f64>,
    /// How far the likelihood is from the mean of the training images, in nats.
    pub typicality: Option<f64>,
    /// Length of the shortest PNG file of the image.
    pub png_bits: f64,
    /// The negative log-likelihood in bits without that length.
    pub corrected_bits: f64,
}

/// The lines about `data`, whose images have these numbers.
pub fn rows(
    data: &Dataset,
    nll: &[f64],
    png_bits: &[f64],
    reference: Option<&Reference>,
) -> Vec<Row> {
    // a set without labels has zeros
    let labelled = !data.classes.is_empty() || data.labels.iter().any(|label| *label != 0);
    let dimensions = data.chw.iter().product();
    let numbers = nll.iter().zip(png_bits).zip(&data.labels).enumerate();
    let row = |(index, ((nll, png_bits), label)): (usize, ((&f64, &f64), &u16))| Row {
        data: data.name.clone(),
        index,
        file: data.files.get(index).cloned(),
        label: labelled.then_some(*label),
        class: data.classes.get(usize::from(*label)).cloned(),
        nll_nats: *nll,
        bpd: bits_per_dim(*nll, dimensions),
        rank: reference.map(|reference| quantile(&reference.nll, *nll)),
        typicality: reference.map(|reference| (nll - reference.mean).abs()),
        png_bits: *png_bits,
        corrected_bits: nll / std::f64::consts::LN_2 - png_bits,
    };
    numbers.map(row).collect()
}

/// Writes all lines into a file that is whole or not there, as CSV or as one JSON object a line by its ending.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let json = path.extension().is_some_and(|ending| ending == "jsonl");
    files::write_with(path, |file| {
        let failed = |err: std::io::Error| Error::file(path, format!("cannot be written: {err}"));
        if !json {
            writeln!(file, "{HEAD}").map_err(failed)?;
        }
        for row in rows {
            let line = match json {
                true => serde_json::to_string(row).map_err(|err| Error::file(path, err))?,
                false => csv(row),
            };
            writeln!(file, "{line}").map_err(failed)?;
        }
        Ok(())
    })
}

fn csv(row: &Row) -> String {
    fn text<T: Display>(value: &Option<T>) -> String {
        value.as_ref().map(T::to_string).unwrap_or_default()
    }
    [
        quoted(&row.data).into_owned(),
        row.index.to_string(),
        quoted(row.file.as_deref().unwrap_or_default()).into_owned(),
        text(&row.label),
        quoted(row.class.as_deref().unwrap_or_default()).into_owned(),
        row.nll_nats.to_string(),
        row.bpd.to_string(),
        text(&row.rank),
        text(&row.typicality),
        row.png_bits.to_string(),
        row.corrected_bits.to_string(),
    ]
    .join(",")
}

/// A text as a field of CSV (RFC 4180).
fn quoted(text: &str) -> Cow<'_, str> {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")).into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Dataset {
        let mut data = Dataset::new("mnist test", [1, 1, 2], vec![0; 6], vec![1, 0, 1]).unwrap();
        data.classes = vec!["a, b".into(), "c".into()];
        data.files = ["a.png", "quote\".png", "c.png"].map(str::to_owned).into();
        data
    }

    #[test]
    fn a_line_has_what_is_known_in_the_order_of_the_columns() {
        let reference = Reference::new("train".into(), vec![4.0, 1.0, 2.0, 5.0]);
        let found = rows(
            &data(),
            &[2.0, f64::INFINITY, 0.5],
            &[8.0, 16.0, 8.0],
            Some(&reference),
        );
        assert_eq!(found[0].rank, Some(0.375));
        assert_eq!((found[1].rank, found[2].rank), (Some(1.0), Some(0.0)));
        assert_eq!(
            (found[0].typicality, found[2].typicality),
            (Some(1.0), Some(2.5))
        );
        assert!((found[0].bpd - 1.0 / std::f64::consts::LN_2).abs() < 1e-12);
        assert!((found[0].corrected_bits + 8.0 - 2.0 / std::f64::consts::LN_2).abs() < 1e-12);
        assert_eq!(
            csv(&found[1]),
            "mnist test,1,\"quote\"\".png\",0,\"a, b\",inf,inf,1,inf,16,inf"
        );
        let object = serde_json::to_value(&found[1]).unwrap();
        let keys: Vec<_> = object.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys.join(","), HEAD);
        assert!(object["nll_nats"].is_null() && object["class"] == "a, b");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let plain = Dataset::new("x", [1, 1, 2], vec![0; 4], vec![0, 0]).unwrap();
        let found = rows(&plain, &[2.0, 3.0], &[8.0, 8.0], None);
        assert!(
            csv(&found[1]).starts_with("x,1,,,,3,2."),
            "{}",
            csv(&found[1])
        );
        assert_eq!((found[1].label, found[1].rank), (None, None));
    }
}
