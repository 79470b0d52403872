//! Changes that the command line offers for every model.

use super::names::{unknown, MODELS};
use crate::{Error, Result};

/// Changes that make sense for many models; `None` leaves a value as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Flow family.
    pub model: Option<String>,
    /// Image shape `[C, H, W]`.
    pub image: Option<[i64; 3]>,
    /// Number of levels.
    pub levels: Option<usize>,
    /// Flow steps per level.
    pub steps: Option<usize>,
    /// Side of the filters of the family's own layer.
    pub kernel: Option<i64>,
    /// Hidden channels of the coupling nets.
    pub width: Option<i64>,
}

impl Overrides {
    /// Refuses a family other than `family`, for a network that has no place for another one's layer.
    pub(super) fn refuse_other_than(&self, family: &str) -> Result<()> {
        match self.model.as_deref() {
            None => Ok(()),
            Some(model) if model == family => Ok(()),
            Some(model) if MODELS.contains(&model) => Err(Error::config(format!(
                "this network is {family}'s own and cannot hold {model}: start from the preset quick/{model}"
            ))),
            Some(model) => Err(unknown(model)),
        }
    }

    /// Changes the sizes `(levels, steps, width)` of the network of `family`, which has no filters whose side could be
    /// another.
    pub(super) fn change_sizes(
        &self,
        family: &str,
        image: &mut [i64; 3],
        (levels, steps, width): (&mut usize, &mut usize, &mut i64),
    ) -> Result<()> {
        refuse(
            self.kernel,
            &format!("{family} has no filters: leave `kernel` out"),
        )?;
        replace(image, self.image);
        replace(levels, self.levels);
        replace(steps, self.steps);
        replace(width, self.width);
        Ok(())
    }
}

/// Puts a given value into `slot`.
pub(super) fn replace<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// Refuses a given value; `why` says what to do instead.
pub(super) fn refuse<T>(value: Option<T>, why: &str) -> Result<()> {
    value.map_or(Ok(()), |_| Err(Error::config(why)))
}
