//! Butterfly factors: who is paired with whom, and what happens when a pair loses its inverse.

use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::Error;
use tch::{nn, Kind, Tensor};

fn cx() -> Cx<'static> {
    Cx::default()
}

fn layer(chw: [i64; 3], levels: &[u32], init: ButterflyInit) -> (nn::VarStore, Butterfly) {
    let vs = store(Kind::Double);
    let layer = seeded(|| Butterfly::new(&vs.root(), chw, levels, init)).unwrap();
    (vs, layer)
}

#[test]
fn it_starts_as_the_identity_or_as_rotations() {
    let x = normal(1, &[2, 4, 3, 2]);
    let (_vs, identity) = layer([4, 3, 2], &[0, 1, 2], ButterflyInit::Identity);
    let mapped = identity.forward(&x, cx()).unwrap();
    assert!(mapped.value.equal(&x));
    assert_close(
        "log-det",
        &mapped.log_det,
        &Tensor::zeros_like(&mapped.log_det),
        0.0,
    );

    let (_vs, rotation) = layer([4, 3, 2], &[0, 1, 2], ButterflyInit::Rotation);
    let mapped = rotation.forward(&x, cx()).unwrap();
    assert!(max_diff(&mapped.value, &x) > 0.1);
    let norms = |x: &Tensor| {
        x.square()
            .flatten(1, -1)
            .sum_dim_intlist([1i64].as_slice(), false, Kind::Double)
    };
    assert_close("norm", &norms(&mapped.value), &norms(&x), 1e-12);
    assert!(mapped.log_det.abs().max().double_value(&[]) < 1e-12);
}

#[test]
fn a_factor_pairs_the_halves_of_its_blocks() {
    let (c, h, w) = (4, 3, 2);
    let dims = c * h * w;
    for level in 0..3 {
        let (vs, factor) = layer([c, h, w], &[level], ButterflyInit::Identity);
        randomize(&vs, 1, 1.0);
        let partner = dims >> (level + 1);
        for source in 0..dims {
            let x = Tensor::zeros([1, dims], (Kind::Double, device()));
            let _ = x.narrow(1, source, 1).fill_(1.0);
            let z = factor.forward(&x.view([1, c, h, w]), cx()).unwrap().value;
            let seen: Vec<i64> = Vec::try_from(z.view([-1]).nonzero().view([-1])).unwrap();
            let in_first_half = (source / partner) % 2 == 0;
            let other = if in_first_half {
                source + partner
            } else {
                source - partner
            };
            assert_eq!(
                seen,
                [source.min(other), source.max(other)],
                "level {level}"
            );
        }
    }
}

#[test]
fn factors_are_applied_in_the_order_given() {
    let x = normal(1, &[2, 4, 2, 2]);
    let (vs, both) = layer([4, 2, 2], &[2, 0], ButterflyInit::Identity);
    randomize(&vs, 1, 1.0);
    let variables = vs.variables();
    let single = |name: &str, level: u32, x: &Tensor| {
        let (vs, layer) = layer([4, 2, 2], &[level], ButterflyInit::Identity);
        tch::no_grad(|| {
            vs.variables()["factors.0"]
                .shallow_clone()
                .copy_(&variables[name])
        });
        layer.forward(x, cx()).unwrap().value
    };
    let expected = single("factors.1", 0, &single("factors.0", 2, &x));
    assert_close(
        "value",
        &both.forward(&x, cx()).unwrap().value,
        &expected,
        1e-12,
    );
}

#[test]
fn a_nearly_singular_pair_is_refused_by_the_inverse_and_harmless_forward() {
    let (vs, layer) = layer([2, 3, 2], &[0, 1], ButterflyInit::Rotation);
    let x = normal(1, &[2, 2, 3, 2]);
    assert!((layer.min_determinant().unwrap() - 1.0).abs() < 1e-12);
    let factor = vs.variables()["factors.1"].shallow_clone();
    tch::no_grad(|| {
        let pair = factor.get(1).select(2, 2);
        pair.shallow_clone().copy_(
            &Tensor::from_slice(&[1.0, 2.0, 0.5, 1.0 + 5e-5])
                .view([2, 2])
                .to_device(device()),
        );
    });
    assert!((layer.min_determinant().unwrap() - 5e-5).abs() < 1e-12);
    let mapped = layer.forward(&x, cx()).unwrap();
    assert!((mapped.log_det.double_value(&[0]) - 5e-5f64.ln()).abs() < 1e-6);
    let err = layer.inverse(&mapped.value, cx()).unwrap_err();
    assert!(matches!(err, Error::Singular { .. }), "{err}");
    assert!(err.to_string().starts_with("butterfly is nearly singular"));
    // a determinant below zero is no problem, a NaN is
    tch::no_grad(|| {
        let pair = factor.get(1).select(2, 2);
        pair.shallow_clone().copy_(
            &Tensor::from_slice(&[1.0, 2.0, 0.5, -1.0])
                .view([2, 2])
                .to_device(device()),
        );
    });
    assert_bijective("a reflection", &layer, &x, 1e-10);
    let _ = tch::no_grad(|| factor.shallow_clone().fill_(f64::NAN));
    assert!(layer.inverse(&x, cx()).is_err());
}

#[test]
fn an_image_that_cannot_be_halved_often_enough_is_a_configuration_error() {
    let vs = store(Kind::Double);
    let new = |chw, level| Butterfly::new(&vs.root(), chw, &[level], ButterflyInit::Identity);
    // 784 = 2^4 49
    assert!(new([4, 14, 14], 3).is_ok());
    for (chw, level) in [([4, 14, 14], 4), ([3, 5, 7], 0), ([4, 14, 14], 200)] {
        let err = new(chw, level).unwrap_err().to_string();
        assert!(err.contains(&format!("level {level} needs")), "{err}");
    }
}
