//! `--label`: the class of the images of a conditional model.

use crate::models::MultiScale;
use crate::{Error, Result};
use clap::Args;

/// Of which class the images of a conditional model are.
#[derive(Debug, Args)]
pub struct OfClass {
    /// The class of the images of a conditional model, by its name or number
    #[arg(long, value_name = "CLASS")]
    pub label: Option<String>,
}

impl OfClass {
    /// The number of the class, if one is given.
    pub fn number(&self, model: &MultiScale) -> Result<Option<u16>> {
        match (&self.label, model.classes()) {
            (None, _) => Ok(None),
            (Some(label), Some(classes)) => classes.label(label).map(Some),
            (Some(_), None) => Err(Error::config(
                "the model knows of no classes: leave --label out, or train one with --conditional",
            )),
        }
    }

    /// [`number`](Self::number) where a conditional model cannot do without.
    pub fn needed(&self, model: &MultiScale) -> Result<Option<u16>> {
        let number = self.number(model)?;
        match model.classes() {
            Some(classes) if number.is_none() => Err(Error::config(format!(
                "the model is conditional on a class, and latents do not say which: add --label CLASS, one of {}",
                classes.listed()
            ))),
            _ => Ok(number),
        }
    }
}
