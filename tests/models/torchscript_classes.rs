//! TorchScript files of conditional models: what they compute, in Rust by `CModule`, and in Python by
//! `tests/python/test_torchscript.py`, as in `torchscript.rs`.

use crate::common::*;
use crate::conditional::{conditional, given, made};
use inverse_flow::flows::{to_range, Cx};
use inverse_flow::models::*;
use inverse_flow::torchscript::{archive, Solve};
use std::path::PathBuf;
use tch::{CModule, IValue, Kind, Tensor};

const LABELS: [u16; 3] = [2, 0, 1];

/// What our side makes of some images and latents, by name.
fn answers(flow: &MultiScale) -> Vec<(String, Tensor)> {
    let [c, h, w] = flow.image_shape();
    let float = |t: Tensor| t.to_kind(Kind::Float);
    let size = [3, c, h, w];
    let (x, noise) = (float(images(2, &size)), float(uniform(3, &size)));
    let log_prob = |labels: &[u16]| {
        let condition = flow.condition(labels).unwrap();
        let cx = Cx {
            noise: Some(&noise),
            ..given(&condition)
        };
        flow.log_prob(&x, cx).unwrap().detach()
    };
    let every: Vec<Tensor> = (0..3).map(|class| log_prob(&[class; 3])).collect();
    let every = Tensor::stack(&every, 1);
    // of 10 training images 5, 3 and 2
    let prior = Tensor::from_slice(&[0.5f32, 0.3, 0.2])
        .log()
        .to_device(device());
    let eps: Vec<Tensor> = (40..)
        .zip(flow.latent_shapes())
        .map(|(seed, [c, h, w])| float(normal(seed, &[3, c, h, w])) * 0.7)
        .collect();
    let latents = Latents(eps.iter().map(Tensor::shallow_clone).collect());
    let condition = flow.condition(&LABELS).unwrap();
    let sample = flow.decode(&latents, given(&condition)).unwrap().value;
    let mut answers = vec![
        ("log_prob".to_owned(), log_prob(&LABELS)),
        (
            "marginal".to_owned(),
            (&every + prior).logsumexp([1], false),
        ),
        ("class_log_probs".to_owned(), every),
        ("x".to_owned(), x),
        ("noise".to_owned(), noise),
        ("sample".to_owned(), to_range(&sample.detach()).unwrap()),
    ];
    let numbered = eps.into_iter().enumerate();
    answers.extend(numbered.map(|(i, eps)| (format!("eps.{i}"), eps)));
    let contiguous = |(name, tensor): (String, Tensor)| (name, tensor.contiguous());
    answers.into_iter().map(contiguous).collect()
}

#[test]
fn every_family_writes_files_that_take_the_class() {
    let folder = tempfile::tempdir().unwrap();
    let named = std::env::var_os("INVERSE_FLOW_SCRIPT_FILES").map(PathBuf::from);
    let folder = named
        .as_deref()
        .unwrap_or(folder.path())
        .join("conditional");
    std::fs::create_dir_all(&folder).unwrap();
    tch::jit::set_graph_executor_optimize(false);
    for (name, config) in conditional([1, 8, 8], 2, 1) {
        let x = images(1, &[4, 1, 8, 8]).to_kind(Kind::Float);
        let (vs, flow) = made(&config, Kind::Float, &x, 0.05);
        let answers = answers(&flow);
        let of = |wanted: &str| {
            let found = answers.iter().find(|(name, _)| name == wanted);
            found.unwrap().1.shallow_clone()
        };
        let file = folder.join(format!("{}.pt", name.replace([' ', '\''], "-")));
        let script = flow.torchscript().unwrap();
        let bytes = archive(&script, &vs, "{}", Solve::Portable);
        let bytes = bytes.unwrap_or_else(|err| panic!("{name}: {err}"));
        std::fs::write(&file, bytes).unwrap();
        Tensor::write_safetensors(&answers, file.with_extension("safetensors")).unwrap();

        let module = CModule::load_on_device(&file, device()).unwrap();
        let label = Tensor::from_slice(&LABELS.map(i64::from)).to_device(device());
        let eps = answers.iter().filter(|(name, _)| name.starts_with("eps."));
        let eps = IValue::TensorList(eps.map(|(_, eps)| eps.shallow_clone()).collect());
        let calls = [
            (
                "log_prob",
                module.method_ts("log_prob", &[of("x"), label.copy(), of("noise")]),
            ),
            (
                "class_log_probs",
                module.method_ts("class_log_probs", &[of("x"), of("noise")]),
            ),
            (
                "marginal",
                module.method_ts("marginal_log_prob", &[of("x"), of("noise")]),
            ),
            (
                "sample",
                match module.method_is("sample", &[eps, IValue::Tensor(label)]) {
                    Ok(IValue::Tensor(sample)) => Ok(sample),
                    Ok(_) => panic!("{name}: sample returns a tensor"),
                    Err(err) => Err(err),
                },
            ),
        ];
        for (method, got) in calls {
            let got = got.unwrap_or_else(|err| panic!("{name} {method}: {err}"));
            let scale = of(method).abs().max().double_value(&[]).max(1.0);
            let error = max_diff(&got, &of(method)) / scale;
            assert!(error <= 1e-5, "{name}: {method} differs by {error:e}");
        }
    }
}
