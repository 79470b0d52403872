//! Conditions: they reach the nets of couplings in both directions, and wrong ones are refused.

use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::nn::{conditional, CouplingConfig, CouplingNet, Net};
use inverse_flow::torchscript::Script;
use inverse_flow::{Error, Result};
use tch::{nn, Kind, Tensor};

const FEATURES: i64 = 3;

/// The layer under a condition.
#[derive(Debug)]
struct Given {
    layer: Box<dyn Transform>,
    condition: Tensor,
}

impl Given {
    fn cx(&self) -> Cx<'_> {
        Cx {
            condition: Some(&self.condition),
            ..Cx::default()
        }
    }
}

impl Transform for Given {
    fn name(&self) -> &'static str {
        self.layer.name()
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.layer.forward(x, self.cx())
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.layer.inverse(z, self.cx())
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        self.layer.out_shape(chw)
    }
}

fn coupling_net(net: Net) -> impl Fn(&nn::Path, i64, i64) -> Result<CouplingNet> {
    let config = CouplingConfig {
        net,
        width: 5,
        zero_init_last: false,
    };
    move |vs, inputs, outputs| CouplingNet::with_condition(vs, inputs, outputs, &config, FEATURES)
}

/// Layers that need a condition, for images of 4 channels.
fn layers() -> Vec<(String, nn::VarStore, Box<dyn Transform>)> {
    type Make = fn(&nn::Path) -> Box<dyn Transform>;
    let makes: [(&str, Make); 7] = [
        ("W", |vs| {
            Box::new(Coupling::new(vs, 4, coupling_net(Net::W)).unwrap())
        }),
        ("N", |vs| {
            Box::new(Coupling::new(vs, 4, coupling_net(Net::N)).unwrap())
        }),
        ("T", |vs| {
            Box::new(Coupling::new(vs, 4, coupling_net(Net::T)).unwrap())
        }),
        ("Z", |vs| {
            Box::new(Coupling::new(vs, 4, coupling_net(Net::Z)).unwrap())
        }),
        ("quad", |vs| {
            Box::new(QuadCoupling::new(vs, 4, coupling_net(Net::Z)).unwrap())
        }),
        ("closure", |vs| {
            let net = |vs: &nn::Path, inputs, outputs| {
                let conv = nn::conv2d(vs, inputs, outputs, 1, Default::default());
                let embed = nn::linear(vs / "embed", FEATURES, outputs, Default::default());
                Ok(conditional(move |x, condition| {
                    let bias = condition.apply(&embed).unsqueeze(-1).unsqueeze(-1);
                    Ok((x.apply(&conv) + bias).tanh())
                }))
            };
            let form = AffineForm::ShiftedSigmoid;
            Box::new(AffineCoupling::new(vs, [1, 3], form, net).unwrap())
        }),
        ("sequence", |vs| {
            let there = Coupling::new(&(vs / "there"), 4, coupling_net(Net::Z)).unwrap();
            let back = Coupling::new(&(vs / "back"), 4, coupling_net(Net::T)).unwrap();
            let layers = Sequential::new()
                .push("there", there)
                .push("reverse", ReverseChannels)
                .push("back", Inverted(back));
            Box::new(layers)
        }),
    ];
    makes
        .into_iter()
        .map(|(name, make)| {
            let vs = store(Kind::Double);
            let layer = seeded(|| make(&vs.root()));
            randomize(&vs, 3, 0.2);
            (name.to_owned(), vs, layer)
        })
        .collect()
}

#[test]
fn the_laws_hold_under_a_condition() {
    for n in [0, 1, 3] {
        for (name, _vs, layer) in layers() {
            let condition = normal(5, &[n, FEATURES]);
            let given = Given { layer, condition };
            let x = normal(4, &[n, 4, 3, 2]);
            assert_bijective(&format!("{name} batch {n}"), &given, &x, 1e-9);
            if n == 1 {
                assert_log_det(&name, &given, &x, 1e-9);
            }
        }
    }
}

#[test]
fn every_image_has_the_condition_of_its_own() {
    for (name, _vs, layer) in layers() {
        let (x, condition) = (normal(4, &[3, 4, 3, 2]), normal(5, &[3, FEATURES]));
        let under = |x: &Tensor, condition: &Tensor| {
            let cx = Cx {
                condition: Some(condition),
                ..Cx::default()
            };
            layer.forward(x, cx).unwrap()
        };
        let all = under(&x, &condition);
        for i in 0..3 {
            let one = under(&x.narrow(0, i, 1), &condition.narrow(0, i, 1));
            assert_close(&name, &one.value, &all.value.narrow(0, i, 1), 1e-12);
            assert_close(&name, &one.log_det, &all.log_det.narrow(0, i, 1), 1e-12);
        }
        let other = under(&x, &(&condition + 1.0));
        assert!(max_diff(&other.value, &all.value) > 1e-3, "{name}");
        assert!(max_diff(&other.log_det, &all.log_det) > 1e-3, "{name}");
    }
}

#[test]
fn gradients_with_respect_to_the_condition_are_central_differences() {
    for (name, vs, layer) in layers() {
        let condition = normal(5, &[2, FEATURES]).set_requires_grad(true);
        let x = normal(4, &[2, 4, 3, 2]).set_requires_grad(true);
        let given = Given {
            layer,
            condition: condition.shallow_clone(),
        };
        for inverse in [false, true] {
            let mut variables = trainable(&vs);
            variables.push(("condition".into(), condition.shallow_clone()));
            variables.push(("x".into(), x.shallow_clone()));
            for (variable, _) in &mut variables {
                *variable = format!("{name}, inverse {inverse}: {variable}");
            }
            assert_gradients(&variables, 1e-6, || {
                let mapped = match inverse {
                    false => given.forward(&x, Cx::default()),
                    true => given.inverse(&x, Cx::default()),
                };
                probe(&mapped.unwrap(), 31)
            });
        }
    }
}

#[test]
fn a_wrong_condition_is_an_error_that_says_what_is_wrong() {
    let x = normal(4, &[2, 4, 3, 2]);
    for (name, _vs, layer) in layers() {
        let cases = [
            (Some(normal(5, &[3, FEATURES])), "N = 2"),
            (Some(normal(5, &[2])), "N = 2"),
            (Some(normal(5, &[2, FEATURES, 1])), "N = 2"),
            (
                Some(normal(5, &[2, FEATURES]).to_kind(Kind::Float)),
                "float64",
            ),
            (None, "got none"),
        ];
        for (condition, part) in &cases {
            let cx = Cx {
                condition: condition.as_ref(),
                ..Cx::default()
            };
            for result in [layer.forward(&x, cx), layer.inverse(&x, cx)] {
                let err = result.unwrap_err();
                assert!(
                    matches!(
                        err,
                        Error::Argument {
                            arg: "condition",
                            ..
                        }
                    ),
                    "{name}: {err}"
                );
                assert!(err.to_string().contains(part), "{name}: {err}");
            }
        }
        if name != "closure" {
            let wide = normal(5, &[2, FEATURES + 1]);
            let cx = Cx {
                condition: Some(&wide),
                ..Cx::default()
            };
            let err = layer.forward(&x, cx).unwrap_err().to_string();
            assert!(
                err.contains("F = 3") && err.contains("[2, 4]"),
                "{name}: {err}"
            );
        }
    }
}

#[test]
fn a_net_without_use_for_a_condition_ignores_it_and_one_with_a_condition_has_one_variable_more() {
    let config = CouplingConfig {
        net: Net::N,
        width: 5,
        zero_init_last: false,
    };
    let plain = store(Kind::Double);
    let layer = Coupling::new(&plain.root(), 4, |vs, inputs, outputs| {
        CouplingNet::new(vs, inputs, outputs, &config)
    })
    .unwrap();
    randomize(&plain, 3, 0.4);
    let (x, condition) = (normal(4, &[2, 4, 3, 2]), normal(5, &[2, FEATURES]));
    let cx = Cx {
        condition: Some(&condition),
        ..Cx::default()
    };
    let (with, without) = (layer.forward(&x, cx), layer.forward(&x, Cx::default()));
    assert!(with.unwrap().value.equal(&without.unwrap().value));

    let names = |vs: &nn::VarStore| named(vs).into_iter().map(|(name, _)| name);
    let conditional = store(Kind::Double);
    let _layer = Coupling::new(&conditional.root(), 4, coupling_net(Net::N)).unwrap();
    let more: Vec<_> = names(&conditional)
        .filter(|name| !names(&plain).any(|n| n == *name))
        .collect();
    assert_eq!(more, ["net.0.condition"]);
    assert_eq!(
        conditional.variables()["net.0.condition"].size(),
        [5, FEATURES]
    );
    assert_eq!(names(&conditional).count(), names(&plain).count() + 1);

    for features in [0, -1] {
        let vs = store(Kind::Double);
        let err = CouplingNet::with_condition(&vs.root(), 2, 4, &config, features).unwrap_err();
        assert!(matches!(err, Error::Config(_)), "{err}");
    }
}

#[test]
fn a_first_batch_is_taken_under_its_condition() {
    /// Needs a first batch, and knows under which condition it came.
    #[derive(Debug)]
    struct Remembers(Tensor);
    impl inverse_flow::nn::Conditioner for Remembers {
        fn forward(&self, x: &Tensor, _condition: Option<&Tensor>) -> Result<Tensor> {
            Ok(Tensor::f_cat(&[x, x], 1)?)
        }

        fn initialize(&mut self, _x: &Tensor, condition: Option<&Tensor>) -> Result<()> {
            let seen = condition.map(|c| c.sum(Kind::Double));
            self.0.copy_(&seen.unwrap_or_else(|| Tensor::from(-1.0)));
            Ok(())
        }
    }
    let (x, condition) = (normal(4, &[2, 4, 3, 2]), normal(5, &[2, FEATURES]));
    let seen = Tensor::from(0.0f64).to_device(device());
    let net = |_: &nn::Path, _, _| Ok(Remembers(seen.shallow_clone()));
    let vs = store(Kind::Double);
    let coupling = Coupling::new(&vs.root(), 4, net).unwrap();
    let cx = Cx {
        condition: Some(&condition),
        ..Cx::default()
    };
    let mut flow = Sequential::new().push("coupling", coupling);
    flow.initialize(&x, cx).unwrap();
    assert_close("seen", &seen, &condition.sum(Kind::Double), 0.0);
}

#[test]
fn a_net_with_a_condition_has_no_torchscript_and_says_where() {
    let (_, _vs, layer) = layers().swap_remove(0);
    let flow = Sequential::new().push_boxed("steps.0", layer);
    let err: Result<Script> = flow.torchscript();
    let err = err.unwrap_err().to_string();
    assert!(
        err.contains("`steps.0.net") && err.contains("condition"),
        "{err}"
    );
}
