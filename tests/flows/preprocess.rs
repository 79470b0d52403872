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
        let z = Dequantize::default().forward(&x, cx).unwrap();
        let back = Dequantize::default().inverse(&z.value, cx).unwrap().value;
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
    let err = Dequantize::default()
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
fn what_the_logit_has_made_never_comes_back_as_nan() {
    for kind in [Kind::Float, Kind::Double] {
        for logit in [
            LogitMap::new(1e-6).unwrap(),
            LogitMap::symmetric(0.05).unwrap(),
        ] {
            let z = Tensor::linspace(-150.0, 150.0, 3001, (Kind::Double, device()));
            let z = z.to_kind(kind).view([1, 1, 1, 3001]);
            let x = logit.inverse(&z, cx()).unwrap().value;
            let again = logit.forward(&x, cx()).unwrap();
            for part in [&again.value, &again.log_det] {
                assert_eq!(part.isfinite().all().int64_value(&[]), 1, "{kind:?}");
            }
            // as far as the numbers tell latents apart
            let near = z.abs().lt(if kind == Kind::Float { 4.0 } else { 15.0 });
            let apart = (&again.value - &z).masked_select(&near).abs().max();
            assert!(apart.double_value(&[]) < 0.01, "{apart:?}");
        }
    }
}

#[test]
fn the_logit_of_pixels_is_what_it_is_without_a_guard() {
    let logit = LogitMap::new(1e-6).unwrap();
    // the ends of what a pixel and its noise can be, 256 by rounding among them
    let x = Tensor::from_slice(&[0.0f32, 5.960_464_5e-8, 0.25, 0.999_999_94, 1.0])
        .view([1, 1, 1, 5])
        .to_device(device());
    let losses = AuxiliaryLosses::default();
    let in_training = Cx {
        training: Some(&losses),
        ..cx()
    };
    let [guarded, plain] = [cx(), in_training].map(|cx| logit.forward(&x, cx).unwrap());
    assert_close("value", &guarded.value, &plain.value, 0.0);
    assert_close("log-det", &guarded.log_det, &plain.log_det, 0.0);
    // less than a grey level beyond is the end; what is farther away is no image
    let level = 1.0 / 256.0;
    for (x, is_image) in [
        (1.0 + 0.99 * level, true),
        (-0.99 * level, true),
        (1.0 + 1.01 * level, false),
        (-1.01 * level, false),
        (f64::NAN, false),
    ] {
        let z = logit
            .forward(
                &Tensor::full([1, 1, 1, 1], x, (Kind::Float, device())),
                cx(),
            )
            .unwrap();
        assert_eq!(
            z.value.isfinite().all().int64_value(&[]) == 1,
            is_image,
            "{x}"
        );
    }
}

#[test]
fn the_range_of_pixels_hides_nothing_that_is_not_finite() {
    let odd = [-3.5, 0.0, 255.99, 255.999_999, 256.0, 1e9].map(|x| x as f32);
    let x = Tensor::from_slice(&odd).to_device(device());
    let got = Vec::<f32>::try_from(to_range(&x).unwrap()).unwrap();
    let white = LARGEST_PIXEL as f32;
    assert_eq!(got, [0.0, 0.0, 255.99, white, white, white]);
    assert!(white < 256.0 && white.to_bits() + 1 == 256f32.to_bits());
    for lost in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let x = Tensor::from_slice(&[lost]).to_device(device());
        assert!(to_range(&x).unwrap().double_value(&[0]).is_nan());
    }
}

#[test]
fn uniform_noise_under_the_uniform_density_costs_all_bits_of_a_dimension() {
    // a density that is 1 on [0, 1): all that is left is the scaling
    let x = images(3, &[4, 3, 5, 7]);
    let noise = uniform(4, &[4, 3, 5, 7]);
    for bits in 1..=8 {
        let flow = Sequential::new()
            .push("dequantize", Dequantize::new(Bits::new(bits).unwrap()))
            .push("scale", Scale);
        let noisy = Cx {
            noise: Some(&noise),
            ..cx()
        };
        let mapped = flow.forward(&x, noisy).unwrap();
        let (least, most) = (mapped.value.min(), mapped.value.max());
        assert!(least.double_value(&[]) >= 0.0 && most.double_value(&[]) < 1.0);
        let nll = -mapped.log_det.mean(Kind::Double).double_value(&[]);
        assert!((bits_per_dim(nll, 3 * 5 * 7) - f64::from(bits)).abs() < 1e-12);
        let back = flow.inverse(&mapped.value, cx()).unwrap();
        assert_close("log-det", &back.log_det, &mapped.log_det.neg(), 1e-12);
    }
}

/// The density of a pixel value is the integral over the continuous values that it stands for.
#[test]
fn a_pixel_of_few_bits_has_the_probability_of_all_that_it_stands_for() {
    // the density of z is 2 z / 256^2, so that of a bin from q to q + s is ((q + s)^2 - q^2) / 256^2
    let bits = Bits::new(5).unwrap();
    let all: Vec<f64> = (0..256).map(f64::from).collect();
    let x = Tensor::from_slice(&all)
        .view([256, 1, 1, 1])
        .to_device(device());
    let mapped = Dequantize::new(bits).forward(&x, cx()).unwrap();
    // linear in z, so that the middle of a bin is its mean
    let density = mapped.value.flatten(0, -1) * (2.0 / 256.0f64.powi(2));
    let probability = Vec::<f64>::try_from((density.log() + mapped.log_det).exp()).unwrap();
    for (x, probability) in probability.iter().enumerate() {
        let q = (x / 8 * 8) as f64;
        let expected = ((q + 8.0).powi(2) - q.powi(2)) / 256.0f64.powi(2);
        assert!((probability - expected).abs() < 1e-14, "{x}");
    }
    let (pixels, noise) = bits.split(&mapped.value).unwrap();
    assert_eq!(max_diff(&pixels, &(x / 8.0).floor().g_mul_scalar(8.0)), 0.0);
    assert_eq!(max_diff(&noise, &noise.full_like(0.5)), 0.0);
    for wrong in [0, 9, 255] {
        let err = Bits::new(wrong).unwrap_err().to_string();
        assert!(
            err.contains("between 1 and 8") && err.contains(&wrong.to_string()),
            "{err}"
        );
    }
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
