//! All of a file against all of a model, then the copy.

use super::compare::{compare, widths, Differences, Match};
use super::names;
use super::sources::{Form, KeyMap};
use super::stored::one_line;
use super::{Dictionary, Problem, StateFile};
use crate::words::counted;
use crate::{Error, Result};
use std::collections::BTreeSet;
use tch::Tensor;

/// Dictionaries that a remark lists.
const NAMED: usize = 10;
/// Last part of the name of the flag that says that a layer has seen its first batch.
const FIRST_BATCH: &str = "initialized";

/// Whose names the keys of a file are.
#[derive(Debug, Clone, Copy)]
pub enum Naming<'a> {
    /// This crate's.
    Own {
        /// Keys that begin with one of these belong to something else and may be there.
        others: &'a [&'a str],
        /// Keys that begin with this are taken in the place of those without it.
        instead: Option<&'a str>,
        /// Every number is kept as it is: for resuming to the bit.
        exact: bool,
    },
    /// Anybody's; wrappers' prefixes and the layout of the paper's code are understood.
    Any {
        /// Names and kinds of the model's layers in order.
        layers: &'a [(String, &'static str)],
    },
}

/// What was decided on the way from a file to a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What users should know, each in a line: which dictionary was taken, what was taken off the names, what was rounded.
    pub remarks: Vec<String>,
}

/// A dictionary beside a model: what of it fits, and what does not.
struct Candidate<'a> {
    dictionary: &'a Dictionary,
    matches: Vec<Match<'a>>,
    differences: Differences,
    remarks: Vec<String>,
}

impl Candidate<'_> {
    fn fits(&self) -> bool {
        self.differences.is_empty()
    }
}

impl StateFile {
    /// Copies the tensors of the dictionary that fits into `targets`; every target is filled, and every key has a place.
    ///
    /// # Errors
    /// No dictionary fits: keys that are missing, unexpected, of other sizes or kinds, all of them listed for the one that
    /// comes nearest; data that are damaged. Then nothing is changed.
    pub fn load(&self, targets: Vec<(String, Tensor)>, naming: Naming<'_>) -> Result<Report> {
        let candidates = self.candidates(targets, naming)?;
        let (fitting, others): (Vec<_>, Vec<_>) = candidates.into_iter().partition(Candidate::fits);
        let mut fitting = fitting.into_iter();
        let Some(taken) = fitting.next() else {
            let nearest = nearest(others);
            let problem = nearest.map(|one| self.at(one.dictionary, one.differences.text()));
            return Err(self.named(problem.unwrap_or_else(|| "holds no tensors".into())));
        };
        // another way to read the names of the same dictionary is no other dictionary
        let others = fitting.map(|one| one.dictionary);
        let others = others.filter(|other| other.path != taken.dictionary.path);
        self.take(taken, others.collect(), naming)
    }

    /// Copies what fits from the dictionary of which most does, leaves the rest of `targets` as it is, and names both. A
    /// layer that is set from a first batch stays without one unless all of it is in the file.
    ///
    /// # Errors
    /// Nothing fits, or data that are damaged; then nothing is changed.
    pub fn load_part(&self, targets: Vec<(String, Tensor)>, naming: Naming<'_>) -> Result<Report> {
        let names: Vec<_> = targets.iter().map(|(name, _)| name.clone()).collect();
        let mut nearest = nearest(self.candidates(targets, naming)?);
        if let Some(one) = &mut nearest {
            let loaded: BTreeSet<_> = one.matches.iter().map(|one| one.name.clone()).collect();
            let left: Vec<_> = names
                .iter()
                .filter(|name| !loaded.contains(*name))
                .collect();
            one.matches.retain(|one| {
                let layer = one.name.strip_suffix(FIRST_BATCH);
                !layer.is_some_and(|layer| left.iter().any(|name| name.starts_with(layer)))
            });
        }
        let Some(mut taken) = nearest.filter(|one| !one.matches.is_empty()) else {
            return Err(self.named("nothing in it fits the model, not even a part".into()));
        };
        let loaded = counted(taken.matches.len(), "variable");
        taken
            .remarks
            .extend(taken.differences.left_out(names.len(), &loaded));
        self.take(taken, Vec::new(), naming)
    }

    /// Copies the matches of a dictionary, and says what users should know.
    fn take(
        &self,
        taken: Candidate<'_>,
        others: Vec<&Dictionary>,
        naming: Naming<'_>,
    ) -> Result<Report> {
        let Candidate {
            dictionary,
            matches,
            remarks: mut more,
            ..
        } = taken;
        self.copy(&matches).map_err(|problem| self.named(problem))?;
        let mut remarks = Vec::new();
        if let [first, ..] = others[..] {
            let names: Vec<_> = others
                .iter()
                .take(NAMED)
                .map(|other| other.name())
                .collect();
            let path = match first.path.is_empty() {
                true => ".",
                false => &first.path,
            };
            remarks.push(format!(
                "{} is taken; {} would fit too: `--key {path}` takes that",
                dictionary.name(),
                names.join(", ")
            ));
        } else if self.dictionaries().len() > 1 || !dictionary.path.is_empty() {
            remarks.push(format!("{} is taken", dictionary.name()));
        }
        remarks.append(&mut more);
        remarks.extend(widths(&matches));
        if matches!(naming, Naming::Own { .. }) && !self.has_checksums(dictionary) {
            remarks.push("the file has no checksums of its tensors: it was written by an older program, or changed by another, and damage to its numbers cannot be seen".into());
        }
        let remarks = remarks.iter().map(|remark| one_line(remark)).collect();
        Ok(Report { remarks })
    }

    /// All dictionaries, in every way in which their names can be read, against all of a model.
    fn candidates(
        &self,
        mut targets: Vec<(String, Tensor)>,
        naming: Naming<'_>,
    ) -> Result<Vec<Candidate<'_>>> {
        if let Some(nothing) = self.nothing() {
            return Err(self.named(nothing.to_owned()));
        }
        targets.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut candidates = Vec::new();
        for dictionary in self.dictionaries() {
            let (maps, exact) = match naming {
                Naming::Own {
                    others,
                    instead,
                    exact,
                } => (
                    Ok(vec![names::own(dictionary.keys(), others, instead)]),
                    exact,
                ),
                Naming::Any { layers } => {
                    let variables: Vec<_> = targets.iter().map(|(name, _)| name.as_str()).collect();
                    let maps = names::any(dictionary, &variables, layers, self.prefix());
                    (maps, false)
                }
            };
            match maps {
                Ok(maps) => {
                    let maps = maps.into_iter();
                    candidates.extend(maps.map(|map| compared(dictionary, &targets, map, exact)));
                }
                Err(problem) => candidates.push(Candidate {
                    dictionary,
                    matches: Vec::new(),
                    differences: Differences::of(problem),
                    remarks: Vec::new(),
                }),
            }
        }
        Ok(candidates)
    }

    fn named(&self, problem: Problem) -> Error {
        Error::file(self.path(), one_line(&problem))
    }

    /// Says where a problem is, if there are several places.
    fn at(&self, dictionary: &Dictionary, problem: Problem) -> Problem {
        match dictionary.path.is_empty() && self.dictionaries().len() == 1 {
            true => problem,
            false => format!("{}: {problem}", dictionary.name()),
        }
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
            ..
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

/// The candidate of which most fits, the first of several.
fn nearest(candidates: Vec<Candidate<'_>>) -> Option<Candidate<'_>> {
    candidates
        .into_iter()
        .reduce(|best, one| match one.matches.len() > best.matches.len() {
            true => one,
            false => best,
        })
}

fn compared<'a>(
    dictionary: &'a Dictionary,
    targets: &[(String, Tensor)],
    map: KeyMap,
    exact: bool,
) -> Candidate<'a> {
    let mut sources = map.sources;
    let mut differences = Differences {
        unexpected: map.unexpected,
        ..Differences::default()
    };
    let mut matches = Vec::with_capacity(targets.len());
    for (name, target) in targets {
        match sources.remove(name) {
            None => differences.missing.push(format!("`{name}`")),
            Some(source) => matches.extend(compare(
                dictionary,
                (name, target),
                source,
                exact,
                &mut differences,
            )),
        }
    }
    let left = sources.into_values().flat_map(|source| source.keys);
    differences.unexpected.extend(
        left.filter(|key| {
            dictionary.tensors.contains_key(key) || dictionary.unread.contains_key(key)
        }),
    );
    Candidate {
        dictionary,
        matches,
        differences,
        remarks: map.remarks,
    }
}
