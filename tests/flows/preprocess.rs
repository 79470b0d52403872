//! From pixels to the real line: squeeze, preprocessing, base density.

use crate::common::*;
use inverse_flow::distributions::{bits_per_dim, standard_normal_log_prob};
use inverse_flow::flows::*;
use tch::{Kind, Tensor};

fn cx() -> Cx<'static> {
    Cx::default()
}

#[test]
fn squeeze_orders_channels_as_4c_plus_2dy_plus_dx() {
    let x = Tensor::arange(2 * 4 * 6, (Kind::Double, device())).view([1, 2, 4, 6]);
    let z = Squeeze::new(2).unwrap().forward(&x, cx()).unwrap().value;
    assert_eq!(z.size(), [1, 8, 2, 3]);
    for (c, dy, dx, h, w) in [
        (0, 0, 0, 0, 0),
        (0, 0, 1, 1, 2),
        (1, 1, 0, 0, 1),
        (1, 1, 1, 1, 2),
    ] {
        assert_eq!(
            z.double_value(&[0, 4 * c + 2 * dy + dx, h, w]),
            x.double_value(&[0, c, 2 * h + dy, 2 * w + dx])
        );
    }
}

#[test]
fn squeeze_refuses_what_it_cannot_squeeze() {
    let squeeze = Squeeze::new(2).unwrap();
    let err = squeeze
        .forward(&normal(1, &[1, 1, 7, 4]), cx())
        .unwrap_err();
    assert!(err.to_string().contains("divisible by 2, got 7x4"), "{err}");
    let err = squeeze
        .inverse(&normal(1, &[1, 6, 2, 2]), cx())
        .unwrap_err();
    assert!(
        err.to_string().contains("multiple of 4 channels, got 6"),
        "{err}"
    );
    assert!(Squeeze::new(0).is_err());
}

#[test]
fn pixels_survive_dequantisation_and_the_way_back() {
    let x = images(1, &[2, 3, 5, 4]);
    for noise in [None, Some(uniform(2, &[2, 3, 5, 4]))] {
        let cx = Cx {
            noise: noise.as_ref(),
            ..Cx::default()
        };
        let z = Dequantize.forward(&x, cx).unwrap();
        let back = Dequantize.inverse(&z.value, cx).unwrap().value;
        let pixels = to_pixels(&back).unwrap();
        assert_eq!(pixels.kind(), Kind::Uint8);
        assert_eq!(max_diff(&pixels.to_kind(Kind::Double), &x), 0.0);
        assert_eq!(max_diff(&z.log_det, &z.log_det.zeros_like()), 0.0);
    }
    let odd = Tensor::from_slice(&[-3.5, 0.0, 255.99, 256.0, 1e9, f64::NAN]).to_device(device());
    let pixels = Vec::<u8>::try_from(to_pixels(&odd).unwrap()).unwrap();
    assert_eq!(pixels, [0, 0, 255, 255, 255, 0]);
}

#[test]
fn noise_of_another_shape_is_an_error() {
    let noise = uniform(1, &[1, 1, 2, 2]);
    let cx = Cx {
        noise: Some(&noise),
        ..Cx::default()
    };
    let err = Dequantize
        .forward(&images(1, &[2, 1, 2, 2]), cx)
        .unwrap_err();
    assert!(
        err.to_string().contains("`noise` must be like the images"),
        "{err}"
    );
}

#[test]
fn the_logit_of_every_float32_pixel_value_is_finite_both_ways() {
    let logit = LogitMap::new(1e-6).unwrap();
    let x = Tensor::from_slice(&[0.0f32, 1e-7, 0.5, 0.9999999, 1.0])
        .view([1, 1, 1, 5])
        .to_device(device());
    let z = logit.forward(&x, cx()).unwrap();
    assert!(
        z.value.isfinite().all().int64_value(&[]) == 1,
        "{:?}",
        z.value
    );
    assert_close(
        "round trip",
        &logit.inverse(&z.value, cx()).unwrap().value,
        &x,
        1e-6,
    );
    let far = Tensor::from_slice(&[-200.0f32, 200.0])
        .view([1, 1, 1, 2])
        .to_device(device());
    let back = logit.inverse(&far, cx()).unwrap();
    assert!(back.log_det.isfinite().all().int64_value(&[]) == 1);
    assert!(
        LogitMap::new(0.5).is_err()
            && LogitMap::new(0.0).is_err()
            && LogitMap::new(f64::NAN).is_err()
    );
}

#[test]
fn uniform_noise_under_the_uniform_density_costs_8_bits_per_dimension() {
    // a density that is 1 on [0, 1): all that is left is the scaling
    let x = images(3, &[4, 3, 5, 7]);
    let noise = uniform(4, &[4, 3, 5, 7]);
    let flow = Sequential::new()
        .push("dequantize", Dequantize)
        .push("scale", Scale);
    let mapped = flow
        .forward(
            &x,
            Cx {
                noise: Some(&noise),
                ..Cx::default()
            },
        )
        .unwrap();
    assert!(
        mapped.value.min().double_value(&[]) >= 0.0 && mapped.value.max().double_value(&[]) < 1.0
    );
    let nll = -mapped.log_det.mean(Kind::Double).double_value(&[]);
    assert!((bits_per_dim(nll, 3 * 5 * 7) - 8.0).abs() < 1e-12);
}

#[test]
fn the_standard_normal_is_normalised_and_sums_over_dimensions() {
    let z = Tensor::linspace(-12.0, 12.0, 24001, (Kind::Double, device()));
    let density = standard_normal_log_prob(&z.view([-1, 1])).unwrap().exp();
    assert!((density.sum(Kind::Double).double_value(&[]) * 1e-3 - 1.0).abs() < 1e-9);
    let z = normal(1, &[3, 2, 4, 5]);
    let whole = standard_normal_log_prob(&z).unwrap();
    let parts = standard_normal_log_prob(&z.view([120, 1])).unwrap();
    assert_close(
        "sum",
        &whole,
        &parts
            .view([3, 40])
            .sum_dim_intlist([1i64].as_slice(), false, Kind::Double),
        1e-12,
    );
}
