//! From a configuration to what its source holds.

use super::survey::classes;
use super::{load, own, DataConfig, Dataset, Source, Survey};
use crate::Result;

/// Looks at all images of a source; pictures may have any sizes, and some may be damaged.
///
/// # Errors
/// Nothing there, nothing that is known, or files that are not what they should be.
pub fn survey(config: &DataConfig, seed: u64) -> Result<Survey> {
    if let Source::Own(path) = &config.name {
        config.check()?;
        if let Some(survey) = own::survey_folder(path, config)? {
            return Ok(survey);
        }
    }
    let splits = load(config, seed)?;
    let kind = match &config.name {
        Source::Known(_) => "data set that is known by its name",
        Source::Own(path) => own::check(path)?,
    };
    let all = [&splits.train, &splits.val, &splits.test];
    Ok(Survey {
        kind,
        splits: all.map(Dataset::len),
        sizes: vec![(splits.train.chw, all.iter().map(|data| data.len()).sum())],
        classes: classes(
            all.iter().flat_map(|data| &data.labels),
            &splits.train.classes,
        ),
        fingerprint: splits.fingerprint,
        remarks: splits.remarks,
    })
}
