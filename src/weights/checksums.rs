//! A checksum for each tensor and each text of a safetensors file, in the text `crc32` of its metadata:
//! `{"tensors": {NAME: CRC}, "texts": {KEY: CRC}}`, as zip and gzip compute it.
//!
//! The format itself has none, so that a flipped bit of a number would be another number.

use super::Problem;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Its key in the metadata.
const KEY: &str = "crc32";

/// What a file states, or should.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Checksums {
    tensors: BTreeMap<String, u32>,
    texts: BTreeMap<String, u32>,
}

impl Checksums {
    /// Those of what is about to be written.
    pub(super) fn of<'a>(
        tensors: impl Iterator<Item = (&'a str, &'a [u8])>,
        texts: &HashMap<String, String>,
    ) -> Self {
        let texts = texts.iter().filter(|(key, _)| *key != KEY);
        Self {
            tensors: tensors
                .map(|(name, bytes)| (name.to_owned(), crc(bytes)))
                .collect(),
            texts: texts
                .map(|(key, text)| (key.clone(), crc(text.as_bytes())))
                .collect(),
        }
    }

    /// Puts them into the metadata.
    pub(super) fn state_in(
        &self,
        metadata: &mut HashMap<String, String>,
    ) -> serde_json::Result<()> {
        metadata.insert(KEY.to_owned(), serde_json::to_string(self)?);
        Ok(())
    }

    /// Those that a file states, its texts compared with theirs; none in a file of another program.
    pub(super) fn stated(metadata: &HashMap<String, String>) -> Result<Self, Problem> {
        let Some(text) = metadata.get(KEY) else {
            return Ok(Self::default());
        };
        // another program may mean something else by the word
        let Ok(stated) = serde_json::from_str::<Self>(text) else {
            return Ok(Self::default());
        };
        for (key, expected) in &stated.texts {
            if metadata.get(key).map(|text| crc(text.as_bytes())) != Some(*expected) {
                return Err(format!(
                    "the checksum of `{key}` in its metadata is not that of the file: the file is damaged, use another copy"
                ));
            }
        }
        Ok(stated)
    }

    /// That of a tensor.
    pub(super) fn of_tensor(&self, name: &str) -> Option<u32> {
        self.tensors.get(name).copied()
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
