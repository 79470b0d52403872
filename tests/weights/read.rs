//! Files of PyTorch, made by PyTorch: every tensor is read as it is, and what cannot be read is named.

use crate::python::{made_by_python, Folder};
use crate::support::{snapshot, targets};
use inverse_flow::train::{build_model, load_into, model_fingerprint, presets, Weights};
use inverse_flow::weights::{Format, Naming, StateFile};
use serde_json::Value;
use std::path::Path;
use tch::{Device, Kind, Tensor};

fn expected(folder: &Folder) -> Value {
    serde_json::from_slice(&std::fs::read(folder.path().join("expected.json")).unwrap()).unwrap()
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

/// Reads all of a file and compares it with what PyTorch wrote.
#[track_caller]
fn reads(file: &Path, expected: &Value, format: Format) {
    let state = StateFile::open(file).unwrap();
    assert_eq!(state.format(), format, "{}", file.display());
    let expected = expected.as_object().unwrap();
    let shape = |about: &Value| -> Vec<i64> {
        let sizes = about["shape"].as_array().unwrap().iter();
        sizes.map(|size| size.as_i64().unwrap()).collect()
    };
    let targets: Vec<_> = expected
        .iter()
        .map(|(name, about)| {
            let kind = kind(about["dtype"].as_str().unwrap());
            (
                name.clone(),
                Tensor::zeros(shape(about), (kind, tch::Device::Cpu)),
            )
        })
        .collect();
    let filled = targets
        .iter()
        .map(|(name, t)| (name.clone(), t.shallow_clone()));
    state
        .load(filled.collect(), Naming::Any { layers: &[] })
        .unwrap();
    for (name, tensor) in targets {
        let tensor = match tensor.kind() {
            Kind::ComplexFloat => Tensor::view_as_real(&tensor),
            _ => tensor,
        };
        let got = Vec::<f64>::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap();
        let values = expected[&name]["values"].as_array().unwrap().iter();
        let values: Vec<f64> = values.map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(got, values, "{} {name}", file.display());
    }
}

#[test]
fn every_file_of_pytorch_is_read_as_it_was_written() {
    let folder = made_by_python(&[]);
    let expected = expected(&folder);
    let mut read = 0;
    for (name, format) in [
        ("kinds.pt", Format::StateDict),
        ("flat.pt", Format::StateDict),
        ("protocol5.pt", Format::StateDict),
        ("dict.pt", Format::StateDict),
        ("parallel.pt", Format::StateDict),
        ("big.pt", Format::StateDict),
        ("wide.pt", Format::StateDict),
        ("nested.pt", Format::Checkpoint),
        ("only.pt", Format::Checkpoint),
        ("legacy.pt", Format::StateDict),
        ("legacy_nested.pt", Format::Checkpoint),
        ("program.pt2", Format::Exported),
        ("script.pt", Format::TorchScript),
        ("trace.pt", Format::TorchScript),
    ] {
        reads(&folder.path().join(name), &expected[name], format);
        read += 1;
    }
    assert_eq!(
        read,
        expected.as_object().unwrap().len(),
        "none is left out"
    );
    let script = StateFile::open(&folder.path().join("script.pt")).unwrap();
    assert_eq!(script.metadata("format"), Some("other"));
    assert_eq!(script.metadata("config"), Some(r#"{"a":1}"#));
    let nested = StateFile::open(&folder.path().join("nested.pt")).unwrap();
    for expected in [
        "args: `argparse.Namespace`",
        "pathlib",
        "optimizer_state_dict",
        "epoch",
    ] {
        let others = nested.left_out().join(", ");
        assert!(others.contains(expected), "no {expected} in {others}");
    }
}

#[test]
fn what_cannot_be_read_is_named_with_the_way_out() {
    let folder = made_by_python(&[]);
    for (name, expected) in [
        ("opaque.pt", "is a pickled object of `argparse.Namespace`"),
        ("opaque.pt", "torch.save(model.state_dict(), FILE)"),
        ("sparse.pt", "`a` is not read: it is sparse"),
        ("meta.pt", "`a` is not read: it is on the device `meta`"),
        ("conj.pt", "`a` is not read: it is conjugated"),
        ("no_tensors.pt", "no tensors under a, b"),
        ("empty.pt", "holds no tensors"),
        ("list.pt", "holds a list of 1 tensor without names"),
        ("unnamed.pt", "no tensors"),
        ("bare.pkl", "a bare pickle"),
        ("text.pt", "neither safetensors nor an archive"),
        ("nothing.pt", "is empty"),
        ("other.zip", "not one of PyTorch"),
        ("packed.pt", "is compressed"),
        ("missing.pt", "No such file"),
        (".", "is not a file"),
    ] {
        let path = folder.path().join(name);
        let model = targets(&[("a", &[2], Kind::Float)]);
        let naming = Naming::Any { layers: &[] };
        let loaded = StateFile::open(&path).and_then(|file| file.load(model, naming));
        let message = loaded.unwrap_err().to_string();
        assert!(message.contains(expected), "{name}: {message}");
        assert!(message.starts_with(&*path.to_string_lossy()), "{message}");
        assert!(message.lines().count() == 1, "{message}");
    }
}

#[test]
fn every_difference_is_listed_at_once_and_nothing_changes() {
    let folder = made_by_python(&[]);
    for name in ["flat.pt", "parallel.pt", "nested.pt", "script.pt"] {
        let wrong = targets(&[
            ("first.weight", &[5, 3], Kind::Float),
            ("first.bias", &[4], Kind::Float),
            ("list.0.weight", &[4, 2, 3, 3], Kind::Int),
            ("list.0.bias", &[4], Kind::Double),
            ("seen", &[], Kind::Float),
            ("absent.a", &[1], Kind::Float),
            ("absent.b", &[], Kind::Bool),
        ]);
        let before = snapshot(&wrong);
        let again = wrong
            .iter()
            .map(|(name, t)| (name.clone(), t.shallow_clone()));
        let state = StateFile::open(&folder.path().join(name)).unwrap();
        let naming = Naming::Any { layers: &[] };
        let message = state.load(again.collect(), naming).unwrap_err().to_string();
        for expected in [
            "missing `absent.a`, missing `absent.b`",
            "list.1.weight`",
            "count`",
            "`first.bias` is float32 [5]",
            "in the file, float32 [4] in the model",
            "`list.0.weight` is float32 [4, 2, 3, 3]",
            "in the file, int32 [4, 2, 3, 3] in the model",
            "`seen` is bool []",
        ] {
            assert!(
                message.contains(expected),
                "{name}: no {expected} in {message}"
            );
        }
        for fine in ["`first.weight`", "`list.0.bias`"] {
            assert!(!message.contains(fine), "{name}: {message}");
        }
        assert_eq!(snapshot(&wrong), before);
    }
}

/// As the training programs of diffusion models write them.
#[test]
fn averages_whose_names_have_no_dots_do_not_hide_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.safetensors");
    let config = presets::by_name(presets::DEFAULT).unwrap();
    let (model, vs) = build_model(&config, Device::Cpu).unwrap();
    let mut all = vec![("model_ema.decay".to_owned(), Tensor::from(0.999f32))];
    for (name, tensor) in vs.variables() {
        let joined = name.replace('.', "");
        all.push((format!("model_ema.{joined}"), tensor.zeros_like()));
        all.push((format!("model.{name}"), tensor.detach().copy()));
    }
    Tensor::write_safetensors(&all, &path).unwrap();
    let expected = model_fingerprint(&config, &vs).unwrap();
    tch::no_grad(|| {
        vs.variables()
            .into_values()
            .for_each(|mut tensor| drop(tensor.f_zero_()))
    });
    let file = StateFile::open(&path).unwrap();
    let report = load_into(&file, &model, &vs, Weights::Averaged).unwrap();
    assert_eq!(model_fingerprint(&config, &vs).unwrap(), expected);
    let said = report.remarks.join("\n");
    assert!(
        said.contains("no dots") && said.contains("`model_ema.`"),
        "{said}"
    );
}
