//! From defaults, a preset and a file to a configuration.

use super::{presets, RunConfig};
use crate::words::did_you_mean;
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

impl RunConfig {
    /// Defaults, overlaid by a preset, overlaid by a JSON file that may hold any subset of the keys. The
    /// preset is the argument, else the file's `preset`, else [`presets::DEFAULT`].
    ///
    /// # Errors
    /// An unknown preset, a file that cannot be read, an unknown key or a value of the wrong type.
    pub fn resolve(preset: Option<&str>, file: Option<&Path>) -> Result<Self> {
        let overlay = file.map(read_json).transpose()?;
        let named = overlay
            .as_ref()
            .and_then(|o| o.get("preset"))
            .and_then(Value::as_str);
        let mut config = presets::by_name(preset.or(named).unwrap_or(presets::DEFAULT))?;
        if let (Some(path), Some(mut overlay)) = (file, overlay) {
            if let (Some(name), Some(key)) = (preset, overlay.get_mut("preset")) {
                *key = name.into();
            }
            config = config
                .overlaid(overlay)
                .map_err(|problem| Error::file(path, problem))?;
        }
        Ok(config)
    }

    /// This configuration with the values of a JSON file, which may hold any subset of the keys, in place of its own.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key or a value of the wrong type.
    pub fn with_file(&self, file: &Path) -> Result<Self> {
        self.overlaid(read_json(file)?)
            .map_err(|problem| Error::file(file, problem))
    }

    /// This configuration with the values of `overlay` in place of its own.
    fn overlaid(&self, overlay: Value) -> std::result::Result<Self, String> {
        let mut value = serde_json::to_value(self).map_err(|err| err.to_string())?;
        merge(&mut value, overlay, "")?;
        serde_json::from_value(value).map_err(|err| err.to_string())
    }
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|err| Error::file(path, err))?;
    let mut value: Value = serde_json::from_str(&text)
        .map_err(|err| Error::file(path, format!("not a JSON configuration: {err}")))?;
    let Some(object) = value.as_object_mut() else {
        let problem = "not a configuration: expected a JSON object like a run's config.json";
        return Err(Error::file(path, problem));
    };
    // the history of the run that it is from is no setting
    object.shift_remove("changes");
    Ok(value)
}

/// Keys whose value decides which other keys there are.
const TAGS: [&str; 2] = ["kind", "architecture"];

/// Puts the values of `overlay` into `base`, object by object; a key that `base` does not have is an error.
fn merge(base: &mut Value, overlay: Value, path: &str) -> std::result::Result<(), String> {
    let is_another_kind = TAGS
        .iter()
        .any(|tag| overlay.get(tag).is_some() && overlay.get(tag) != base.get(tag));
    match (base, overlay) {
        // an object of another kind has other keys, so it replaces the old one as a whole
        (Value::Object(base), Value::Object(overlay)) if !is_another_kind => {
            for (key, value) in overlay {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match base.get_mut(&key) {
                    Some(slot) => merge(slot, value, &path)?,
                    None => {
                        let known: Vec<_> = base.keys().map(String::as_str).collect();
                        return Err(format!(
                            "unknown key `{path}`{}; known here: {}",
                            did_you_mean(&key, known.iter().copied()),
                            known.join(", ")
                        ));
                    }
                }
            }
        }
        (base, overlay) => *base = overlay,
    }
    Ok(())
}
