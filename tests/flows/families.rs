//! Emerging, FInC and CInC in the sizes of the tables, under training, and against what they are defined by.

use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::nn::{CouplingConfig, CouplingNet, Net};
use inverse_flow::ops::{masked_conv2d, Corner};
use inverse_flow::Error;
use tch::{nn, nn::OptimizerConfig, Kind, Tensor};

fn cx() -> Cx<'static> {
    Cx::default()
}

/// Every convolutional layer for `channels` channels, as it starts, with filters of side `kernel`.
fn layers(vs: &nn::VarStore, channels: i64, kernel: i64) -> Vec<Box<dyn Transform>> {
    let at = |name: &str| vs.root() / name;
    let emerging = EmergingConfig { kernel };
    let cinc = CincConfig {
        kernel,
        ..Default::default()
    };
    let conv = InvConvConfig::new(channels, kernel);
    let mut layers: Vec<Box<dyn Transform>> = vec![
        Box::new(InvConv::new(&at("inv_conv"), &conv).unwrap()),
        Box::new(Emerging::new(&at("emerging"), channels, &emerging).unwrap()),
        Box::new(Cinc::new(&at("cinc"), channels, &cinc).unwrap()),
        Box::new(Conv1x1::new(&at("conv1x1"), channels).unwrap()),
    ];
    if channels % 4 == 0 {
        let finc = FincConfig {
            kernel,
            ..Default::default()
        };
        layers.push(Box::new(Finc::new(&at("finc"), channels, &finc).unwrap()));
    }
    layers
}

#[test]
fn every_size_of_the_tables_round_trips_and_has_the_log_det_of_its_jacobian() {
    for channels in [3, 4, 8, 12, 24] {
        for kernel in [2, 3, 5] {
            let (h, w) = if channels > 8 { (2, 3) } else { (5, 4) };
            let double = store(Kind::Double);
            let layers = seeded(|| layers(&double, channels, kernel));
            shake(&double, 1, 0.02);
            for layer in &layers {
                let name = format!("{} C={channels} k={kernel}", layer.name());
                for n in [1, 3, channels + 1] {
                    let x = normal(2, &[n, channels, h, w]);
                    assert_bijective(&format!("{name} batch {n}"), layer.as_ref(), &x, 1e-10);
                }
                let x = normal(2, &[1, channels, h, w]);
                assert_log_det(&name, layer.as_ref(), &x, 1e-8);
            }
        }
    }
}

#[test]
fn float32_round_trips_to_a_ten_thousandth() {
    for channels in [3, 4, 8, 12, 24] {
        for kernel in [2, 3, 5] {
            let single = store(Kind::Float);
            for layer in layers(&single, channels, kernel) {
                let x = normal(2, &[3, channels, 8, 7]).to_kind(Kind::Float);
                let z = layer.forward(&x, cx()).unwrap();
                let back = layer.inverse(&z.value, cx()).unwrap();
                let name = format!("{} C={channels} k={kernel}", layer.name());
                assert_close(&name, &back.value, &x, 1e-4);
                assert_close(
                    &name,
                    &(z.log_det + back.log_det),
                    &zero_log_det(&x).unwrap(),
                    1e-4,
                );
            }
        }
    }
}

#[test]
fn finc_is_the_top_left_convolution_of_four_mirrored_quarters() {
    let vs = store(Kind::Double);
    let layer = Finc::new(&vs.root(), 12, &FincConfig::default()).unwrap();
    let x = normal(3, &[2, 12, 5, 4]);
    let z = layer.forward(&x, cx()).unwrap();
    assert!(z.log_det.equal(&zero_log_det(&x).unwrap()));
    let theta = vs.variables()["weight"].shallow_clone();
    for (group, corner) in (0..).zip(Corner::ALL) {
        let mut dims = Vec::new();
        if corner.mirrors_rows() {
            dims.push(2);
        }
        if corner.mirrors_columns() {
            dims.push(3);
        }
        let taps = theta.narrow(0, 3 * group, 3).flip(&dims).copy();
        let anchor = taps.select(3, 2).select(2, 2);
        let unit = anchor.tril(-1) + Tensor::eye(3, (Kind::Double, device()));
        tch::no_grad(|| taps.select(3, 2).select(2, 2).copy_(&unit));
        let quarter = x.narrow(1, 3 * group, 3).flip(&dims);
        let expected = masked_conv2d(&quarter, &taps, &[Corner::TopLeft]).unwrap();
        let got = z.value.narrow(1, 3 * group, 3).flip(&dims);
        assert_close(corner.name(), &got, &expected, 1e-12);
    }
    for _ in 0..10 {
        assert!(layer.forward(&x, cx()).unwrap().value.equal(&z.value));
    }
}

#[test]
fn emerging_is_its_three_convolutions_with_the_second_in_a_turned_image() {
    let vs = store(Kind::Double);
    let layer = Emerging::new(&vs.root(), 3, &EmergingConfig::default()).unwrap();
    shake(&vs, 4, 0.2);
    let x = normal(5, &[2, 3, 4, 5]);
    let variables = vs.variables();
    let var = |name: &str| variables[name].shallow_clone();
    let effective = |theta: &Tensor| {
        let taps = theta.copy();
        let anchor = taps.select(3, 1).select(2, 1);
        let diagonal = anchor.diagonal(0, 0, 1).exp();
        let full = anchor.tril(-1) + Tensor::diag_embed(&diagonal, 0, 0, 1);
        tch::no_grad(|| taps.select(3, 1).select(2, 1).copy_(&full));
        taps
    };
    let padded_conv = |x: &Tensor, taps: &Tensor, bias: &Tensor| {
        let padded = x.constant_pad_nd([1, 0, 1, 0]);
        padded.conv2d(taps, Some(bias), [1], [0], [1], 1)
    };
    let mixed = Tensor::einsum("oi,nihw->nohw", &[&var("conv1x1.weight"), &x], None::<i64>);
    let taps = effective(&var("top_left.weight"));
    let first = padded_conv(&mixed, &taps, &var("top_left.bias"));
    let turned = effective(&var("bottom_right.weight").flip([2, 3]));
    let second = padded_conv(&first.flip([2, 3]), &turned, &var("bottom_right.bias"));
    let got = layer.forward(&x, cx()).unwrap().value;
    assert_close("value", &got, &second.flip([2, 3]), 1e-12);
}

#[test]
fn fifty_adam_steps_with_weight_decay_leave_every_layer_invertible_and_its_log_det_exact() {
    for index in 0..5 {
        let vs = store(Kind::Double);
        let layer = seeded(|| layers(&vs, 8, 2)).swap_remove(index);
        let x = normal(6, &[3, 8, 3, 4]);
        let mut adam = nn::Adam {
            wd: 0.1,
            ..Default::default()
        }
        .build(&vs, 1e-2)
        .unwrap();
        for _ in 0..50 {
            let z = layer.forward(&x, cx()).unwrap();
            let loss = z.value.square().sum(Kind::Double) * 0.5 - z.log_det.sum(Kind::Double);
            adam.backward_step(&loss);
        }
        let name = format!("{} after Adam", layer.name());
        let log_det = layer.forward(&x, cx()).unwrap().log_det;
        let fixed = ["inv_conv", "finc"].contains(&layer.name());
        assert_eq!(
            log_det.abs().max().double_value(&[]) < 1e-3,
            fixed,
            "{name}"
        );
        assert_log_det(&name, layer.as_ref(), &x.narrow(0, 0, 1), 1e-9);
        assert_bijective(&name, layer.as_ref(), &x, 1e-9);
    }
}

#[test]
fn a_quad_coupling_leaves_its_first_block_and_conditions_each_on_all_before() {
    let vs = store(Kind::Double);
    let config = CouplingConfig {
        net: Net::W,
        width: 6,
        zero_init_last: false,
    };
    let net = |vs: &nn::Path, i, o| CouplingNet::new(vs, i, o, &config);
    let layer = QuadCoupling::new(&vs.root(), 8, net).unwrap();
    // as it starts: nets of zeros scale by sigmoid(2)
    let x = normal(7, &[2, 8, 3, 2]);
    let start = layer.forward(&x, cx()).unwrap();
    let scale: f64 = 1.0 / (1.0 + (-2f64).exp());
    assert_close(
        "block 1",
        &start.value.narrow(1, 0, 2),
        &x.narrow(1, 0, 2),
        0.0,
    );
    let rest = x.narrow(1, 2, 6) * scale;
    assert_close("blocks 2 to 4", &start.value.narrow(1, 2, 6), &rest, 1e-12);

    randomize(&vs, 8, 0.4);
    let before = layer.forward(&x, cx()).unwrap().value;
    for block in 0..4 {
        let other = x.copy();
        let mut part = other.narrow(1, 2 * block, 2);
        let _ = part.g_add_scalar_(0.5);
        let after = layer.forward(&other, cx()).unwrap().value;
        for seen in 0..4 {
            let diff = max_diff(
                &after.narrow(1, 2 * seen, 2),
                &before.narrow(1, 2 * seen, 2),
            );
            assert_eq!(
                diff > 1e-6,
                seen >= block,
                "block {block} on {seen}: {diff}"
            );
        }
    }
}

#[test]
fn impossible_layers_are_configuration_errors_that_say_what_to_change() {
    let vs = store(Kind::Float);
    let root = vs.root();
    let net = |vs: &nn::Path, i, o| inverse_flow::nn::Conv2d::new(vs, i, o, 1, false);
    let cinc = |kernel| CincConfig {
        kernel,
        ..Default::default()
    };
    for (err, part) in [
        (
            Finc::new(&root, 6, &FincConfig::default()).unwrap_err(),
            "divisible by 4, one group for each corner, got 6: squeeze",
        ),
        (
            QuadCoupling::new(&root, 6, net).unwrap_err(),
            "divisible by 4, got 6: squeeze",
        ),
        (Cinc::new(&root, 4, &cinc(0)).unwrap_err(), "`kernel`"),
        (Conv1x1::new(&root, 0).unwrap_err(), "at least one channel"),
    ] {
        assert!(matches!(err, Error::Config(_)), "{err}");
        assert!(err.to_string().contains(part), "{err}");
    }
    assert!(vs.is_empty());
}
