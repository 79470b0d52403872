//! A variable against what a dictionary has for it, and all differences in one message.

use super::sources::{Form, Source};
use super::{Dictionary, Dtype, Problem, Stored};
use crate::words::counted;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Differences of one sort that are all listed; of more, the first few are, and the rest is counted.
const ALL_LISTED: usize = 1000;
const LISTED: usize = 20;
/// A variable and what it is filled with.
pub(super) struct Match<'a> {
    pub name: String,
    pub target: Tensor,
    pub parts: Vec<(&'a str, &'a Stored)>,
    pub form: Form,
}

/// Where a file and a model differ.
#[derive(Default)]
pub(super) struct Differences {
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
    pub different: Vec<String>,
    /// Why nothing was compared.
    pub problem: Option<Problem>,
}

/// The stored tensors of a variable, if they are all there and fit.
pub(super) fn compare<'a>(
    dictionary: &'a Dictionary,
    (name, target): (&str, &Tensor),
    source: Source,
    exact: bool,
    differences: &mut Differences,
) -> Option<Match<'a>> {
    let mut parts = Vec::with_capacity(source.keys.len());
    for key in &source.keys {
        if let Some((key, stored)) = dictionary.tensors.get_key_value(key) {
            parts.push((key.as_str(), stored));
        } else if let Some(reason) = dictionary.unread.get(key) {
            differences
                .different
                .push(format!("`{key}` is not read: it {reason}"));
            return None;
        } else if key == name {
            differences.missing.push(format!("`{name}`"));
        } else {
            differences.missing.push(format!("`{key}` for `{name}`"));
        }
    }
    if parts.len() < source.keys.len() {
        return None;
    }
    let form = source.form;
    let kind = target.kind();
    let is_kind = |stored: &Stored| match form {
        Form::Flag => matches!(
            stored.dtype.kind,
            Some(Kind::Int64 | Kind::Int | Kind::Uint8 | Kind::Bool)
        ),
        _ if exact => stored.dtype.kind == Some(kind),
        _ => stored.dtype.fits_into(kind),
    };
    let fits = shape(&parts, form).is_some_and(|shape| shape == target.size())
        && parts.iter().all(|(_, stored)| is_kind(stored));
    if fits {
        return Some(Match {
            name: name.to_owned(),
            target: target.shallow_clone(),
            parts,
            form,
        });
    }
    let dtype = Dtype::of_kind(kind).map_or("unknown", |dtype| dtype.name);
    let stored = parts.iter().map(|(key, stored)| {
        let at = match *key == name {
            true => String::new(),
            false => format!(" as `{key}`"),
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

/// What to say about numbers that were read into another kind.
pub(super) fn widths(matches: &[Match<'_>]) -> Vec<String> {
    let mut counts: BTreeMap<(&str, &str, bool), usize> = BTreeMap::new();
    for one in matches.iter().filter(|one| one.form != Form::Flag) {
        let kind = one.target.kind();
        let into = Dtype::of_kind(kind).map_or("unknown", |dtype| dtype.name);
        for (_, stored) in &one.parts {
            if stored.dtype.kind != Some(kind) {
                let rounds = stored.dtype.rounds_into(kind);
                *counts.entry((stored.dtype.name, into, rounds)).or_default() += 1;
            }
        }
    }
    let remark = |((from, into, rounds), count)| {
        let how = match rounds {
            true => "rounded",
            false => "no digit is lost",
        };
        format!(
            "{} of {from} read as {into}: {how}",
            counted(count, "tensor")
        )
    };
    counts.into_iter().map(remark).collect()
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
    /// Nothing can be compared.
    pub(super) fn of(problem: Problem) -> Self {
        Self {
            problem: Some(problem),
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problem.is_none() && self.count() == 0
    }

    fn count(&self) -> usize {
        self.missing.len() + self.unexpected.len() + self.different.len()
    }

    /// All of them in one message.
    pub(super) fn text(&self) -> Problem {
        if let Some(problem) = &self.problem {
            return problem.clone();
        }
        let few = |count: usize| match count > ALL_LISTED {
            true => LISTED,
            false => count,
        };
        let missing = self.missing.iter().map(|name| format!("missing {name}"));
        let unexpected = self
            .unexpected
            .iter()
            .map(|name| format!("unexpected `{name}`"));
        let listed: Vec<_> = missing
            .take(few(self.missing.len()))
            .chain(unexpected.take(few(self.unexpected.len())))
            .chain(
                self.different
                    .iter()
                    .take(few(self.different.len()))
                    .cloned(),
            )
            .collect();
        let rest = match self.count() - listed.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("does not fit the model: {}{rest}", listed.join(", "))
    }

    /// What to say where a part of a file was taken on purpose: `loaded` is the number of variables that were filled, in
    /// words, of `all`.
    pub(super) fn left_out(&self, all: usize, loaded: &str) -> Vec<String> {
        let unexpected = self.unexpected.iter().map(|key| format!("`{key}`"));
        let lists = [
            ("not in the file, as in a new model", self.missing.clone()),
            ("in the file only, left out", unexpected.collect()),
            (
                "of other sizes or kinds, as in a new model",
                self.different.clone(),
            ),
        ];
        let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
        let lines = lists.map(|(what, names)| {
            let rest = match names.len().saturating_sub(LISTED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let listed: Vec<_> = names.into_iter().take(LISTED).collect();
            format!("{what}: {}{rest}", listed.join(", "))
        });
        let first = format!("{loaded} of {all} are from the file");
        std::iter::once(first).chain(lines).collect()
    }
}
