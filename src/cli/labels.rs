//! What a legend says about runs: their names, and what differs in their configurations.

use crate::train::{Change, RunConfig};
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeSet;

/// Settings that a legend has at most for a run.
const MOST: usize = 8;

/// Settings that are no part of what a curve shows: where things lie, how much is written and kept, and when a run ends, which
/// is seen.
const LEFT_OUT: [&str; 18] = [
    "preset",
    "changes",
    "model.architecture",
    "data.dir",
    "data.fingerprint",
    "train.checkpoint_minutes",
    "train.tensorboard",
    "train.samples",
    "train.sample_temperature",
    "train.keep",
    "train.log_every",
    "train.device_data_mib",
    "train.epochs",
    "train.max_steps",
    "train.max_minutes",
    "train.target_bpd",
    "train.patience",
    "train.min_delta",
];

/// `name (lr 0.001, width 6)` for each run, with the settings that are not the same in all of them.
///
/// # Errors
/// A configuration that JSON cannot hold.
pub fn labels(runs: &[(String, &RunConfig)]) -> Result<Vec<String>> {
    let settings = runs.iter().map(|(_, config)| settings(config));
    let settings = settings.collect::<Result<Vec<_>>>()?;
    let of = |run: usize, key: &str| {
        let found = settings[run].iter().find(|(known, _)| known == key);
        found.map(|(_, text)| text.as_str())
    };
    let mut differing: Vec<&str> = Vec::new();
    for (key, _) in settings.iter().flatten() {
        let first = of(0, key);
        let same = (1..runs.len()).all(|run| of(run, key) == first);
        // parts of models of different families are not compared
        let everywhere = (0..runs.len()).all(|run| of(run, key).is_some());
        if !same && (everywhere || !key.starts_with("model.")) && !differing.contains(&key.as_str())
        {
            differing.push(key);
        }
    }
    let labels = runs.iter().enumerate().map(|(run, (name, _))| {
        let named = differing.iter().map(|key| {
            let value = of(run, key).unwrap_or("not set");
            format!("{} {value}", short(key, &differing))
        });
        let mut parts: Vec<_> = named.collect();
        if parts.len() > MOST {
            let others = parts.len() - MOST;
            parts.truncate(MOST);
            parts.push(format!("and {others} more"));
        }
        match parts.is_empty() {
            true => name.clone(),
            false => format!("{name} ({})", parts.join(", ")),
        }
    });
    Ok(labels.collect())
}

/// The last part of a key, or as many as tell it from the others.
fn short<'a>(key: &'a str, all: &[&str]) -> &'a str {
    let starts = key.match_indices('.').map(|(at, _)| at + 1);
    let endings: BTreeSet<_> = starts.chain([0]).map(|at| &key[at..]).collect();
    let mut endings: Vec<_> = endings.into_iter().collect();
    endings.sort_by_key(|ending| ending.len());
    let alone = |ending: &&str| {
        let alike = all.iter().filter(|other| {
            other
                .strip_suffix(*ending)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        alike.count() == 1
    };
    endings.into_iter().find(alone).unwrap_or(key)
}

/// Every setting with its value as a text, and what it was before.
fn settings(config: &RunConfig) -> Result<Vec<(String, String)>> {
    let value = serde_json::to_value(config)
        .map_err(|err| Error::config(format!("configuration: {err}")))?;
    let mut found = vec![("model".to_owned(), config.model.name().to_string())];
    flatten("", &value, &config.changes, &mut found);
    Ok(found)
}

fn flatten(key: &str, value: &Value, changes: &[Change], found: &mut Vec<(String, String)>) {
    if LEFT_OUT.contains(&key) || key.ends_with(".kind") {
        return;
    }
    match value {
        Value::Object(below) if key != "train.decay" => {
            for (name, value) in below {
                let key = match key {
                    "" => name.clone(),
                    _ => format!("{key}.{name}"),
                };
                flatten(&key, value, changes, found);
            }
        }
        _ => {
            let mut changes = changes.iter().filter(|change| change.key == key).peekable();
            let mut said = changes
                .peek()
                .map_or_else(|| text(value), |first| text(&first.from));
            for change in changes {
                said += &format!(", from step {} on {}", change.step, text(&change.to));
            }
            found.push((key.to_owned(), said));
        }
    }
}

/// A value as people write it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join("x"),
        Value::Object(all) => {
            let parts = all.iter().map(|(key, value)| match key.as_str() {
                "kind" => text(value),
                _ => format!("{key} {}", text(value)),
            });
            parts.collect::<Vec<_>>().join(" ")
        }
        Value::Number(number) if number.is_f64() => {
            // six digits tell any two apart that a person has set
            let rounded = format!("{:.5e}", number.as_f64().unwrap_or_default()).parse::<f64>();
            rounded.map_or_else(|_| number.to_string(), |number| number.to_string())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{presets, Decay};

    fn of(configs: &[RunConfig]) -> Vec<String> {
        let names = ["a", "b", "c"].map(str::to_owned);
        labels(&names.into_iter().zip(configs).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn only_what_differs_is_said() {
        let one = presets::by_name("quick/inverse-flow").unwrap();
        assert_eq!(of(&[one.clone(), one.clone()]), ["a", "b"]);
        let mut other = one.clone();
        other.train.lr = 0.5;
        other.train.max_steps = Some(7);
        other.data.dir = "/elsewhere".into();
        let lr = one.train.lr;
        assert_eq!(
            of(&[one.clone(), other.clone()]),
            [format!("a (lr {lr})"), "b (lr 0.5)".into()]
        );
        other.train.decay = Decay::Cosine { epochs: 9 };
        other.changes.push(Change {
            step: 40,
            key: "train.lr".into(),
            from: lr.into(),
            to: 0.5.into(),
        });
        let said = of(&[one.clone(), other]);
        assert!(
            said[0].starts_with(&format!("a (lr {lr}, decay ")),
            "{said:?}"
        );
        assert!(
            said[1].starts_with(&format!("b (lr {lr}, from step 40 on 0.5, decay ")),
            "{said:?}"
        );
        assert!(said[1].contains("cosine epochs 9"), "{said:?}");
    }

    #[test]
    fn models_of_two_families_are_named() {
        let load = |name: &str| presets::by_name(name).unwrap();
        let said = of(&[
            load("quick/inverse-flow"),
            load("quick/snf"),
            load("quick/macow"),
        ]);
        assert!(said[1].starts_with("b (model snf"), "{said:?}");
        assert!(!said[1].contains("lambda"), "{said:?}");
    }

    #[test]
    fn keys_are_as_long_as_they_must_be() {
        let all = ["train.kernel", "model.mixing.kernel", "seed"];
        assert_eq!(short("train.kernel", &all), "train.kernel");
        assert_eq!(short("model.mixing.kernel", &all), "mixing.kernel");
        assert_eq!(short("seed", &all), "seed");
    }
}
