//! Models that leave this program and come back, from the command line; the layout of the paper's code; old versions.

use crate::python::{add_by_python, made_by_python};
use crate::run::{done, fails, run};
use inverse_flow::models::{
    CouplingConfig, CouplingForm, GlowConfig, InverseFlowConfig, Mixing, ModelConfig, Net,
    SplineConfig,
};
use inverse_flow::train::{build_model, load_state, presets, Checkpoint, RunConfig};
use inverse_flow::weights::{Format, StateFile};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

fn nll(folder: &Path, arguments: &str) -> f64 {
    let command = format!("eval {arguments} --json --limit 20 --dequantize midpoint --device cpu");
    let result: Value = serde_json::from_str(&done(folder, &command)).unwrap();
    result["nll_nats"].as_f64().unwrap()
}

#[test]
fn a_model_goes_to_every_format_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, RUN);
    let expected = nll(at, "run");

    done(at, "convert run model.safetensors");
    assert_eq!(nll(at, "model.safetensors"), expected);
    let message = fails(at, "eval model.safetensors --preset quick/snf", 2);
    assert!(
        message.contains("leave --preset and --config out"),
        "{message}"
    );
    let message = Checkpoint::open(&at.join("model.safetensors")).unwrap_err();
    assert!(message.to_string().contains("not resumed"), "{message}");

    for options in ["", "--operator "] {
        done(at, &format!("convert {options}run program.pt"));
        assert_eq!(nll(at, "program.pt"), expected, "{options}");
        std::fs::remove_file(at.join("program.pt")).unwrap();
    }

    done(at, "convert model.safetensors model.ot");
    let message = fails(at, "eval model.ot", 1);
    assert!(message.contains("--preset P or --config F"), "{message}");
    assert_eq!(nll(at, "model.ot --config run/config.json"), expected);

    // through PyTorch, which reads the .ot by itself
    add_by_python(at, &["like", at.join("model.ot").to_str().unwrap()]);
    for file in ["like.pt", "like_nested.pt"] {
        assert_eq!(
            nll(at, &format!("{file} --config run/config.json")),
            expected,
            "{file}"
        );
    }
    done(
        at,
        "convert like_nested.pt back.safetensors --config run/config.json",
    );
    assert_eq!(nll(at, "back.safetensors"), expected);
    // half precision is widened, and is another model by its rounding; double precision is rounded back
    let rounded = nll(at, "half.pt --config run/config.json");
    assert!((rounded - expected).abs() < 0.02 * expected.abs() && rounded != expected);
    assert_eq!(nll(at, "double.pt --config run/config.json"), expected);

    done(
        at,
        "sample like.pt --config run/config.json --count 3 --out a.png",
    );
    done(at, "sample run --count 3 --out b.png");
    let bytes = |name: &str| std::fs::read(at.join(name)).unwrap();
    assert_eq!(bytes("a.png"), bytes("b.png"));
    done(
        at,
        "reconstruct like.pt --config run/config.json --count 3 --out c.png",
    );

    let listed = done(at, "inspect like.pt");
    assert!(
        listed.contains("levels.0.steps.0.inv_conv.weight"),
        "{listed}"
    );
    let listed: Value = serde_json::from_str(&done(at, "inspect like_nested.pt --json")).unwrap();
    assert_eq!(listed["format"], "PyTorch training checkpoint");
    let named = |name: &str| {
        let tensors = listed["tensors"].as_array().unwrap().iter();
        tensors
            .clone()
            .find(|tensor| tensor["name"] == name)
            .cloned()
    };
    let weight = named("module.levels.0.steps.0.inv_conv.weight").unwrap();
    assert_eq!(weight["shape"], serde_json::json!([4, 4, 3, 3]));
    assert_eq!(weight["dtype"], "float32");
    let about: Value =
        serde_json::from_str(&done(at, "inspect like.pt --config run/config.json --json")).unwrap();
    assert_eq!(about["model"], "inverse-flow");

    let message = fails(
        at,
        "convert like.pt wrong.safetensors --preset quick/snf",
        1,
    );
    for expected in [
        "missing `levels.0.steps.0.self_norm.bias`",
        "unexpected `levels.0.steps.0.inv_conv.weight`",
    ] {
        assert!(message.contains(expected), "no {expected} in {message}");
    }
    assert!(!at.join("wrong.safetensors").exists());
    let message = fails(at, "convert run model.onnx", 2);
    assert!(
        message.contains(".safetensors, .ot, .pt or .pth"),
        "{message}"
    );
}

const RUN: &str = "train --limit 30 --batch-size 10 --levels 2 --steps 1 --width 4 --epochs 1 --device cpu --quiet --out run";

/// The model of a run in the formats that PyTorch reads.
fn converted(at: &Path) {
    done(at, "convert run program.pt");
    done(at, "convert run weights.pth");
    done(at, "convert run plain.pt --state-dict");
}

#[test]
fn what_python_saves_again_keeps_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, RUN);
    let expected = nll(at, "run");
    converted(at);
    add_by_python(at, &["again"]);
    for file in ["weights.pth", "plain.pt", "program_again.pt"] {
        assert_eq!(nll(at, file), expected, "{file}");
    }
    // a dictionary that Python wrote has no place for a configuration
    for file in ["weights_again.pth", "wrapped_again.pth", "old_again.pth"] {
        let arguments = format!("{file} --config run/config.json");
        assert_eq!(nll(at, &arguments), expected, "{file}");
    }
}

#[test]
fn the_dictionary_of_a_file_is_chosen_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, RUN);
    let expected = nll(at, "run");
    converted(at);
    add_by_python(at, &["again"]);
    let said = |arguments: &str| {
        let output = run(
            at,
            &format!("eval {arguments} --config run/config.json --limit 20"),
        );
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let message = said("both.pth");
    let line = "weights: `state_dict` is taken; `state_dict_ema` would fit too: `--key state_dict_ema` takes that";
    assert!(message.contains(line), "{message}");
    let message = said("both.pth --key state_dict_ema --prefix shadow.");
    assert!(
        message.contains("weights: `state_dict_ema` is taken"),
        "{message}"
    );
    let config = "--config run/config.json";
    assert_eq!(nll(at, &format!("both.pth {config}")), expected);
    assert_ne!(
        nll(at, &format!("both.pth --key state_dict_ema {config}")),
        expected
    );
    let listed = done(at, "inspect both.pth");
    for line in [
        "`state_dict`: ",
        "`state_dict_ema`: ",
        "not read: optimizer: the state of an optimiser",
    ] {
        assert!(listed.contains(line), "no {line} in {listed}");
    }
    let listed: Value = serde_json::from_str(&done(at, "inspect both.pth --json")).unwrap();
    assert_eq!(listed["dictionaries"][1]["key"], "state_dict_ema");
    assert_eq!(listed["key"], "state_dict");
}

#[test]
fn a_flipped_bit_of_a_number_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, RUN);
    done(at, "convert run model.safetensors");
    done(at, "convert run model.ot");
    let path = at.join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let data = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    const FLIPS: usize = 12;
    let mut seen = 0;
    for i in 0..FLIPS {
        let mut bytes = whole.clone();
        let place = data + i * (whole.len() - data) / FLIPS;
        bytes[place] ^= 1 << (i % 8);
        std::fs::write(&path, &bytes).unwrap();
        let message = fails(at, "inspect model.safetensors", 1);
        assert!(
            message.contains("its checksum is not that of the file"),
            "{message}"
        );
        seen += 1;
    }
    assert_eq!(seen, FLIPS);

    // a text of the metadata: the learning rate of the configuration
    let header = String::from_utf8(whole[8..data].to_vec()).unwrap();
    let at_rate = header.find("\\\"seed\\\":").unwrap() + 9 + 8;
    let mut bytes = whole.clone();
    bytes[at_rate] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let message = fails(at, "inspect model.safetensors", 1);
    assert!(message.contains("the checksum of `config`"), "{message}");

    // tch's own format
    let path = at.join("model.ot");
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(done(at, "inspect model.ot").contains("checksums: "));
    let text = b"levels|0|steps|0|inv_conv|weight";
    assert!(bytes.windows(text.len()).any(|part| part == text));
    // the first entry of the archive: the bytes of a tensor behind a header of 30 bytes, a name and an extra field
    let length = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let place = 30 + length(26) + length(28);
    bytes[place] ^= 4;
    std::fs::write(&path, &bytes).unwrap();
    let message = fails(at, "inspect model.ot", 1);
    assert!(message.contains("checksum"), "{message}");

    // files of older programs have none, which is said
    let old =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint-1.safetensors");
    let output = run(at, &format!("eval {} --limit 20", old.display()));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("weights: the file has no checksums"),
        "{message}"
    );
    let output = run(at, "eval run --limit 20");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!message.contains("weights:"), "{message}");
}

#[test]
fn a_checkpoint_of_version_1_still_means_the_same() {
    let file =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint-1.safetensors");
    let dir = tempfile::tempdir().unwrap();
    // what the program of that time measured
    let nll = nll(dir.path(), file.to_str().unwrap());
    assert!((nll - 2_353.176_7).abs() < 1e-2, "{nll}");
    let checkpoint = Checkpoint::open(&file).unwrap();
    assert_eq!(
        (checkpoint.progress.step, checkpoint.progress.epoch),
        (2, 1)
    );
    let (model, vs) = build_model(&checkpoint.config, Device::Cpu).unwrap();
    let mut learner =
        inverse_flow::train::Learner::new(model, vs, &checkpoint.config.train).unwrap();
    checkpoint.load(&mut learner).unwrap();
}

/// The model that the published checkpoint is of; see tests/python/make_state_files.py.
fn published(mixing: Mixing) -> RunConfig {
    let mut config = presets::by_name(presets::DEFAULT).unwrap();
    config.model = ModelConfig::Glow(GlowConfig {
        image: [1, 8, 4],
        levels: 2,
        steps: 1,
        alpha: 1e-6,
        classes: None,
        actnorm: true,
        mixing,
        mix_twice: false,
        spline: Some(SplineConfig {
            bins: 3,
            tail: 20.0,
            shared: false,
        }),
        last_spline: true,
        reverse_channels: false,
        coupling: CouplingConfig {
            net: Net::N,
            width: 5,
            zero_init_last: false,
        },
        coupling_form: CouplingForm::Affine,
        split_prior: Some(6),
    });
    config
}

#[test]
fn a_checkpoint_in_the_layout_of_the_papers_code_is_read() {
    let folder = made_by_python(&["published"]);
    let file = StateFile::open(&folder.path().join("published.tar")).unwrap();
    assert_eq!(file.format(), Format::Checkpoint);
    let kernel = |kernel| {
        Mixing::InverseFlow(InverseFlowConfig {
            kernel,
            ..InverseFlowConfig::default()
        })
    };
    let (model, vs) = load_state(&file, &published(kernel(2)), Device::Cpu).unwrap();
    let theirs: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("published.json")).unwrap())
            .unwrap();
    let variables = vs.variables();
    let mut seen = 0;
    for (ours, key) in [
        ("levels.0.steps.0.actnorm.loc", "5.translation"),
        ("levels.0.steps.0.actnorm.log_scale", "5.log_scale"),
        ("levels.0.steps.0.actnorm.initialized", "5.initialized"),
        ("levels.0.steps.0.inv_conv.weight", "6.weight_fwd"),
        ("levels.0.steps.0.spline.widths", "7.unnormalized_widths"),
        ("levels.0.steps.0.spline.heights", "7.unnormalized_heights"),
        (
            "levels.0.steps.0.spline.derivatives",
            "7.unnormalized_derivatives",
        ),
        ("levels.0.steps.0.coupling.net.0.weight", "8.net.0.weight"),
        ("levels.0.steps.0.coupling.net.4.logs", "8.net.4.logs"),
        (
            "levels.0.split.coupling.net.2.weight",
            "9.transform.net.2.weight",
        ),
        ("levels.1.steps.0.actnorm.loc", "11.translation"),
        ("levels.1.steps.0.inv_conv.weight", "12.weight_fwd"),
        ("levels.1.steps.0.coupling.net.4.bias", "14.net.4.bias"),
    ] {
        let got = variables[ours].to_kind(Kind::Double).flatten(0, -1);
        let values = theirs[key]["values"].as_array().unwrap().iter();
        let values: Vec<f64> = values.map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(got, Tensor::from_slice(&values), "{ours}");
        seen += 1;
    }
    assert_eq!(seen, 13);
    let images = Tensor::full([2, 1, 8, 4], 100, (Kind::Float, Device::Cpu));
    let log_prob = model.log_prob(&images, inverse_flow::flows::Cx::default());
    assert_eq!(log_prob.unwrap().size(), [2]);

    let message = load_state(&file, &published(kernel(3)), Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`levels.0.steps.0.inv_conv.weight` is float32 [4, 4, 2, 2] as `6.weight_fwd` in the file"),
        "{message}"
    );
    let finc = Mixing::by_name("finc").unwrap();
    let message = load_state(&file, &published(finc), Device::Cpu)
        .unwrap_err()
        .to_string();
    for expected in [
        "missing `6.conv_tl.conv.weight` for `levels.0.steps.0.finc.weight`",
        "missing `12.conv_br.conv.weight` for",
        "unexpected `6.weight_fwd`",
    ] {
        assert!(message.contains(expected), "no {expected} in {message}");
    }
    let emerging = Mixing::by_name("emerging").unwrap();
    let message = load_state(&file, &published(emerging), Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("no counterpart of `levels.0.steps.0.emerging"),
        "{message}"
    );
}
