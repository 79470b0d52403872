//! A value computed from parameters, kept until one of them changes.

use crate::ffi::grad_enabled;
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
        if is_recorded(sources) {
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
fn is_recorded(sources: &[&Tensor]) -> bool {
    grad_enabled() && sources.iter().any(|source| source.requires_grad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn a_value_is_computed_again_after_a_change_and_while_gradients_are_recorded() {
        let mut source = Tensor::ones([2, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let derived = Derived::default();
        let mut computed = 0;
        let mut sum = |source: &Tensor| {
            let compute = || {
                computed += 1;
                Ok(source.sum(Kind::Float))
            };
            let value = derived.with(&[source], compute, |sum| Ok(sum.double_value(&[])));
            (value.unwrap(), computed)
        };
        tch::no_grad(|| {
            assert_eq!(sum(&source), (6.0, 1));
            assert_eq!(sum(&source), (6.0, 1));
            let _ = source.fill_(2.0);
            assert_eq!(sum(&source), (12.0, 2));
            assert_eq!(sum(&source), (12.0, 2));
        });
        assert_eq!(sum(&source), (12.0, 3));
        assert_eq!(sum(&source), (12.0, 4));
        // what was kept before is still right
        assert_eq!(tch::no_grad(|| sum(&source)), (12.0, 4));
        // other contents at another address
        source.set_data(&Tensor::ones([2, 3], (Kind::Float, Device::Cpu)));
        assert_eq!(tch::no_grad(|| sum(&source)), (6.0, 5));
    }
}
