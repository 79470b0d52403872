//! A value computed from parameters, kept until one of them changes.

use crate::Result;
use std::cell::RefCell;
use tch::Tensor;

/// Keeps what was computed from some tensors for as long as they stay the same.
///
/// Every in-place operation of libtorch counts up the version of the tensor it writes to: an optimiser's step, the
/// loading of a checkpoint, a `copy_` by hand. The kept value is used only while versions and storages are those it was
/// computed from, so it cannot go stale; comparing them reads no tensor and makes no GPU wait. While gradients are
/// recorded nothing is kept or reused, because the value is part of the graph then.
#[derive(Debug)]
pub(super) struct Derived<T> {
    kept: RefCell<Option<(Vec<Stamp>, T)>>,
}

/// Version and address of a tensor's contents.
type Stamp = (i64, usize);

impl<T> Default for Derived<T> {
    fn default() -> Self {
        Self {
            kept: RefCell::new(None),
        }
    }
}

impl<T> Derived<T> {
    /// `using(&value)` for the value that `compute` makes of `sources`.
    pub(super) fn with<R>(
        &self,
        sources: &[&Tensor],
        compute: impl FnOnce() -> Result<T>,
        using: impl FnOnce(&T) -> Result<R>,
    ) -> Result<R> {
        if is_recorded(sources)? {
            return using(&compute()?);
        }
        let stamps = sources
            .iter()
            .map(|source| Ok((source.f_internal_version()?, source.data_ptr() as usize)))
            .collect::<Result<Vec<Stamp>>>()?;
        let mut kept = self.kept.borrow_mut();
        match &*kept {
            Some((of, value)) if *of == stamps => using(value),
            _ => {
                let (_, value) = kept.insert((stamps, compute()?));
                using(value)
            }
        }
    }
}

/// Whether an operation on `sources` would be recorded for gradients now.
fn is_recorded(sources: &[&Tensor]) -> Result<bool> {
    for source in sources {
        // a view asks nothing of the data, but follows `no_grad`
        if source.requires_grad() && source.f_view([-1])?.requires_grad() {
            return Ok(true);
        }
    }
    Ok(false)
}
