//! The effective filters of all layers of a model, made at once.

use super::operator::effective_filters;
use super::raw::{EffectiveFilter, RawFilter};
use crate::Result;
use tch::Tensor;

/// The filters of some layers: on a GPU one launch makes them all, and one launch their gradients.
#[derive(Debug)]
pub struct Filters(Vec<(usize, EffectiveFilter)>);

impl Filters {
    /// Those of `raw`, all of one dtype on one device.
    ///
    /// # Errors
    /// As [`effective_filters`].
    pub fn of(raw: &[RawFilter<'_>]) -> Result<Self> {
        let keys = raw.iter().map(|raw| key(raw.theta));
        Ok(Self(keys.zip(effective_filters(raw)?).collect()))
    }

    /// That of the layer whose parameters `theta` is, if it was among them.
    pub fn get(&self, theta: &Tensor) -> Option<&EffectiveFilter> {
        let found = self.0.iter().find(|(known, _)| *known == key(theta));
        found.map(|(_, filter)| filter)
    }
}

/// Where a layer has its theta: it does not move while a call of its model borrows it.
fn key(theta: &Tensor) -> usize {
    std::ptr::from_ref(theta) as usize
}
