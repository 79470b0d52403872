//! All of a file against all of a model, then the copy.

use super::compare::{compare, widths, Differences, Match};
use super::names;
use super::sources::{Form, KeyMap};
use super::stored::one_line;
use super::{Dictionary, Problem, StateFile};
use crate::{Error, Result};
use std::collections::BTreeSet;
use tch::Tensor;

/// Dictionaries that a remark lists.
const NAMED: usize = 10;

/// Whose names the keys of a file are.
#[derive(Debug, Clone, Copy)]
pub enum Naming<'a> {
    /// This crate's.
    Own {
        /// Keys that begin with this belong to something else and may be there. Without it, every key has a place and every
        /// number is kept as it is: exact resume.
        ignored: Option<&'a str>,
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

/// A dictionary that fits a model.
struct Fitting<'a> {
    dictionary: &'a Dictionary,
    matches: Vec<Match<'a>>,
    remarks: Vec<String>,
}

/// Why a dictionary does not fit, and how many variables do.
struct Unfit {
    matched: usize,
    problem: Problem,
}

impl StateFile {
    /// Copies the tensors of the dictionary that fits into `targets`; every target is filled, and every key has a place.
    ///
    /// # Errors
    /// No dictionary fits: keys that are missing, unexpected, of other sizes or kinds, all of them listed for the one that
    /// comes nearest; data that are damaged. Then nothing is changed.
    pub fn load(&self, targets: Vec<(String, Tensor)>, naming: Naming<'_>) -> Result<Report> {
        let named = |problem: Problem| Error::file(self.path(), one_line(&problem));
        if let Some(nothing) = self.nothing() {
            return Err(named(nothing.to_owned()));
        }
        let mut targets = targets;
        targets.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut fitting: Vec<Fitting<'_>> = Vec::new();
        let mut nearest: Option<Unfit> = None;
        for dictionary in self.dictionaries() {
            match self.fit(dictionary, &targets, naming) {
                Ok(one) => fitting.push(one),
                Err(unfit) => {
                    if nearest
                        .as_ref()
                        .is_none_or(|nearest| unfit.matched > nearest.matched)
                    {
                        nearest = Some(unfit);
                    }
                }
            }
        }
        if fitting.is_empty() {
            let problem = nearest.map(|unfit| unfit.problem);
            return Err(named(problem.unwrap_or_else(|| "holds no tensors".into())));
        }
        let others = fitting.split_off(1);
        let Some(Fitting {
            dictionary,
            matches,
            remarks: mut more,
        }) = fitting.pop()
        else {
            return Err(named("holds no tensors".into()));
        };
        self.copy(&matches).map_err(named)?;
        let mut remarks = Vec::new();
        if !others.is_empty() {
            let others: Vec<_> = others.iter().map(|one| one.dictionary.name()).collect();
            let listed = others[..others.len().min(NAMED)].join(", ");
            let path = &others[0].trim_matches('`');
            let path = if *path == "the top level" { "." } else { path };
            remarks.push(format!(
                "{} is taken; {listed} would fit too: `--key {path}` takes that",
                dictionary.name()
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

    /// Compares all of a dictionary with all of a model.
    fn fit<'a>(
        &'a self,
        dictionary: &'a Dictionary,
        targets: &[(String, Tensor)],
        naming: Naming<'_>,
    ) -> Result<Fitting<'a>, Unfit> {
        let unfit = |problem| Unfit {
            matched: 0,
            problem: self.at(dictionary, problem),
        };
        let (maps, exact) = match naming {
            Naming::Own { ignored } => (
                vec![names::own(dictionary.keys(), ignored)],
                ignored.is_none(),
            ),
            Naming::Any { layers } => {
                let variables: Vec<_> = targets.iter().map(|(name, _)| name.as_str()).collect();
                let maps = names::any(dictionary, &variables, layers, self.prefix());
                (maps.map_err(unfit)?, false)
            }
        };
        let mut nearest: Option<Unfit> = None;
        for map in maps {
            match self.fit_map(dictionary, targets, map, exact) {
                Ok(fitting) => return Ok(fitting),
                Err(unfit) => {
                    if nearest
                        .as_ref()
                        .is_none_or(|nearest| unfit.matched > nearest.matched)
                    {
                        nearest = Some(unfit);
                    }
                }
            }
        }
        Err(nearest.unwrap_or_else(|| unfit("holds no tensors".into())))
    }

    /// Says where a problem is, if there are several places.
    fn at(&self, dictionary: &Dictionary, problem: Problem) -> Problem {
        match dictionary.path.is_empty() && self.dictionaries().len() == 1 {
            true => problem,
            false => format!("{}: {problem}", dictionary.name()),
        }
    }

    fn fit_map<'a>(
        &'a self,
        dictionary: &'a Dictionary,
        targets: &[(String, Tensor)],
        map: KeyMap,
        exact: bool,
    ) -> Result<Fitting<'a>, Unfit> {
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
        differences.unexpected.extend(left.filter(|key| {
            dictionary.tensors.contains_key(key) || dictionary.unread.contains_key(key)
        }));
        match differences.report() {
            Ok(()) => Ok(Fitting {
                dictionary,
                matches,
                remarks: map.remarks,
            }),
            Err(problem) => Err(Unfit {
                matched: matches.len(),
                problem: self.at(dictionary, problem),
            }),
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
