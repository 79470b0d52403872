//! Couplings, their nets, and the split prior.

use crate::common::*;
use inverse_flow::distributions::SplitPrior;
use inverse_flow::flows::*;
use inverse_flow::nn::{CouplingConfig, CouplingNet, Net};
use tch::{Kind, Tensor};

fn cx() -> Cx<'static> {
    Cx::default()
}

fn coupling_config(net: Net, zero_init_last: bool) -> CouplingConfig {
    CouplingConfig {
        net,
        width: 6,
        zero_init_last,
    }
}

#[test]
fn couplings_start_as_the_identity_but_for_net_t_unless_asked() {
    let x = normal(1, &[2, 4, 3, 5]);
    for (net, zero, identity) in [
        (Net::W, false, true),
        (Net::N, false, true),
        (Net::Z, false, true),
        (Net::T, false, false),
        (Net::T, true, true),
    ] {
        let vs = store(Kind::Double);
        let config = coupling_config(net, zero);
        let coupling = Coupling::new(&vs.root(), 4, |vs, i, o| {
            CouplingNet::new(vs, i, o, &config)
        })
        .unwrap();
        let moved = max_diff(&coupling.forward(&x, cx()).unwrap().value, &x);
        assert_eq!(moved == 0.0, identity, "{net:?}: {moved}");
    }
}

#[test]
fn a_coupling_reads_scale_and_shift_from_even_and_odd_channels() {
    #[derive(Debug)]
    struct Constant;
    impl inverse_flow::nn::Conditioner for Constant {
        fn forward(&self, x: &Tensor, _condition: Option<&Tensor>) -> inverse_flow::Result<Tensor> {
            let channels = Tensor::from_slice(&[0.3, 10.0, -0.4, 20.0])
                .view([1, 4, 1, 1])
                .to_device(device());
            Ok(x.zeros_like().repeat([1, 2, 1, 1]) + channels)
        }
    }
    let vs = store(Kind::Double);
    let coupling = Coupling::new(&vs.root(), 4, |_, inputs, outputs| {
        assert_eq!((inputs, outputs), (2, 4));
        Ok(Constant)
    })
    .unwrap();
    let x = normal(1, &[1, 4, 1, 1]);
    let z = coupling.forward(&x, cx()).unwrap();
    let log_s = [2.0 * 0.15f64.tanh(), 2.0 * (-0.2f64).tanh()];
    for c in 0..2 {
        assert_eq!(
            z.value.double_value(&[0, c, 0, 0]),
            x.double_value(&[0, c, 0, 0])
        );
        let expected =
            x.double_value(&[0, 2 + c, 0, 0]) * log_s[c as usize].exp() + 10.0 * (c + 1) as f64;
        assert!((z.value.double_value(&[0, 2 + c, 0, 0]) - expected).abs() < 1e-12);
    }
    assert!((z.log_det.double_value(&[0]) - log_s.iter().sum::<f64>()).abs() < 1e-12);
}

#[test]
fn every_form_reads_the_nets_channels_in_its_own_way() {
    #[derive(Debug)]
    struct Constant;
    impl inverse_flow::nn::Conditioner for Constant {
        fn forward(&self, x: &Tensor, _condition: Option<&Tensor>) -> inverse_flow::Result<Tensor> {
            let channels = Tensor::from_slice(&[0.3, 1.5, -0.4, 0.7])
                .view([1, 4, 1, 1])
                .to_device(device());
            Ok(x.narrow(1, 0, 1).zeros_like() + channels)
        }
    }
    let x = normal(1, &[1, 5, 1, 1]);
    let sigmoid = |s: f64| 1.0 / (1.0 + (-s).exp());
    let [u, v] = [3, 4].map(|c| x.double_value(&[0, c, 0, 0]));
    // the two transformed channels, and the two scales
    let cases = [
        (
            AffineForm::Sigmoid,
            [sigmoid(-0.4 + 2.0), sigmoid(0.7 + 2.0)],
            [0.0, 0.0],
            [0.3, 1.5],
        ),
        (
            AffineForm::ShiftedSigmoid,
            [sigmoid(1.5 + 2.0), sigmoid(0.7 + 2.0)],
            [0.3, -0.4],
            [0.0, 0.0],
        ),
        (
            AffineForm::Gaussian,
            [(-1.5f64).exp(), (-0.7f64).exp()],
            [-0.3, 0.4],
            [0.0, 0.0],
        ),
    ];
    for (form, scale, before, after) in cases {
        let vs = store(Kind::Double);
        let coupling = AffineCoupling::new(&vs.root(), [3, 2], form, |_, inputs, outputs| {
            assert_eq!((inputs, outputs), (3, 4));
            Ok(Constant)
        })
        .unwrap();
        let z = coupling.forward(&x, cx()).unwrap();
        assert!(z.value.narrow(1, 0, 3).equal(&x.narrow(1, 0, 3)));
        for (i, x) in [u, v].into_iter().enumerate() {
            let expected = (x + before[i]) * scale[i] + after[i];
            let got = z.value.double_value(&[0, 3 + i as i64, 0, 0]);
            assert!(
                (got - expected).abs() < 1e-12,
                "{form:?}: {got}, {expected}"
            );
        }
        let log_det = scale.iter().map(|scale| scale.ln()).sum::<f64>();
        assert!((z.log_det.double_value(&[0]) - log_det).abs() < 1e-12);
    }
    let vs = store(Kind::Double);
    let empty = AffineCoupling::new(&vs.root(), [3, 0], AffineForm::Sigmoid, |_, _, _| {
        Ok(Constant)
    });
    let err = empty.unwrap_err().to_string();
    assert!(err.contains("got 3 and 0"), "{err}");
}

#[test]
fn an_odd_number_of_channels_cannot_be_halved() {
    let vs = store(Kind::Double);
    let config = coupling_config(Net::Z, false);
    let err = SplitPrior::new(&vs.root(), 3, &config)
        .unwrap_err()
        .to_string();
    assert!(
        err.contains("even number of channels") && err.contains("got 3"),
        "{err}"
    );
}

#[test]
fn conv2d_zero_keeps_bias_and_logs_apart() {
    let vs = store(Kind::Double);
    let _net = inverse_flow::nn::Conv2dZero::new(&vs.root(), 2, 3).unwrap();
    let variables = vs.variables();
    tch::no_grad(|| {
        let _ = variables["bias"].shallow_clone().fill_(1.0);
    });
    assert_eq!(variables["logs"].abs().max().double_value(&[]), 0.0);
}

#[test]
fn conv2d_zero_scales_its_output_by_exp_3_logs() {
    use inverse_flow::nn::Conditioner;
    let vs = store(Kind::Double);
    let layer = inverse_flow::nn::Conv2dZero::new(&vs.root(), 2, 3).unwrap();
    randomize(&vs, 1, 0.5);
    let x = normal(2, &[2, 2, 4, 5]);
    let v = vs.variables();
    let conv = x.conv2d(&v["weight"], Some(&v["bias"]), [1], [1], [1], 1);
    let expected = conv * (&v["logs"] * 3.0).exp().view([1, 3, 1, 1]);
    assert_close("value", &layer.forward(&x, None).unwrap(), &expected, 1e-12);
}

#[test]
fn a_pointwise_convolution_is_a_convolution() {
    use inverse_flow::nn::{Conditioner, Conv2d};
    for bias in [false, true] {
        let vs = store(Kind::Double);
        let layer = Conv2d::new(&vs.root(), 5, 3, 1, bias).unwrap();
        let v = vs.variables();
        for n in [0, 1, 4] {
            let x = normal(2, &[n, 5, 2, 7]);
            let expected = x.conv2d(&v["weight"], v.get("bias"), [1], [0], [1], 1);
            let got = layer
                .forward(&x.transpose(2, 3).contiguous().transpose(2, 3), None)
                .unwrap();
            assert_close("value", &got, &expected, 1e-12);
        }
    }
}

#[test]
fn a_split_is_undone_by_its_merge_and_its_log_det_is_the_jacobians() {
    let vs = store(Kind::Double);
    let prior = SplitPrior::new(&vs.root(), 4, &coupling_config(Net::Z, false)).unwrap();
    randomize(&vs, 2, 0.4);
    let x = normal(3, &[2, 4, 2, 3]);
    let split = prior.split(&x, Cx::default()).unwrap();
    assert_eq!(split.kept.size(), [2, 2, 2, 3]);
    let merged = prior
        .merge(&split.kept, &split.latent, Cx::default())
        .unwrap();
    assert_close("merge", &merged.value, &x, 1e-12);
    assert_close(
        "log-dets",
        &(&merged.log_det + &split.log_det),
        &split.log_det.zeros_like(),
        1e-12,
    );
    for i in 0..2 {
        let exact = jacobian_log_det(&x.narrow(0, i, 1), |x| {
            let split = prior.split(x, Cx::default()).unwrap();
            Tensor::cat(&[split.kept, split.latent], 1)
        });
        assert!((exact - split.log_det.double_value(&[i])).abs() < 1e-9);
    }
    let err = prior
        .merge(&split.kept, &split.latent.narrow(0, 0, 1), Cx::default())
        .unwrap_err();
    assert!(
        err.to_string().contains("`latent` must have the size"),
        "{err}"
    );
}
