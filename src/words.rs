//! Counts, devices and dtypes as people and users of torch write them: `1 thread`, `cuda:0`, `float32`.
//!
//! Every text for users takes them from here; what `{:?}` makes of tch's types is for programmers.

use std::fmt::Display;
use tch::{Device, Kind};

/// A number with what it counts, which is written in the singular: `1 thread`, `2 threads`.
pub(crate) fn counted(number: impl Display, one: &str) -> String {
    let number = number.to_string();
    let ending = match number.as_str() {
        "1" => "",
        _ if ["ch", "sh", "s", "x"].iter().any(|end| one.ends_with(end)) => "es",
        _ => "s",
    };
    format!("{number} {one}{ending}")
}

/// A device as `--device` takes it.
pub(crate) fn device(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A dtype by torch's name.
pub(crate) fn dtype(kind: Kind) -> String {
    match kind {
        Kind::Float => "float32".to_owned(),
        Kind::Double => "float64".to_owned(),
        Kind::Half => "float16".to_owned(),
        Kind::Int => "int32".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// `, did you mean x?` with the name in `known` that is nearest to a misspelt one, if any is near.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let alike = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known));
    let nearest = alike.max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, known)) if likeness > 0.8 => format!(", did you mean `{known}`?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "device"), "1 device");
        assert_eq!(counted(0_usize, "thread"), "0 threads");
        assert_eq!(counted(-1, "corner"), "-1 corners");
        assert_eq!(counted("1,234", "parameter"), "1,234 parameters");
        assert_eq!(counted(3, "launch"), "3 launches");
    }

    #[test]
    fn a_name_is_offered_where_it_is_near() {
        let known = ["quick/mnist", "quick/macow", "table3/finc"];
        assert_eq!(
            did_you_mean("quick/mnsit", known),
            ", did you mean `quick/mnist`?"
        );
        assert_eq!(did_you_mean("something", known), "");
        assert_eq!(did_you_mean("x", []), "");
    }

    #[test]
    fn devices_and_dtypes_have_the_names_that_users_write() {
        assert_eq!(device(Device::Cpu), "cpu");
        assert_eq!(device(Device::Cuda(3)), "cuda:3");
        for (kind, name) in [
            (Kind::Float, "float32"),
            (Kind::Double, "float64"),
            (Kind::Half, "float16"),
            (Kind::Int, "int32"),
            (Kind::Int64, "int64"),
            (Kind::Uint8, "uint8"),
            (Kind::BFloat16, "bfloat16"),
            (Kind::Bool, "bool"),
        ] {
            assert_eq!(dtype(kind), name);
        }
    }

    /// What programs and layers count. A word that is missing here is not looked for.
    const COUNTED: [&str; 25] = [
        "byte",
        "channel",
        "column",
        "corner",
        "device",
        "dimension",
        "element",
        "entry",
        "epoch",
        "file",
        "group",
        "image",
        "iteration",
        "kernel",
        "level",
        "minute",
        "number",
        "page",
        "parameter",
        "row",
        "sample",
        "seed",
        "step",
        "tensor",
        "thread",
    ];

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }

    /// The placeholders of a line, `{..}`, each with what follows it.
    fn placeholders(line: &str) -> impl Iterator<Item = (&str, &str)> {
        line.split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}'))
    }

    /// A number that is not given by `counted` before its noun, or a device or dtype by `{:?}`. Constants, which are in
    /// capitals, are never one; and `{} images/s` is a unit.
    fn fault(line: &str) -> Option<String> {
        placeholders(line).find_map(|(inside, after)| {
            let rest = after.strip_prefix(' ').unwrap_or_default();
            let end = rest.find(|c: char| !c.is_ascii_lowercase());
            let (word, next) = rest.split_at(end.unwrap_or(rest.len()));
            let one = word.strip_suffix("ies").map(|stem| format!("{stem}y"));
            let one = one.or_else(|| word.strip_suffix('s').map(str::to_owned));
            let is_constant = inside.starts_with(|c: char| c.is_ascii_uppercase());
            let plural = one.is_some_and(|one| COUNTED.contains(&one.as_str()));
            let debugged = ["device:?", "kind:?", "dtype:?"]
                .iter()
                .any(|end| inside.ends_with(end));
            let counts = plural && !is_constant && !next.starts_with('/');
            (counts || debugged).then(|| format!("{{{inside}}} {word}"))
        })
    }

    #[test]
    fn no_text_has_a_plural_for_one_or_a_name_of_tch() {
        assert!(fault(r#"format!("{} devices, {cudnn}")"#).is_some());
        assert!(fault(r#"format!("{device:?}, {threads}")"#).is_some());
        assert!(fault(r#"format!("{got} entries")"#).is_some());
        for text in ["{name} has {images}", "{MAX} tensors", "{:.1} images/s"] {
            assert_eq!(fault(text), None);
        }
        let mut files = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut files,
        );
        assert!(files.len() > 100);
        let mut faults = Vec::new();
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            // what a failing test prints is for programmers, and tests stand at the end of a file or in one of their own
            let is_tests = file.file_name().is_some_and(|name| name == "tests.rs");
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for (number, line) in code.lines().enumerate().filter(|_| !is_tests) {
                if line.trim_start().starts_with("//") {
                    continue;
                }
                if let Some(fault) = fault(line) {
                    let place = format!("{}:{}", file.display(), number + 1);
                    faults.push(format!("{place}: `{fault}`: use crate::words"));
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
