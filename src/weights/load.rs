//! All of a file against all of a model, then the copy.

use super::names;
use super::sources::{Form, Source};
use super::stored::one_line;
use super::{Dtype, Problem, StateFile, Stored};
use crate::{Error, Result};
use std::collections::BTreeSet;
use tch::{Kind, Tensor};

/// Differences of one sort that are listed before the rest is only counted.
const LISTED: usize = 1000;

/// Whose names the keys of a file are.
#[derive(Debug, Clone, Copy)]
pub enum Naming<'a> {
    /// This crate's.
    Own {
        /// Keys that begin with this belong to something else and may be there.
        ignored: Option<&'a str>,
    },
    /// Anybody's; wrappers' prefixes and the layout of the paper's code are understood.
    Any {
        /// Names and kinds of the model's layers in order.
        layers: &'a [(String, &'static str)],
    },
}

/// A variable and what it is filled with.
struct Match<'a> {
    target: Tensor,
    parts: Vec<(&'a str, &'a Stored)>,
    form: Form,
}

/// Where a file and a model differ.
#[derive(Default)]
struct Differences {
    missing: Vec<String>,
    unexpected: Vec<String>,
    different: Vec<String>,
}

impl StateFile {
    /// Copies the file's tensors into `targets`; every target is filled, and every key has a place.
    ///
    /// # Errors
    /// Keys that are missing, unexpected, of other sizes, or of a dtype that would lose digits, all of them listed; data
    /// that are damaged. Then nothing is changed.
    pub fn load(&self, targets: Vec<(String, Tensor)>, naming: Naming<'_>) -> Result<()> {
        let named = |problem: Problem| Error::file(self.path(), one_line(&problem));
        let keys = self.tensors().keys().map(String::as_str);
        let map = match naming {
            Naming::Own { ignored } => names::own(keys, ignored),
            Naming::Any { layers } => {
                let variables: Vec<_> = targets.iter().map(|(name, _)| name.as_str()).collect();
                names::any(keys, &variables, layers).map_err(named)?
            }
        };
        let mut sources = map.sources;
        let mut differences = Differences {
            unexpected: map.unexpected,
            ..Differences::default()
        };
        let mut targets = targets;
        targets.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut matches = Vec::with_capacity(targets.len());
        for (name, target) in targets {
            match sources.remove(&name) {
                None => differences.missing.push(format!("`{name}`")),
                Some(source) => {
                    matches.extend(self.compare(&name, target, source, &mut differences))
                }
            }
        }
        let left = sources.into_values().flat_map(|source| source.keys);
        differences
            .unexpected
            .extend(left.filter(|key| self.tensors().contains_key(key)));
        differences.report().map_err(named)?;
        self.copy(&matches).map_err(named)
    }

    /// The stored tensors of a variable, if they are all there and fit.
    fn compare(
        &self,
        name: &str,
        target: Tensor,
        source: Source,
        differences: &mut Differences,
    ) -> Option<Match<'_>> {
        let mut parts = Vec::with_capacity(source.keys.len());
        for key in &source.keys {
            match self.tensors().get_key_value(key) {
                Some((key, stored)) => parts.push((key.as_str(), stored)),
                None if key == name => differences.missing.push(format!("`{name}`")),
                None => differences.missing.push(format!("`{key}` for `{name}`")),
            }
        }
        if parts.len() < source.keys.len() {
            return None;
        }
        let form = source.form;
        let fits = shape(&parts, form).is_some_and(|shape| shape == target.size())
            && parts.iter().all(|(_, stored)| match form {
                Form::Flag => matches!(stored.dtype.kind, Some(Kind::Int64 | Kind::Bool)),
                _ => stored.dtype.fits_into(target.kind()),
            });
        if fits {
            return Some(Match {
                target,
                parts,
                form,
            });
        }
        let dtype = Dtype::of_kind(target.kind()).map_or("unknown", |dtype| dtype.name);
        let stored = parts.iter().map(|(key, stored)| {
            let key = if *key == name { "" } else { *key };
            let at = if key.is_empty() {
                String::new()
            } else {
                format!(" as `{key}`")
            };
            format!("{} {:?}{at}", stored.dtype, stored.shape)
        });
        differences.different.push(format!(
            "`{name}` is {} in the file, {dtype} {:?} in the model",
            stored.collect::<Vec<_>>().join(", "),
            target.size()
        ));
        None
    }

    fn copy(&self, matches: &[Match<'_>]) -> Result<(), Problem> {
        let parts = || matches.iter().flat_map(|one| &one.parts);
        let mut verified = BTreeSet::new();
        for (key, stored) in parts() {
            if verified.insert(stored.region) {
                self.verify(stored.region)
                    .map_err(|problem| format!("`{key}`: {problem}"))?;
            }
        }
        // every tensor is read before the first is written: a failure changes nothing
        let mut ready = Vec::with_capacity(matches.len());
        for Match {
            parts,
            form,
            target,
        } in matches
        {
            let mut tensors = Vec::with_capacity(parts.len());
            for (key, stored) in parts {
                let tensor = self
                    .read(stored)
                    .map_err(|problem| format!("`{key}` {problem}"))?;
                tensors.push(tensor);
            }
            let whole = match form {
                Form::Joined => Tensor::f_cat(&tensors, 0),
                Form::Same | Form::Rows => tensors[0].f_reshape(target.size()),
                Form::Flag => tensors[0].f_ne(0),
            };
            let whole = whole.map_err(|err| Error::from(err).to_string())?;
            ready.push((whole, target.shallow_clone()));
        }
        tch::no_grad(|| {
            for (content, mut target) in ready {
                target
                    .f_copy_(&content)
                    .map_err(|err| Error::from(err).to_string())?;
            }
            Ok(())
        })
    }
}

/// Sizes of what the parts make together; `None` if they do not fit each other.
fn shape(parts: &[(&str, &Stored)], form: Form) -> Option<Vec<i64>> {
    let shape = &parts.first()?.1.shape;
    match form {
        Form::Same | Form::Flag => Some(shape.clone()),
        Form::Rows => {
            let (last, rows) = shape.split_last()?;
            let rows = rows
                .iter()
                .try_fold(1_i64, |all, &size| all.checked_mul(size))?;
            Some(vec![rows, *last])
        }
        Form::Joined => {
            let (_, rest) = shape.split_first()?;
            let mut rows = 0_i64;
            for (_, part) in parts {
                let (first, others) = part.shape.split_first()?;
                rows = rows.checked_add(*first).filter(|_| others == rest)?;
            }
            Some([&[rows], rest].concat())
        }
    }
}

impl Differences {
    fn report(self) -> Result<(), Problem> {
        let total = self.missing.len() + self.unexpected.len() + self.different.len();
        if total == 0 {
            return Ok(());
        }
        let missing = self.missing.iter().map(|name| format!("missing {name}"));
        let unexpected = self
            .unexpected
            .iter()
            .map(|name| format!("unexpected `{name}`"));
        let listed: Vec<_> = missing
            .take(LISTED)
            .chain(unexpected.take(LISTED))
            .chain(self.different.iter().take(LISTED).cloned())
            .collect();
        let rest = match total - listed.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(format!(
            "does not fit the model: {}{rest}",
            listed.join(", ")
        ))
    }
}
