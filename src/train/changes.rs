//! Which settings may be changed in a run that goes on.

use super::{Change, RunConfig};
use crate::data::Source;
use crate::{Error, Result};
use serde_json::Value;

/// The changes from one configuration of a run to another at `step`.
///
/// # Errors
/// [`Error::Config`] for a setting that is fixed once a run has begun, with the reason.
pub(super) fn changes(from: &RunConfig, to: &RunConfig, step: u64) -> Result<Vec<Change>> {
    let value = |config: &RunConfig| {
        serde_json::to_value(config).map_err(|err| Error::config(format!("configuration: {err}")))
    };
    let mut found = Vec::new();
    differences("", &value(from)?, &value(to)?, &mut found);
    let moved = matches!(
        (&from.data.name, &to.data.name),
        (Source::Own(_), Source::Own(_))
    );
    let changes = found.into_iter().map(|(key, from, to)| {
        // where files of one's own lie may change: what they hold is compared when they are read
        let reason = why_fixed(&key).filter(|_| !(key == "data.name" && moved));
        match reason {
            None => Ok(Change {
                step,
                key,
                from,
                to,
            }),
            Some(reason) => Err(Error::config(format!(
                "`{key}` is fixed once a run has begun: it is {from}, not {to}. {reason}: begin another run for that"
            ))),
        }
    });
    changes.collect()
}

/// Why a setting is fixed, if it is.
fn why_fixed(key: &str) -> Option<&'static str> {
    let part = key.split('.').next().unwrap_or(key);
    match (part, key) {
        ("train", "train.betas" | "train.eps" | "train.amsgrad") => {
            Some("The state of the optimiser belongs to it")
        }
        ("train" | "precision", _) | ("data", "data.dir" | "data.augment") => None,
        ("data", _) => Some("The images would be others than those that the run has learnt from"),
        ("model", _) => Some("The parameters have their number and their meaning from it"),
        ("bits", _) => Some("The likelihood would be that of other pixels"),
        ("seed", _) => Some("The order of the images, their noise and their split come from it"),
        ("preset" | "init_from", _) => Some("It is what the run began with"),
        _ => Some("What the run has learnt belongs to it"),
    }
}

/// The settings whose values differ. The record of earlier changes is none.
fn differences(key: &str, from: &Value, to: &Value, found: &mut Vec<(String, Value, Value)>) {
    match (from, to) {
        _ if from == to || key == "changes" => {}
        // a decay of another kind has other keys
        (Value::Object(from), Value::Object(to)) if key != "train.decay" => {
            let mut keys: Vec<_> = from.keys().chain(to.keys()).collect();
            keys.sort();
            keys.dedup();
            for name in keys {
                let below = match key {
                    "" => name.clone(),
                    _ => format!("{key}.{name}"),
                };
                let of = |object: &serde_json::Map<_, _>| object.get(name).cloned();
                let [from, to] = [of(from), of(to)].map(Option::unwrap_or_default);
                differences(&below, &from, &to, found);
            }
        }
        _ => found.push((key.to_owned(), from.clone(), to.clone())),
    }
}
