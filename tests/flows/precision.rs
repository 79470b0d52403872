//! Nets in another precision than their parameters: near the exact net, and the couplings around them as exact as ever.

use crate::common::*;
use crate::process::again;
use inverse_flow::flows::*;
use inverse_flow::nn::{
    norm_net, weight_norm_net, Activation, Conditioner, Conv2d, Conv2dZero, CouplingConfig,
    CouplingNet, Net, Precision, Stack, TwiceBiasedConv2dZero,
};
use tch::{nn, Kind, Tensor};

/// Set in the process that has nothing to do but the test of TF32.
const ALONE: &str = "INVERSE_FLOW_TEST_ALONE";

const NETS: [Net; 4] = [Net::W, Net::N, Net::T, Net::Z];

fn coupling_net(vs: &nn::Path, net: Net, inputs: i64, outputs: i64) -> CouplingNet {
    let config = CouplingConfig {
        net,
        width: 10,
        zero_init_last: false,
    };
    CouplingNet::new(vs, inputs, outputs, &config).unwrap()
}

/// Every net there is, from 3 to 5 channels, with parameters away from their start.
fn nets(kind: Kind) -> Vec<(String, nn::VarStore, Box<dyn Conditioner>)> {
    type Make = Box<dyn Fn(&nn::Path) -> Box<dyn Conditioner>>;
    let mut makes: Vec<(String, Make)> = NETS
        .into_iter()
        .map(|net| {
            let make: Make = Box::new(move |vs| Box::new(coupling_net(vs, net, 3, 5)));
            (format!("{net:?}"), make)
        })
        .collect();
    let stack = |vs: &nn::Path| {
        Stack::new(Activation::Elu)
            .push(Conv2d::new(&(vs / 0), 3, 8, 5, true).unwrap())
            .push(Conv2d::new(&(vs / 1), 8, 5, 1, true).unwrap())
    };
    makes.push(("stack".into(), Box::new(move |vs| Box::new(stack(vs)))));
    makes.push((
        "weight_norm".into(),
        Box::new(|vs| Box::new(weight_norm_net(vs, 3, 5, 10).unwrap())),
    ));
    makes.push((
        "norm".into(),
        Box::new(|vs| Box::new(norm_net(vs, 3, 5, 10).unwrap())),
    ));
    makes.push((
        "conv".into(),
        Box::new(|vs| Box::new(Conv2d::new(vs, 3, 5, 3, true).unwrap())),
    ));
    makes.push((
        "pointwise".into(),
        Box::new(|vs| Box::new(Conv2d::new(vs, 3, 5, 1, false).unwrap())),
    ));
    makes.push((
        "zero".into(),
        Box::new(|vs| Box::new(Conv2dZero::new(vs, 3, 5).unwrap())),
    ));
    makes.push((
        "twice biased".into(),
        Box::new(|vs| Box::new(TwiceBiasedConv2dZero::new(vs, 3, 5).unwrap())),
    ));
    makes
        .into_iter()
        .map(|(name, make)| {
            let vs = store(kind);
            let mut net = seeded(|| make(&vs.root()));
            let first = normal(3, &[4, 3, 6, 5]).to_kind(kind);
            tch::no_grad(|| net.initialize(&first, None)).unwrap();
            shake(&vs, 5, 0.2);
            (name, vs, net)
        })
        .collect()
}

/// The length of the difference relative to that of `exact`.
fn apart(got: &Tensor, exact: &Tensor) -> f64 {
    assert_eq!((got.size(), got.kind()), (exact.size(), exact.kind()));
    let length = |t: &Tensor| t.to_kind(Kind::Double).square().sum(Kind::Double).sqrt();
    (length(&(got - exact)) / (length(exact) + 1e-30)).double_value(&[])
}

/// The output, and the gradients of its product with a fixed tensor: of the input, then of the variables by name.
fn passes(net: &dyn Conditioner, vs: &nn::VarStore, x: &Tensor) -> (Tensor, Vec<(String, Tensor)>) {
    let x = x.detach().set_requires_grad(true);
    let y = net.forward(&x, None).unwrap();
    let (names, mut leaves): (Vec<_>, Vec<_>) = trainable(vs).into_iter().unzip();
    leaves.insert(0, x);
    let loss = (&y * normal(8, &y.size()).to_kind(y.kind())).sum(None::<Kind>);
    let grads = Tensor::run_backward(&[loss], &leaves, false, false);
    let names = ["x".to_owned()].into_iter().chain(names);
    (y.detach(), names.zip(grads).collect())
}

#[test]
fn values_and_gradients_in_bfloat16_are_within_its_rounding() {
    let x = normal(1, &[3, 3, 7, 5]).to_kind(Kind::Float);
    for (name, vs, mut net) in nets(Kind::Float) {
        let (exact, exact_grads) = passes(net.as_ref(), &vs, &x);
        net.set_precision(Precision::BFloat16).unwrap();
        let (near, near_grads) = passes(net.as_ref(), &vs, &x);
        let error = apart(&near, &exact);
        // a rounding of 2^-9 at the input, at the weights and between the layers
        assert!((1e-4..2e-2).contains(&error), "{name}: {error:.1e}");
        for ((variable, near), (_, exact)) in near_grads.iter().zip(&exact_grads) {
            let error = apart(near, exact);
            // a ReLU may be on the other side of its kink
            assert!(error < 0.1, "{name}, {variable}: {error:.1e}");
        }
        net.set_precision(Precision::Float32).unwrap();
        let (back, _) = passes(net.as_ref(), &vs, &x);
        assert_eq!(max_diff(&back, &exact), 0.0, "{name}");
    }
}

/// The last sum of a net that has an output scale is widened before its bias and scale: they keep all of their bits.
#[test]
fn the_bias_and_the_scale_at_the_end_of_a_net_are_not_rounded() {
    let x = normal(1, &[2, 3, 5, 4]).to_kind(Kind::Float);
    for (name, vs, mut net) in nets(Kind::Float) {
        let zero_at_the_end = ["W", "N", "Z", "zero", "twice biased", "norm"];
        if !zero_at_the_end.contains(&name.as_str()) {
            continue;
        }
        // a last filter of zeros leaves bias and scale
        let mut filters = trainable(&vs).into_iter();
        let (_, mut last) = filters.rfind(|(name, _)| name.ends_with("weight")).unwrap();
        let _ = tch::no_grad(|| last.zero_());
        let exact = net.forward(&x, None).unwrap();
        net.set_precision(Precision::BFloat16).unwrap();
        let near = net.forward(&x, None).unwrap();
        assert!(exact.abs().max().double_value(&[]) > 0.01, "{name}");
        assert_eq!(max_diff(&near, &exact), 0.0, "{name}");
    }
}

fn layers(kind: Kind) -> Vec<(String, nn::VarStore, Box<dyn Transform>)> {
    let mut layers: Vec<(String, nn::VarStore, Box<dyn Transform>)> = Vec::new();
    let mut add = |name: String, make: &dyn Fn(&nn::Path) -> Box<dyn Transform>| {
        let vs = store(kind);
        let layer = seeded(|| make(&vs.root()));
        shake(&vs, 5, 0.2);
        layers.push((name, vs, layer));
    };
    for net in NETS {
        let with = move |vs: &nn::Path, inputs, outputs| Ok(coupling_net(vs, net, inputs, outputs));
        add(format!("coupling {net:?}"), &|vs| {
            Box::new(Coupling::new(vs, 4, with).unwrap())
        });
        add(format!("quad {net:?}"), &|vs| {
            Box::new(QuadCoupling::new(vs, 4, with).unwrap())
        });
    }
    for form in [AffineForm::Sigmoid, AffineForm::Gaussian] {
        add(format!("{form:?}"), &|vs| {
            let net = TwiceBiasedConv2dZero::new;
            let coupling = AffineCoupling::new(vs, [1, 3], form, net).unwrap();
            Box::new(Inverted(Sequential::new().push("coupling", coupling)))
        });
    }
    layers
}

/// In float64 around nets in bfloat16, so that rounding hides nothing. The Jacobian of a coupling is triangular, so that the
/// rounded derivative of the net is no part of its determinant.
#[test]
fn couplings_keep_their_laws_around_nets_in_every_precision() {
    for (name, _vs, mut layer) in layers(Kind::Double) {
        for precision in Precision::ALL {
            layer.set_precision(precision).unwrap();
            let what = format!("{name}, {precision}");
            for n in [0, 1, 3] {
                let x = normal(2, &[n, 4, 5, 3]);
                let there = layer.forward(&x, Cx::default()).unwrap();
                let back = layer.inverse(&there.value, Cx::default()).unwrap();
                assert_close(&what, &back.value, &x, 1e-12);
                let sum = &back.log_det + &there.log_det;
                assert_close(&what, &sum, &sum.zeros_like(), 1e-12);
                assert_eq!(there.value.kind(), Kind::Double, "{what}");
            }
            let one = normal(4, &[1, 4, 2, 3]);
            let forward = |x: &Tensor| layer.forward(x, Cx::default()).unwrap();
            let exact = jacobian_log_det(&one, |x| forward(x).value);
            let said = forward(&one).log_det.double_value(&[0]);
            assert!((said - exact).abs() < 1e-9, "{what}: {said} {exact}");
        }
        // and another precision is another map
        let x = normal(2, &[3, 4, 5, 3]);
        let near = layer.forward(&x, Cx::default()).unwrap();
        layer.set_precision(Precision::Float32).unwrap();
        let exact = layer.forward(&x, Cx::default()).unwrap();
        let error = max_diff(&near.value, &exact.value);
        assert!(error > 1e-5, "{name}: {error:.1e}");
        assert!(max_diff(&near.log_det, &exact.log_det) > 1e-5, "{name}");
    }
}

#[test]
fn a_condition_goes_into_a_net_in_bfloat16() {
    let config = |net| CouplingConfig {
        net,
        width: 10,
        zero_init_last: false,
    };
    for net in NETS {
        let vs = store(Kind::Float);
        let make = |vs: &nn::Path, inputs, outputs| {
            CouplingNet::with_condition(vs, inputs, outputs, &config(net), 6)
        };
        let mut coupling = seeded(|| Coupling::new(&vs.root(), 4, make)).unwrap();
        shake(&vs, 5, 0.2);
        let x = normal(1, &[3, 4, 5, 3]).to_kind(Kind::Float);
        let condition = normal(2, &[3, 6]).to_kind(Kind::Float);
        let cx = Cx {
            condition: Some(&condition),
            ..Cx::default()
        };
        let exact = coupling.forward(&x, cx).unwrap();
        coupling.set_precision(Precision::BFloat16).unwrap();
        let near = coupling.forward(&x, cx).unwrap();
        let error = apart(&near.value, &exact.value);
        assert!((1e-4..2e-2).contains(&error), "{net:?}: {error:.1e}");
        let back = coupling.inverse(&near.value, cx).unwrap();
        assert_close("round trip", &back.value, &x, 1e-5);
    }
}

#[test]
fn a_first_batch_sets_a_net_in_bfloat16_up_within_its_rounding() {
    let first = normal(3, &[5, 3, 6, 5]).to_kind(Kind::Float);
    for make in [norm_net, weight_norm_net] {
        let variables = [Precision::Float32, Precision::BFloat16].map(|precision| {
            let vs = store(Kind::Float);
            let mut net = seeded(|| make(&vs.root(), 3, 5, 10)).unwrap();
            net.set_precision(precision).unwrap();
            tch::no_grad(|| net.initialize(&first, None)).unwrap();
            trainable(&vs)
        });
        let [exact, near] = variables;
        for ((name, exact), (_, near)) in exact.iter().zip(&near) {
            let error = max_diff(near, exact);
            assert!(error < 5e-2, "{name}: {error:.1e}");
        }
    }
}

#[test]
fn what_cannot_compute_in_another_precision_says_so() {
    let vs = store(Kind::Float);
    let own =
        |vs: &nn::Path, inputs, outputs| Ok(nn::conv2d(vs, inputs, outputs, 1, Default::default()));
    let mut coupling = Coupling::new(&(vs.root() / "own"), 4, own).unwrap();
    let solver = FixedPoint::default();
    let path = vs.root() / "block";
    let mut block = MaskedResidual::new(&path, [2, 4, 4], 3, Triangle::Lower, solver).unwrap();
    for precision in [Precision::Tf32, Precision::BFloat16] {
        let err = coupling.set_precision(precision).unwrap_err().to_string();
        assert!(err.contains("kind of its parameters"), "{err}");
        let err = block.set_precision(precision).unwrap_err().to_string();
        assert!(err.contains("no net beside the map"), "{err}");
        assert!(err.contains(&precision.to_string()), "{err}");
    }
    coupling.set_precision(Precision::Float32).unwrap();
    block.set_precision(Precision::Float32).unwrap();
}

/// On a GPU: both passes of a net round to TF32, nothing else does, and the setting of the process is as before. In a
/// process of its own: while a net allows TF32, the convolutions of other tests would round too.
#[test]
fn cuda_tf32_is_used_by_nets_in_both_passes_and_by_nothing_else() {
    use inverse_flow::cuda::precision::get;
    let test = "cuda_tf32_is_used_by_nets_in_both_passes_and_by_nothing_else";
    if gpu(test).is_none() {
        return;
    }
    if std::env::var_os(ALONE).is_none() {
        let output = again(module_path!(), test).env(ALONE, "1").output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{err}");
        assert!(text.contains("1 passed"), "{text}");
        return;
    }
    let x = normal(1, &[3, 3, 7, 5]).to_kind(Kind::Float);
    for (name, vs, mut net) in nets(Kind::Float) {
        let (exact, exact_grads) = passes(net.as_ref(), &vs, &x);
        net.set_precision(Precision::Tf32).unwrap();
        let (near, near_grads) = passes(net.as_ref(), &vs, &x);
        // 2^-11 at the input and at the weights; exact to 1e-6 without
        let error = apart(&near, &exact);
        assert!((2e-5..3e-3).contains(&error), "{name}: {error:.1e}");
        for ((variable, near), (_, exact)) in near_grads.iter().zip(&exact_grads) {
            let error = apart(near, exact);
            assert!(error < 0.05, "{name}, {variable}: {error:.1e}");
        }
        // the backward pass of one convolution: the gradient of x does not depend on what the forward pass has rounded
        if name == "conv" {
            let error = apart(&near_grads[0].1, &exact_grads[0].1);
            assert!(error > 2e-5, "the backward pass is exact: {error:.1e}");
        }
        assert_eq!(get().unwrap().to_string(), "ieee", "{name}");
        let product = |x: &Tensor| x.conv2d(&x.narrow(0, 0, 1), None::<&Tensor>, 1, 0, 1, 1);
        let float64 = product(&x.to_kind(Kind::Double)).to_kind(Kind::Float);
        assert!(apart(&product(&x), &float64) < 1e-6);
    }
}
