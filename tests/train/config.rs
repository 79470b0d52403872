//! Where settings come from, and which are refused.

use inverse_flow::flows::{SelfNormConfig, WoodburyRanks};
use inverse_flow::models::{
    GlowConfig, MaCowMixing, MintNetConfig, Mixing, ModelConfig, WoodburyConfig,
};
use inverse_flow::train::{presets, Decay, RunConfig};
use std::path::PathBuf;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn glow(config: &mut RunConfig) -> &mut GlowConfig {
    match &mut config.model {
        ModelConfig::Glow(glow) => glow,
        other => panic!("{other:?}"),
    }
}

fn error_of(text: &str) -> String {
    let (_dir, path) = file(text);
    let message = RunConfig::resolve(None, Some(&path))
        .unwrap_err()
        .to_string();
    assert!(message.contains("config.json"), "{message}");
    message
}

#[test]
fn a_file_changes_what_it_names_and_keeps_the_rest_of_the_preset() {
    let text = r#"{"seed": 7, "model": {"steps": 3, "spline": null, "coupling": {"width": 40}},
        "train": {"decay": {"kind": "exponential", "factor": 0.5}, "max_minutes": 1.5}}"#;
    let (_dir, path) = file(text);
    let preset = presets::by_name("table6/inverse-flow").unwrap();
    let config = RunConfig::resolve(Some("table6/inverse-flow"), Some(&path)).unwrap();
    let mut expected = preset;
    expected.seed = 7;
    let glow = glow(&mut expected);
    glow.steps = 3;
    glow.spline = None;
    glow.coupling.width = 40;
    expected.train.decay = Decay::Exponential { factor: 0.5 };
    expected.train.max_minutes = Some(1.5);
    assert_eq!(config, expected);
}

#[test]
fn the_preset_comes_from_the_flag_then_the_file_then_the_default() {
    let (_dir, path) = file(r#"{"preset": "table6/inverse-flow"}"#);
    let name = |flag, file: Option<&PathBuf>| {
        let mut config = RunConfig::resolve(flag, file.map(PathBuf::as_path)).unwrap();
        let kernel = *glow(&mut config).mixing.kernel_mut().unwrap();
        (config.preset.unwrap(), kernel)
    };
    let table3 = Some("table3/inverse-flow");
    assert_eq!(name(table3, Some(&path)), ("table3/inverse-flow".into(), 2));
    assert_eq!(name(None, Some(&path)), ("table6/inverse-flow".into(), 3));
    assert_eq!(name(None, None).0, presets::DEFAULT);
}

#[test]
fn a_saved_configuration_is_read_back_as_it_was() {
    let mut config = presets::by_name("table3/inverse-flow").unwrap();
    config.train.lr = 0.1 + 0.2;
    config.train.clip_norm = None;
    let (_dir, path) = file(&config.to_json().unwrap());
    assert_eq!(RunConfig::resolve(None, Some(&path)).unwrap(), config);
}

#[test]
fn unknown_keys_and_wrong_types_are_errors() {
    let message = error_of(r#"{"train": {"learning_rate": 1}}"#);
    assert!(
        message.contains("unknown key `train.learning_rate`"),
        "{message}"
    );
    assert!(message.contains("batch_size, lr,"), "{message}");
    assert!(error_of(r#"{"lr": 1}"#).contains("unknown key `lr`"));
    let decay = r#"{"train": {"decay": {"kind": "exponential", "rate": 1}}}"#;
    assert!(error_of(decay).contains("rate"));
    assert!(error_of(r#"{"train": {"lr": "fast"}}"#).contains("fast"));
    assert!(error_of("{").contains("not a JSON"));
    assert!(error_of("[1]").contains("JSON object"));
}

#[test]
fn a_mixing_of_another_kind_replaces_the_old_one_and_takes_its_own_defaults() {
    let resolved = |text: &str| {
        let (_dir, path) = file(text);
        let mut config = RunConfig::resolve(Some("table6/inverse-flow"), Some(&path)).unwrap();
        glow(&mut config).mixing.clone()
    };
    let snf = resolved(r#"{"model": {"mixing": {"kind": "snf", "lambda": 5.0}}}"#);
    let expected = SelfNormConfig {
        lambda: 5.0,
        ..Default::default()
    };
    assert_eq!(snf, Mixing::Snf(expected));
    let same = resolved(r#"{"model": {"mixing": {"kind": "inverse-flow", "kernel": 5}}}"#);
    assert_eq!(same.clone().kernel_mut(), Some(&mut 5));
    assert_eq!(same.name(), "inverse-flow");

    for (text, part) in [
        (r#"{"mixing": {"kind": "glow"}}"#, "inverse-flow"),
        (r#"{"mixing": {"kind": "snf", "taps": 1}}"#, "taps"),
        (r#"{"mixing": {"kind": "emerging", "taps": 1}}"#, "taps"),
        (
            r#"{"mixing": {"lambda": 1}}"#,
            "unknown key `model.mixing.lambda`",
        ),
        (r#"{"architecture": "unet"}"#, "glow"),
        (r#"{"kernel": 3}"#, "unknown key `model.kernel`"),
    ] {
        let message = error_of(&format!(r#"{{"model": {text}}}"#));
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_network_of_its_own_is_changed_key_by_key_and_replaced_as_a_whole() {
    let resolved = |preset, text: &str| {
        let (_dir, path) = file(text);
        RunConfig::resolve(Some(preset), Some(&path)).map(|config| config.model)
    };
    let plain = r#"{"model": {"ranks": {"kind": "plain", "channels": 4, "pixels": 8}}}"#;
    let woodbury = resolved("table6/woodbury", plain).unwrap();
    let expected = WoodburyConfig {
        ranks: WoodburyRanks::Plain {
            channels: 4,
            pixels: 8,
        },
        ..WoodburyConfig::table6()
    };
    assert_eq!(woodbury, expected.into());
    let another = serde_json::to_value(ModelConfig::from(MintNetConfig::mnist())).unwrap();
    let another = serde_json::json!({ "model": another }).to_string();
    let mintnet = resolved("quick/snf", &another).unwrap();
    assert_eq!(mintnet, MintNetConfig::mnist().into());

    let unknown = r#"{"model": {"latents": 4}}"#;
    let message = resolved("quick/mintnet", unknown).unwrap_err().to_string();
    assert!(message.contains("unknown key `model.latents`"), "{message}");
    // MaCow's parts stand in the place of the step's layer, with options of their own
    let units = r#"{"model": {"mixing": {"kind": "macow", "units": 1}}}"#;
    let ModelConfig::Glow(glow) = resolved("table6/snf-harness", units).unwrap() else {
        panic!("no Glow");
    };
    let one = MaCowMixing {
        units: 1,
        ..Default::default()
    };
    assert_eq!(glow.mixing, Mixing::MaCow(one));
}

#[test]
fn values_that_make_no_sense_are_refused_by_name() {
    type Change = fn(&mut RunConfig);
    let cases: [(&str, Change); 8] = [
        ("epochs", |c| c.train.epochs = 0),
        ("lr", |c| c.train.lr = -1.0),
        ("lr", |c| c.train.lr = f64::NAN),
        ("betas", |c| c.train.betas[1] = 1.0),
        ("warmup_epochs", |c| c.train.warmup_epochs = -0.5),
        ("decay", |c| {
            c.train.decay = Decay::Exponential { factor: 1.5 }
        }),
        ("clip_norm", |c| c.train.clip_norm = Some(0.0)),
        ("max_minutes", |c| c.train.max_minutes = Some(0.0)),
    ];
    for (key, change) in cases {
        let mut config = presets::by_name(presets::DEFAULT).unwrap();
        config.validate().unwrap();
        change(&mut config);
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains(&format!("`train.{key}`")), "{message}");
    }
}
