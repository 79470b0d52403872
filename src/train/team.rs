//! The processes of one run, and which part of its work each of them has.

use super::{DeviceChoice, Picked};
use crate::distributed::Group;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// One of several parts of things in a row, as equal as they can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    index: usize,
    of: usize,
}

impl Part {
    /// All of them.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Part `index` of `of`.
    ///
    /// # Errors
    /// There is no such part.
    pub fn new(index: usize, of: usize) -> Result<Self> {
        match index < of {
            true => Ok(Self { index, of }),
            false => {
                let problem = format!("must be below {of}, the number of parts, got {index}");
                Err(Error::argument("Part::new", "index", problem))
            }
        }
    }

    /// Which of `n` things it has; the first parts have one more where they do not divide.
    pub fn range(self, n: usize) -> Range<usize> {
        let start = |index: usize| index * (n / self.of) + index.min(n % self.of);
        start(self.index)..start(self.index + 1)
    }

    /// Whether thing `index` is its own, where things are dealt out one by one.
    pub fn is_dealt(self, index: usize) -> bool {
        index % self.of == self.index
    }
}

/// The processes of one run: this one alone, or a [`Group`] of which rank 0 keeps the files and speaks to the user.
///
/// All of them make the same calls in the same order. Alone, a call changes nothing and costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Team(Option<Arc<Group>>);

impl Team {
    /// This process alone.
    pub fn alone() -> Self {
        Self(None)
    }

    /// The processes of `group`.
    pub fn of(group: Group) -> Self {
        Self(Some(Arc::new(group)))
    }

    /// The group, if there are several processes.
    pub fn group(&self) -> Option<&Group> {
        self.0.as_deref()
    }

    /// Whether this is the only process.
    pub fn is_alone(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this process keeps the files and speaks to the user.
    pub fn is_main(&self) -> bool {
        self.rank() == 0
    }

    /// Which process this is, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |group| group.rank() as usize)
    }

    /// How many there are.
    pub fn ranks(&self) -> usize {
        self.0.as_ref().map_or(1, |group| group.ranks() as usize)
    }

    /// The device of this process: `auto` and `cuda` stand for a GPU of its own where there are several processes, which are
    /// connected for sums over it.
    ///
    /// # Errors
    /// Those of [`DeviceChoice::pick_in`] and [`Group::connect`].
    pub fn pick(&self, choice: DeviceChoice) -> Result<Picked> {
        let Some(group) = &self.0 else {
            return choice.pick();
        };
        let picked = choice.pick_in(group.place())?;
        group.connect(picked.device)?;
        Ok(picked)
    }

    /// The part of this process.
    pub fn part(&self) -> Part {
        Part {
            index: self.rank(),
            of: self.ranks(),
        }
    }

    /// Replaces `tensor` by its sum over all processes.
    ///
    /// # Errors
    /// Those of [`Group::sum`].
    pub fn sum(&self, tensor: &Tensor) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |group| group.sum(tensor))
    }

    /// Replaces every number by its sum over all processes: exactly itself, where only one of them is not zero.
    ///
    /// # Errors
    /// Those of [`Group::sum`].
    pub fn sum_numbers(&self, numbers: &mut [f64]) -> Result<()> {
        if self.is_alone() || numbers.is_empty() {
            return Ok(());
        }
        let sum = Tensor::f_from_slice(numbers)?;
        self.sum(&sum)?;
        sum.f_copy_data(numbers, numbers.len())?;
        Ok(())
    }

    /// For each flag, whether any process has set it.
    ///
    /// # Errors
    /// Those of [`Group::sum`].
    pub fn any<const N: usize>(&self, flags: [bool; N]) -> Result<[bool; N]> {
        let mut numbers = flags.map(|flag| f64::from(u8::from(flag)));
        self.sum_numbers(&mut numbers)?;
        Ok(numbers.map(|number| number > 0.0))
    }

    /// What `make` returns in rank 0, the only process that calls it.
    ///
    /// # Errors
    /// That of `make` in rank 0; in the others the end of rank 0.
    pub fn from_main<T: Serialize + DeserializeOwned>(
        &self,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let Some(group) = &self.0 else { return make() };
        let broken = |err: serde_json::Error| Error::config(format!("what rank 0 said: {err}"));
        if self.is_main() {
            let made = make()?;
            group.broadcast_bytes(&mut serde_json::to_vec(&made).map_err(broken)?)?;
            return Ok(made);
        }
        let mut bytes = Vec::new();
        group.broadcast_bytes(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(broken)
    }

    /// The texts of all processes, in the order of their ranks.
    ///
    /// # Errors
    /// Those of [`Group::sum`].
    pub fn texts(&self, own: &str) -> Result<Vec<String>> {
        let mut lengths = vec![0.0; self.ranks()];
        lengths[self.rank()] = own.len() as f64;
        self.sum_numbers(&mut lengths)?;
        let before: f64 = lengths[..self.rank()].iter().sum();
        let mut bytes = vec![0.0; lengths.iter().sum::<f64>() as usize];
        for (slot, byte) in bytes[before as usize..].iter_mut().zip(own.bytes()) {
            *slot = f64::from(byte);
        }
        self.sum_numbers(&mut bytes)?;
        let bytes: Vec<u8> = bytes.into_iter().map(|byte| byte as u8).collect();
        let mut rest = &bytes[..];
        let text = |length: f64| {
            let (text, others) = rest.split_at((length as usize).min(rest.len()));
            rest = others;
            String::from_utf8_lossy(text).into_owned()
        };
        Ok(lengths.into_iter().map(text).collect())
    }

    /// Gives all processes the values that these tensors have in rank 0; they have the same names in all of them.
    ///
    /// # Errors
    /// Those of [`Group::broadcast`].
    pub fn share(&self, tensors: impl IntoIterator<Item = (String, Tensor)>) -> Result<()> {
        let Some(group) = &self.0 else { return Ok(()) };
        let mut tensors: Vec<_> = tensors.into_iter().collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let _guard = tch::no_grad_guard();
        for (_, mut tensor) in tensors {
            if tensor.is_contiguous() && tensor.kind() != Kind::Bool {
                group.broadcast(&tensor)?;
                continue;
            }
            let kind = match tensor.kind() {
                Kind::Bool => Kind::Uint8,
                kind => kind,
            };
            let sent = tensor.f_contiguous()?.f_to_kind(kind)?;
            group.broadcast(&sent)?;
            tensor.f_copy_(&sent)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_all_of_it_once_and_as_equal_as_they_can_be() {
        for n in [0, 1, 2, 3, 7, 100] {
            for of in [1, 2, 3, 5, 8] {
                let parts: Vec<_> = (0..of).map(|i| Part::new(i, of).unwrap()).collect();
                let together: Vec<_> = parts.iter().flat_map(|part| part.range(n)).collect();
                assert_eq!(together, (0..n).collect::<Vec<_>>(), "{n} of {of}");
                for part in &parts {
                    assert!([n / of, n.div_ceil(of)].contains(&part.range(n).len()));
                }
                for i in 0..n {
                    assert_eq!(parts.iter().filter(|part| part.is_dealt(i)).count(), 1);
                }
            }
        }
        assert!(Part::new(2, 2).is_err());
    }

    #[test]
    fn alone_nothing_is_exchanged() {
        let team = Team::alone();
        assert!(team.is_alone() && team.is_main());
        assert_eq!(team.any([true, false]).unwrap(), [true, false]);
        assert_eq!(team.texts("one").unwrap(), ["one"]);
        assert_eq!(team.from_main(|| Ok(7)).unwrap(), 7);
        assert_eq!(team.part(), Part::WHOLE);
    }
}
