//! The spline near the identity, in its tails, and where it is steep.

use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::Error;
use tch::{Kind, Tensor};

fn cx() -> Cx<'static> {
    Cx::default()
}

fn spline(kind: Kind, bins: i64, tail: f64, std: Option<f64>) -> Spline {
    let vs = store(kind);
    let spline = Spline::new(
        &vs.root(),
        [1, 1, 1],
        &SplineConfig {
            bins,
            tail,
            shared: true,
        },
    )
    .unwrap();
    if let Some(std) = std {
        randomize(&vs, 8, std);
    }
    spline
}

#[test]
fn a_spline_starts_near_the_identity_and_is_it_in_its_tails() {
    let x = Tensor::linspace(-60.0, 60.0, 4001, (Kind::Double, device())).view([1, 1, 1, -1]);
    for (bins, largest) in [(5, 1.0), (10, 1.0)] {
        let spline = seeded(|| spline(Kind::Double, bins, 20.0, None));
        let y = spline.forward(&x, cx()).unwrap().value;
        assert!(max_diff(&y, &x) < largest);
        let outside = x.abs().ge(20.0);
        assert_close(
            "tails",
            &y.masked_select(&outside),
            &x.masked_select(&outside),
            1e-13,
        );
    }
}

#[test]
fn a_spline_with_raw_zeros_is_the_identity() {
    let spline = spline(Kind::Double, 7, 3.0, Some(0.0));
    let x = normal(1, &[2, 1, 5, 9]) * 3.0;
    let mapped = spline.forward(&x, cx()).unwrap();
    assert_close("value", &mapped.value, &x, 1e-12);
    assert_close(
        "log-det",
        &mapped.log_det,
        &mapped.log_det.zeros_like(),
        1e-12,
    );
}

#[test]
fn a_wild_spline_is_monotone_continuous_and_inverted_in_float32_too() {
    for (kind, tol) in [(Kind::Double, 1e-8), (Kind::Float, 5e-3)] {
        let spline = spline(kind, 9, 4.0, Some(3.0));
        let x = Tensor::linspace(-5.0, 5.0, 20_001, (kind, device())).view([1, 1, 1, -1]);
        let y = spline.forward(&x, cx()).unwrap().value;
        let steps = y.diff(1, 3, None::<&Tensor>, None::<&Tensor>);
        assert!(steps.min().double_value(&[]) >= -1e-5, "not monotone");
        assert!(steps.max().double_value(&[]) < 1.0, "a jump");
        // in both directions from a uniform grid, so that flat and steep bins are met
        let back = spline
            .forward(&spline.inverse(&x, cx()).unwrap().value, cx())
            .unwrap()
            .value;
        assert_close("forward of inverse", &back, &x, tol);
    }
}

#[test]
fn the_inverse_of_a_steep_spline_does_not_cancel() {
    // derivatives of 300 at the inner knots: where 1 + g < 0, the textbook root loses three digits, and the slope
    // makes them visible in the way back, which is taken in float64
    let config = SplineConfig {
        bins: 3,
        tail: 4.0,
        shared: true,
    };
    let steep = |kind| {
        let vs = store(kind);
        let spline = Spline::new(&vs.root(), [1, 1, 1], &config).unwrap();
        randomize(&vs, 1, 0.0);
        tch::no_grad(|| {
            let _ = vs.variables()["derivatives"].shallow_clone().fill_(300.0);
        });
        spline
    };
    let y = Tensor::linspace(-4.5, 4.5, 10_001, (Kind::Float, device()));
    let y = y.view([1, 1, 1, -1]);
    let x = steep(Kind::Float).inverse(&y, cx()).unwrap().value;
    let back = steep(Kind::Double)
        .forward(&x.to_kind(Kind::Double), cx())
        .unwrap()
        .value;
    assert_close("value", &back, &y.to_kind(Kind::Double), 3e-4);
}

#[test]
fn no_element_inside_none_at_all_and_nan_are_no_special_cases() {
    let spline = spline(Kind::Double, 5, 2.0, Some(1.0));
    let x = Tensor::from_slice(&[-1e6, -2.5, 2.5, 1e6])
        .view([1, 1, 2, 2])
        .to_device(device());
    let mapped = spline.forward(&x, cx()).unwrap();
    assert_close("outside", &mapped.value, &x, 1e-9);
    assert_close(
        "log-det",
        &mapped.log_det,
        &mapped.log_det.zeros_like(),
        1e-12,
    );
    assert_eq!(
        spline
            .forward(&x.narrow(3, 0, 0), cx())
            .unwrap()
            .value
            .numel(),
        0
    );
    let nan = spline.forward(&(x * f64::NAN), cx()).unwrap().value;
    assert!(
        nan.isnan().all().int64_value(&[]) == 1,
        "a NaN must stay visible"
    );
}

#[test]
fn impossible_splines_are_configuration_errors() {
    let vs = store(Kind::Double);
    for (bins, tail) in [(0, 1.0), (501, 1.0), (5, 0.0), (5, f64::NAN)] {
        let config = SplineConfig {
            bins,
            tail,
            shared: true,
        };
        assert!(matches!(
            Spline::new(&vs.root(), [1, 2, 3], &config),
            Err(Error::Config(_))
        ));
    }
}
