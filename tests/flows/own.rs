//! Layers and nets of one's own, and sequences of layers as densities.

use crate::common::*;
use crate::own_layer::Shift;
use inverse_flow::flows::*;
use inverse_flow::nn::{Activation, Conv2d, Stack};
use inverse_flow::Error;
use tch::{nn, nn::OptimizerConfig, Kind, Tensor};

fn flow(vs: &nn::Path) -> Sequential {
    let net = |vs: &nn::Path, inputs, outputs| {
        let conv = nn::conv2d(vs, inputs, outputs, 1, Default::default());
        Ok(nn::func(move |x| x.apply(&conv).tanh()))
    };
    Sequential::new()
        .push("squeeze", Squeeze::new(2).unwrap())
        .push("shift", Shift(vs.zeros("shift", &[1, 4, 1, 1])))
        .push(
            "coupling",
            Coupling::new(&(vs / "coupling"), 4, net).unwrap(),
        )
}

#[test]
fn a_layer_with_four_methods_trains_samples_and_says_that_it_has_no_torchscript() {
    let vs = nn::VarStore::new(device());
    let flow = seeded(|| flow(&vs.root())).over(&vs.root(), [1, 4, 6]);
    let x = normal(1, &[16, 1, 4, 6]).to_kind(Kind::Float) * 0.3 + 2.0;
    let nll = || -flow.log_prob(&x, Cx::default()).unwrap().mean(Kind::Float);
    let before = nll().double_value(&[]);
    let mut adam = nn::Adam::default().build(&vs, 0.05).unwrap();
    for _ in 0..60 {
        adam.backward_step(&nll());
    }
    let after = nll().double_value(&[]);
    assert!(after < before - 10.0, "{before} {after}");

    let samples = flow.sample(5, 0.5, Cx::default()).unwrap();
    assert_eq!(samples.size(), [5, 1, 4, 6]);
    assert!(!samples.requires_grad());
    let mean = samples.mean(Kind::Float).double_value(&[]);
    assert!(
        (mean - 2.0).abs() < 0.5,
        "samples are not like the data: {mean}"
    );

    let err = flow.torchscript().unwrap_err();
    assert!(matches!(err, Error::NoTorchScript { .. }), "{err}");
    assert!(
        err.to_string()
            .starts_with("`shift`: shift has no TorchScript"),
        "{err}"
    );
}

#[test]
fn a_sequences_likelihood_is_that_of_its_latent_and_its_log_det() {
    let vs = store(Kind::Double);
    let flow = seeded(|| flow(&vs.root()));
    randomize(&vs, 2, 0.5);
    let x = normal(3, &[3, 1, 4, 6]);
    let Mapped { value, log_det } = flow.encode(&x, Cx::default()).unwrap();
    let density =
        value
            .square()
            .flatten(1, -1)
            .sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)
            * -0.5
            - 12.0 * std::f64::consts::TAU.ln();
    let log_prob = flow.log_prob(&x, Cx::default()).unwrap();
    assert_close("log p", &log_prob, &(density + log_det), 1e-12);
    let back = flow.decode(&value, Cx::default()).unwrap().value;
    assert_close("decoded", &back, &x, 1e-12);
}

#[test]
fn samples_are_decoded_draws_of_the_global_generator_times_the_temperature() {
    let vs = store(Kind::Double);
    let flow = seeded(|| flow(&vs.root())).over(&vs.root(), [1, 4, 6]);
    randomize(&vs, 2, 0.5);
    let samples = seeded(|| flow.sample(3, 0.7, Cx::default())).unwrap();
    let eps = seeded(|| Tensor::randn([3, 4, 2, 3], (Kind::Double, device()))) * 0.7;
    let expected = flow.decode(&eps, Cx::default()).unwrap().value;
    assert_close("samples", &samples, &expected, 0.0);
    assert_eq!(
        flow.sample(0, 1.0, Cx::default()).unwrap().size(),
        [0, 1, 4, 6]
    );
    for (n, temperature, part) in [
        (-1, 1.0, "`n` must be"),
        (1, -0.1, "`temperature` must be"),
        (1, f64::NAN, "`temperature`"),
    ] {
        let err = flow
            .sample(n, temperature, Cx::default())
            .unwrap_err()
            .to_string();
        assert!(err.contains(part), "{err}");
    }
}

#[test]
fn a_sequence_learns_the_shape_of_its_data_from_the_first_batch_or_is_told() {
    let vs = store(Kind::Double);
    let mut flow = seeded(|| flow(&vs.root()));
    let err = flow.sample(1, 1.0, Cx::default()).unwrap_err().to_string();
    assert!(
        err.contains("`over`") && err.contains("`initialize`"),
        "{err}"
    );
    flow.initialize(&normal(1, &[2, 1, 6, 4]), Cx::default())
        .unwrap();
    let samples = flow.sample(3, 1.0, Cx::default()).unwrap();
    assert_eq!(
        (samples.size(), samples.kind()),
        (vec![3, 1, 6, 4], Kind::Double)
    );
    // an image that the squeeze cannot take
    let odd = flow.over(&vs.root(), [1, 5, 4]);
    assert!(odd.sample(1, 1.0, Cx::default()).is_err());
}

#[test]
fn layers_of_one_name_or_with_names_that_are_none_have_no_program() {
    for name in ["reverse", "a..b", "", "a__b"] {
        let flow = Sequential::new()
            .push("reverse", ReverseChannels)
            .push(name, ReverseChannels);
        let err = flow.torchscript().unwrap_err();
        assert!(matches!(err, Error::Config(_)), "{err}");
        assert!(err.to_string().contains(&format!("{name:?}")), "{err}");
    }
}

#[test]
fn nets_of_tch_keep_the_laws_and_say_that_they_have_no_torchscript() {
    let vs = store(Kind::Double);
    let root = vs.root();
    let layers: Vec<Box<dyn Transform>> = vec![
        Box::new(
            Coupling::new(&(&root / "seq"), 4, |vs, inputs, outputs| {
                Ok(nn::seq()
                    .add(nn::conv2d(vs / 0, inputs, 5, 1, Default::default()))
                    .add_fn(|x| x.elu())
                    .add(nn::conv2d(vs / 1, 5, outputs, 1, Default::default())))
            })
            .unwrap(),
        ),
        Box::new(
            QuadCoupling::new(&(&root / "quad"), 4, |vs, inputs, outputs| {
                Ok(nn::conv2d(vs, inputs, outputs, 1, Default::default()))
            })
            .unwrap(),
        ),
        Box::new(
            AffineCoupling::new(
                &(&root / "stack"),
                [1, 3],
                AffineForm::Sigmoid,
                |vs, inputs, outputs| {
                    let conv = nn::conv2d(vs / 1, 5, outputs, 1, Default::default());
                    Ok(Stack::new(Activation::Elu)
                        .push(Conv2d::new(&(vs / 0), inputs, 5, 3, true)?)
                        .push(conv))
                },
            )
            .unwrap(),
        ),
    ];
    randomize(&vs, 3, 0.4);
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("{index} {}", layer.name());
        assert_bijective(&name, layer.as_ref(), &normal(1, &[3, 4, 3, 2]), 1e-9);
        assert_log_det(&name, layer.as_ref(), &normal(1, &[2, 4, 3, 2]), 1e-9);
        let err = layer.torchscript().unwrap_err().to_string();
        assert!(err.contains("net") && err.contains("tch::nn::"), "{err}");
    }
}

#[test]
fn a_net_of_another_size_is_an_error_that_names_it() {
    let wrong = |x: &Tensor| x.narrow(1, 0, 1);
    let vs = store(Kind::Double);
    let layers: Vec<Box<dyn Transform>> = vec![
        Box::new(Coupling::new(&vs.root(), 4, |_, _, _| Ok(nn::func(wrong))).unwrap()),
        Box::new(QuadCoupling::new(&vs.root(), 4, |_, _, _| Ok(nn::func(wrong))).unwrap()),
        Box::new(
            AffineCoupling::new(&vs.root(), [2, 2], AffineForm::Gaussian, |_, _, _| {
                Ok(nn::func(wrong))
            })
            .unwrap(),
        ),
    ];
    for layer in layers {
        let err = layer
            .forward(&normal(1, &[2, 4, 3, 2]), Cx::default())
            .unwrap_err();
        assert!(matches!(err, Error::Argument { arg: "net", .. }), "{err}");
    }
}

#[test]
fn helpers_refuse_tensors_without_a_batch() {
    let number = Tensor::from(1.0).to_device(device());
    assert!(zero_log_det(&number).is_err());
    assert!(sum_per_sample(&number).is_err());
    assert!(Sequential::new().forward(&number, Cx::default()).is_err());
    assert!(Sequential::new()
        .initialize(&number, Cx::default())
        .is_err());
}
