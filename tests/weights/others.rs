//! Files as other people's programs leave them: each is read, or named with the way out, as `make_other_files.py` says.

use crate::python;
use inverse_flow::weights::{Dictionary, Naming, StateFile};
use serde_json::Value;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Texts under a key of a case.
fn texts<'a>(case: &'a Value, key: &str) -> Vec<&'a str> {
    let texts = case[key].as_array().into_iter().flatten();
    texts.map(|text| text.as_str().unwrap()).collect()
}

fn kind(name: &str) -> Kind {
    match name {
        "float32" => Kind::Float,
        "float64" => Kind::Double,
        "float16" => Kind::Half,
        "bfloat16" => Kind::BFloat16,
        "int64" => Kind::Int64,
        "int32" => Kind::Int,
        "int16" => Kind::Int16,
        "int8" => Kind::Int8,
        "uint8" => Kind::Uint8,
        "bool" => Kind::Bool,
        "complex64" => Kind::ComplexFloat,
        other => panic!("{other}"),
    }
}

/// The variables of the model of a case, full of sevens.
fn model(tensors: &Value) -> Vec<(String, Tensor)> {
    let one = |(name, about): (&String, &Value)| {
        let sizes = about["shape"].as_array().unwrap().iter();
        let sizes: Vec<i64> = sizes.map(|size| size.as_i64().unwrap()).collect();
        let kind = kind(about["dtype"].as_str().unwrap());
        (name.clone(), Tensor::full(sizes, 7, (kind, Device::Cpu)))
    };
    tensors.as_object().unwrap().iter().map(one).collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let plain = match tensor.kind() {
        Kind::ComplexFloat => Tensor::view_as_real(tensor),
        _ => tensor.shallow_clone(),
    };
    Vec::try_from(plain.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

/// Opens the file of a case as the flags `--key` and `--prefix` have it.
fn open(folder: &Path, case: &Value) -> inverse_flow::Result<StateFile> {
    let mut file = StateFile::open(&folder.join(case["file"].as_str().unwrap()))?;
    if let Some(key) = case["key"].as_str() {
        file.choose(key)?;
    }
    if let Some(prefix) = case["prefix"].as_str() {
        file.below(prefix)?;
    }
    Ok(file)
}

fn check(folder: &Path, case: &Value) {
    let name = case["file"].as_str().unwrap();
    let model = model(&case["tensors"]);
    let copies = || {
        model
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect()
    };
    let naming = Naming::Any { layers: &[] };
    let opened = open(folder, case);
    if let Some(expected) = case["refused"].as_str() {
        let message = opened.unwrap_err().to_string();
        assert!(message.contains(expected), "{name}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        return;
    }
    let loaded = match &opened {
        Ok(file) => file.load(copies(), naming),
        Err(err) => Err(inverse_flow::Error::config(err.to_string())),
    };
    if let Ok(file) = &opened {
        let paths: Vec<_> = file
            .dictionaries()
            .iter()
            .map(|one| &one.path[..])
            .collect();
        if case["lists"].is_array() {
            assert_eq!(paths, texts(case, "lists"), "{name}");
        }
        let left_out = file.left_out().join("\n");
        for expected in texts(case, "left_out") {
            assert!(left_out.contains(expected), "{name}: {left_out}");
        }
        for (key, reason) in case["unread"].as_object().into_iter().flatten() {
            let reasons = file.dictionaries().iter();
            let found = reasons
                .filter_map(|one: &Dictionary| one.unread.get(key))
                .next();
            let found = found.unwrap_or_else(|| panic!("{name}: `{key}` is not listed"));
            assert!(found.contains(reason.as_str().unwrap()), "{name}: {found}");
        }
    }
    if let Some(expected) = case["error"].as_str() {
        let message = loaded.unwrap_err().to_string();
        assert!(message.contains(expected), "{name}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        for (key, tensor) in &model {
            let sevens = Tensor::full_like(tensor, 7);
            assert_eq!(numbers(tensor), numbers(&sevens), "{name} {key} changed");
        }
        return;
    }
    let report = loaded.unwrap_or_else(|err| panic!("{name}: {err}"));
    let remarks = report.remarks.join("\n");
    for expected in texts(case, "remarks") {
        assert!(
            remarks.contains(expected),
            "{name}: no {expected} in {remarks}"
        );
    }
    if case["silent"] == true {
        assert_eq!(remarks, "", "{name}");
    }
    for (key, tensor) in &model {
        let Some(values) = case["tensors"][key]["values"].as_array() else {
            continue;
        };
        let values: Vec<f64> = values.iter().map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(numbers(tensor), values, "{name} {key}");
    }
}

/// Makes the files of one kind and checks them all.
fn all(kind: &str, at_least: usize) {
    let folder = tempfile::tempdir().unwrap();
    python::run("make_other_files.py", folder.path(), &[kind]);
    let cases = std::fs::read(folder.path().join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    assert!(cases.len() >= at_least, "{kind}: {} cases", cases.len());
    for case in &cases {
        check(folder.path(), case);
    }
}

#[test]
fn the_dictionary_that_fits_is_found_wherever_it_lies() {
    all("places", 37);
}

#[test]
fn names_fit_without_what_wrappers_add() {
    all("names", 20);
}

#[test]
fn files_from_before_pytorch_1_6_are_read() {
    all("legacy", 12);
}

#[test]
fn other_kinds_of_numbers_are_read_or_listed_with_the_reason() {
    all("kinds", 12);
}

#[test]
fn files_of_other_kinds_are_named_with_what_helps() {
    all("foreign", 20);
}
