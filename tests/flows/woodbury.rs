//! Woodbury layers against dense matrices, and the inverse that is kept while sampling.

use crate::common::*;
use crate::shifted::shifted;
use inverse_flow::flows::*;
use inverse_flow::train::{Adam, TrainConfig};
use tch::{nn, Kind, Tensor};

fn cx() -> Cx<'static> {
    Cx::default()
}

const PLAIN: WoodburyRanks = WoodburyRanks::Plain {
    channels: 2,
    pixels: 3,
};
const MEMORY_EFFICIENT: WoodburyRanks = WoodburyRanks::MemoryEfficient {
    channels: 5, // more than there are
    width: 2,
    height: 1,
};

fn layer(ranks: WoodburyRanks, kind: Kind) -> (nn::VarStore, Woodbury) {
    let vs = store(kind);
    let layer = seeded(|| Woodbury::new(&vs.root(), [3, 4, 5], ranks)).unwrap();
    (vs, layer)
}

/// `I + U V` of an axis.
fn matrix(vs: &nn::VarStore, axis: &str) -> Tensor {
    let variables = vs.variables();
    let update = variables[&format!("{axis}.u")].matmul(&variables[&format!("{axis}.v")]);
    let one = Tensor::eye(update.size()[0], (Kind::Double, device()));
    one + update
}

#[test]
fn both_forms_are_products_with_the_identity_plus_a_low_rank() {
    let x = normal(1, &[2, 3, 4, 5]);
    let (vs, plain) = layer(PLAIN, Kind::Double);
    randomize(&vs, 2, 0.3);
    let mixed = Tensor::einsum(
        "ij,njhw->nihw",
        &[matrix(&vs, "channels"), x.copy()],
        None::<i64>,
    );
    let expected = mixed.view([2, 3, 20]).matmul(&matrix(&vs, "pixels"));
    let got = plain.forward(&x, cx()).unwrap().value;
    assert_close("plain", &got.view([2, 3, 20]), &expected, 1e-12);

    let (vs, efficient) = layer(MEMORY_EFFICIENT, Kind::Double);
    randomize(&vs, 2, 0.3);
    let mixed = Tensor::einsum(
        "ij,njhw->nihw",
        &[matrix(&vs, "channels"), x.copy()],
        None::<i64>,
    );
    let rows = mixed.matmul(&matrix(&vs, "width"));
    let expected = rows
        .transpose(2, 3)
        .matmul(&matrix(&vs, "height"))
        .transpose(2, 3);
    let got = efficient.forward(&x, cx()).unwrap().value;
    assert_close("memory-efficient", &got, &expected, 1e-12);
}

#[test]
fn it_starts_near_the_identity_with_well_conditioned_cores() {
    let x = normal(1, &[2, 3, 4, 5]);
    for ranks in [PLAIN, MEMORY_EFFICIENT] {
        let (vs, layer) = layer(ranks, Kind::Double);
        let moved = max_diff(&layer.forward(&x, cx()).unwrap().value, &x);
        assert!(moved > 0.0 && moved < 0.02, "{moved}");
        for (axis, condition) in layer.conditions().unwrap() {
            assert!((1.0..1.01).contains(&condition), "{axis}: {condition}");
        }
        randomize(&vs, 2, 0.3);
        let conditions = layer.conditions().unwrap();
        assert!(conditions.iter().any(|(_, condition)| *condition > 1.1));
    }
}

#[test]
fn float32_inverts_to_float32() {
    for ranks in [PLAIN, MEMORY_EFFICIENT] {
        let (vs, layer) = layer(ranks, Kind::Float);
        randomize(&vs, 2, 0.1);
        let x = normal(1, &[2, 3, 4, 5]).to_kind(Kind::Float);
        assert_bijective("float32", &layer, &x, 1e-5);
    }
}

/// Inverts with and without recording: the second never uses what was kept.
#[track_caller]
fn assert_fresh(what: &str, layer: &Woodbury, z: &Tensor) {
    let kept = tch::no_grad(|| layer.inverse(z, cx()).unwrap());
    let again = tch::no_grad(|| layer.inverse(z, cx()).unwrap());
    let fresh = layer.inverse(z, cx()).unwrap();
    assert!(fresh.value.requires_grad() && !kept.value.requires_grad());
    for mapped in [kept, again] {
        assert_close(what, &mapped.value, &fresh.value, 0.0);
        assert_close(what, &mapped.log_det, &fresh.log_det, 0.0);
    }
}

#[test]
fn the_kept_inverse_follows_every_change_of_the_parameters() {
    let z = normal(1, &[2, 3, 4, 5]);
    for ranks in [PLAIN, MEMORY_EFFICIENT] {
        let (mut vs, layer) = layer(ranks, Kind::Double);
        assert_fresh("at the start", &layer, &z);
        randomize(&vs, 2, 0.2);
        assert_fresh("after a copy", &layer, &z);

        let before = tch::no_grad(|| layer.inverse(&z, cx()).unwrap().value);
        let mut adam = Adam::new(&vs, &TrainConfig::default()).unwrap();
        let loss = layer
            .forward(&z, cx())
            .unwrap()
            .value
            .square()
            .sum(Kind::Double);
        let grads = Tensor::run_backward(&[loss], adam.params(), false, false);
        adam.step(&grads, 1e-2, None, None).unwrap();
        assert_fresh("after an optimiser's step", &layer, &z);
        let after = tch::no_grad(|| layer.inverse(&z, cx()).unwrap().value);
        assert!(max_diff(&before, &after) > 1e-3, "the step moved nothing");

        let file = tempfile::Builder::new()
            .suffix(".safetensors")
            .tempfile()
            .unwrap();
        vs.save(file.path()).unwrap();
        randomize(&vs, 7, 0.2);
        assert_fresh("before loading", &layer, &z);
        vs.load(file.path()).unwrap();
        assert_fresh("after loading", &layer, &z);
        let loaded = tch::no_grad(|| layer.inverse(&z, cx()).unwrap().value);
        assert_close("loaded", &loaded, &after, 0.0);

        vs.freeze();
        let frozen = layer.inverse(&z, cx()).unwrap();
        assert!(!frozen.value.requires_grad());
        assert_close("frozen", &frozen.value, &after, 0.0);
        vs.unfreeze();
        assert_fresh("unfrozen", &layer, &z);
    }
}

#[test]
fn a_kept_inverse_is_the_recorded_one_to_the_last_bit_wherever_the_numbers_lie() {
    for kind in [Kind::Float, Kind::Double] {
        for ranks in [PLAIN, MEMORY_EFFICIENT] {
            for elements in [1, 3, 6] {
                let (vs, layer) = layer(ranks, kind);
                randomize(&vs, 2, 0.2);
                for (_, mut variable) in named(&vs) {
                    let moved = shifted(&variable, elements);
                    tch::no_grad(|| variable.set_data(&moved));
                }
                let z = shifted(&normal(1, &[2, 3, 4, 5]).to_kind(kind), elements);
                assert_fresh("beside a cache line", &layer, &z);
            }
        }
    }
}

#[test]
fn ranks_below_one_are_configuration_errors() {
    let vs = store(Kind::Double);
    let ranks = WoodburyRanks::Plain {
        channels: 2,
        pixels: 0,
    };
    let err = Woodbury::new(&vs.root(), [3, 4, 5], ranks)
        .unwrap_err()
        .to_string();
    assert!(err.contains("rank of 1 or more on pixels"), "{err}");
}
