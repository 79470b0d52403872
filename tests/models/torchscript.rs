//! TorchScript files of every family: what they compute, in Rust by `CModule`, and in Python by
//! `tests/python/test_torchscript.py`, which runs this test for the files (`INVERSE_FLOW_SCRIPT_FILES` says where to).

use crate::common::*;
use crate::support::*;
use inverse_flow::flows::{
    to_range, Bits, ButterflyInit, Cx, FixedPoint, SelfNormConfig, WoodburyRanks,
};
use inverse_flow::models::*;
use inverse_flow::torchscript::{archive, Solve};
use inverse_flow::train::{build_model, load_state, presets, save_torchscript, stored_config};
use inverse_flow::weights::StateFile;
use inverse_flow::Error;
use serde_json::json;
use std::path::{Path, PathBuf};
use tch::{CModule, IValue, Kind, Tensor};

/// Every family on the common backbone, and the networks that families were published with.
fn models() -> Vec<(String, ModelConfig)> {
    let image = [3, 12, 8];
    let mut models: Vec<(String, ModelConfig)> = families(image, 2, 2)
        .into_iter()
        .map(|(name, config)| (name.replace(' ', "-"), config.into()))
        .collect();
    let mut add = |name: &str, config: ModelConfig| models.push((name.to_owned(), config));
    let bounded = InverseFlowConfig {
        kernel: 3,
        bound: Some(0.5),
        ..Default::default()
    };
    let coupling = |net| CouplingConfig {
        net,
        width: 7,
        zero_init_last: false,
    };
    let glow = |mixing, net| GlowConfig {
        mixing,
        coupling: coupling(net),
        ..small(image, 2, 1)
    };
    let shared = GlowConfig {
        spline: Some(SplineConfig {
            bins: 5,
            tail: 3.0,
            shared: true,
        }),
        split_prior: None,
        ..glow(Mixing::InverseFlow(bounded), Net::T)
    };
    add("inverse-flow-bounded", shared.into());
    let centred = SelfNormConfig {
        kernel: 3,
        ..Default::default()
    };
    add("snf-3x3", glow(Mixing::Snf(centred), Net::W).into());
    let plain = WoodburyMixing {
        ranks: WoodburyRanks::Plain {
            channels: 3,
            pixels: 2,
        },
    };
    add(
        "woodbury-plain",
        glow(Mixing::Woodbury(plain), Net::N).into(),
    );
    add("macow-own", macow(image).into());
    let woodbury = WoodburyConfig {
        image,
        levels: 2,
        steps: 1,
        width: 6,
        ranks: WoodburyRanks::MemoryEfficient {
            channels: 3,
            width: 2,
            height: 2,
        },
        classes: None,
    };
    add("woodbury-own", woodbury.into());
    let butterfly = ButterflyConfig {
        image,
        levels: 2,
        steps: 1,
        width: 6,
        factors: 2,
        init: ButterflyInit::Rotation,
        classes: None,
    };
    add("butterfly-own", butterfly.into());
    let mintnet = MintNetConfig {
        image,
        layers: 2,
        subsamplings: 1,
        latent: 8,
        alpha: 0.05,
        inverse: FixedPoint::default(),
        classes: None,
    };
    add("mintnet", ModelConfig::MintNet(mintnet));
    models
}

fn macow(image: [i64; 3]) -> MaCowConfig {
    let block = MaCowBlock { steps: 1, width: 5 };
    MaCowConfig {
        image,
        kernel: [2, 3],
        units: 1,
        bottom: Some(block.clone()),
        internal: vec![MaCowSplitBlock {
            steps: vec![1, 1],
            factor: 3,
            width: 5,
        }],
        top: block,
        classes: None,
    }
}

/// A model with nothing at its start, and its variables.
fn made(config: &ModelConfig) -> (tch::nn::VarStore, MultiScale) {
    let [c, h, w] = config.image();
    let vs = store(Kind::Float);
    let mut flow = seeded(|| build(&vs.root(), config)).unwrap();
    let first = images(1, &[4, c, h, w]).to_kind(Kind::Float);
    flow.initialize(&first, Cx::default()).unwrap();
    shake(&vs, 7, 0.05);
    (vs, flow)
}

/// What our side makes of some images and latents, by name.
fn answers(
    config: &ModelConfig,
    vs: &tch::nn::VarStore,
    flow: &MultiScale,
) -> Vec<(String, Tensor)> {
    let [c, h, w] = config.image();
    let float = |t: Tensor| t.to_kind(Kind::Float);
    let (x, noise) = (
        float(images(2, &[3, c, h, w])),
        float(uniform(3, &[3, c, h, w])),
    );
    let cx = Cx {
        noise: Some(&noise),
        ..Cx::default()
    };
    let log_prob = flow.log_prob(&x, cx).unwrap();
    log_prob.mean(Kind::Float).backward();
    let Encoded { latents, log_det } = flow.encode(&x, cx).unwrap();
    let eps: Vec<Tensor> = (40..)
        .zip(flow.latent_shapes())
        .map(|(seed, [c, h, w])| float(normal(seed, &[5, c, h, w])) * 0.7)
        .collect();
    let latents_of_eps = Latents(eps.iter().map(Tensor::shallow_clone).collect());
    let images = sample(flow, &latents_of_eps, 1.0).unwrap();
    let mut answers = vec![
        (
            "midpoint".to_owned(),
            flow.log_prob(&x, Cx::default()).unwrap(),
        ),
        ("x".to_owned(), x),
        ("noise".to_owned(), noise),
        ("log_prob".to_owned(), log_prob),
        ("log_det".to_owned(), log_det),
        ("sample".to_owned(), to_range(&images).unwrap()),
        ("decode".to_owned(), images),
        // grey levels between two pixel values
        ("step".to_owned(), float(Tensor::from(flow.bits().step()))),
    ];
    for (name, tensors) in [("latent", latents.0), ("eps", eps)] {
        let numbered = (0..).zip(tensors);
        answers.extend(numbered.map(|(i, tensor): (usize, _)| (format!("{name}.{i}"), tensor)));
    }
    for (name, variable) in named(vs) {
        if variable.requires_grad() {
            let grad = variable.grad();
            if grad.defined() {
                answers.push((format!("grad:{name}"), grad));
            }
            answers.push((format!("parameter:{name}"), variable.detach()));
        } else {
            answers.push((format!("buffer:{name}"), variable));
        }
    }
    answers
        .into_iter()
        .map(|(name, tensor)| (name, tensor.detach().contiguous()))
        .collect()
}

/// The largest difference relative to the scale of `expected`.
fn relative(got: &Tensor, expected: &Tensor) -> f64 {
    max_diff(got, expected) / expected.abs().max().double_value(&[]).max(1.0)
}

fn of<'a>(answers: &'a [(String, Tensor)], name: &str) -> &'a Tensor {
    &answers.iter().find(|(known, _)| known == name).unwrap().1
}

fn check_in_rust(name: &str, file: &Path, answers: &[(String, Tensor)]) {
    // without the rewriting that TorchScript does for every new shape, which takes longer than all the rest
    tch::jit::set_graph_executor_optimize(false);
    let module = CModule::load_on_device(file, device()).unwrap();
    let [x, noise] = ["x", "noise"].map(|name| of(answers, name).shallow_clone());
    let log_prob = module.method_ts("log_prob", &[x, noise]).unwrap();
    let error = relative(&log_prob, of(answers, "log_prob"));
    assert!(error <= 1e-5, "{name}: log_prob differs by {error:e}");
    let eps: Vec<Tensor> = answers
        .iter()
        .filter(|(known, _)| known.starts_with("eps."))
        .map(|(_, eps)| eps.shallow_clone())
        .collect();
    for method in ["sample", "decode"] {
        let eps = IValue::TensorList(eps.iter().map(Tensor::shallow_clone).collect());
        let IValue::Tensor(image) = module.method_is(method, &[eps]).unwrap() else {
            panic!("{name}: {method} returns a tensor")
        };
        let error = relative(&image, of(answers, method));
        assert!(error <= 1e-5, "{name}: {method} differs by {error:e}");
    }
}

#[test]
fn every_family_writes_files_that_compute_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let named = std::env::var_os("INVERSE_FLOW_SCRIPT_FILES").map(PathBuf::from);
    let folder = named.as_deref().unwrap_or(folder.path());
    std::fs::create_dir_all(folder).unwrap();
    let only = std::env::var("INVERSE_FLOW_SCRIPT_ONLY").ok();
    for (name, config) in models() {
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let (vs, mut flow) = made(&config);
        if name == "inverse-flow-bounded" {
            // one of them is a density of fewer bits
            flow.set_bits(Bits::new(5).unwrap()).unwrap();
        }
        let answers = answers(&config, &vs, &flow);
        for (solve, kind) in [(Solve::Portable, "pt"), (Solve::Operator, "operator.pt")] {
            let file = folder.join(format!("{name}.{kind}"));
            let bytes = archive(
                &flow.torchscript().unwrap(),
                &vs,
                &json!({ "model": config }).to_string(),
                solve,
            )
            .unwrap_or_else(|err| panic!("{name}: {err}"));
            std::fs::write(&file, bytes).unwrap();
            check_in_rust(&name, &file, &answers);
        }
        Tensor::write_safetensors(&answers, folder.join(format!("{name}.safetensors"))).unwrap();
    }
}

#[test]
fn a_model_without_its_first_batch_is_not_saved() {
    let config = ModelConfig::from(small([1, 8, 8], 1, 1));
    let vs = store(Kind::Float);
    let flow = build(&vs.root(), &config).unwrap();
    let err = archive(&flow.torchscript().unwrap(), &vs, "{}", Solve::Portable).unwrap_err();
    assert!(matches!(err, Error::NotInitialized { .. }), "{err}");
}

#[test]
fn our_own_reader_takes_a_program_for_the_model_that_it_is() {
    let mut config = presets::by_name(presets::DEFAULT).unwrap();
    config.model = small([3, 8, 12], 2, 1).into();
    let (mut flow, vs) = build_model(&config, device()).unwrap();
    let x = images(1, &[3, 3, 8, 12]).to_kind(Kind::Float);
    flow.initialize(&x, Cx::default()).unwrap();
    shake(&vs, 7, 0.05);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    save_torchscript(&path, &flow, &vs, &config, Solve::Portable).unwrap();

    let file = StateFile::open(&path).unwrap();
    assert_eq!(file.metadata("format"), Some("inverse-flow torchscript 1"));
    assert_eq!(stored_config(&file).unwrap(), Some(config.clone()));
    let (again, _vs) = load_state(&file, &config, device()).unwrap();
    let expected = flow.log_prob(&x, Cx::default()).unwrap();
    let got = again.log_prob(&x, Cx::default()).unwrap();
    assert_close("read back", &got, &expected, 0.0);
}
