//! Parameter counts of the paper's tables, and the names that checkpoints rely on.

use crate::common::*;
use crate::support::*;
use inverse_flow::models::*;
use tch::Kind;

fn tables(image: [i64; 3], kernel: i64) -> GlowConfig {
    GlowConfig {
        mixing: inverse_flow(kernel, 0.01),
        spline: None,
        coupling: CouplingConfig {
            net: Net::Z,
            width: 512,
            zero_init_last: false,
        },
        split_prior: Some(512),
        ..small(image, 2, 16)
    }
}

fn count(config: &GlowConfig) -> i64 {
    let vs = store(Kind::Float);
    glow(&vs, config).unwrap();
    parameter_count(&vs)
}

#[test]
fn parameter_counts_are_those_of_tables_3_and_6() {
    let table3 = GlowConfig {
        spline: Some(SplineConfig {
            bins: 5,
            tail: 20.0,
            shared: false,
        }),
        ..tables([1, 28, 28], 2)
    };
    assert_eq!(count(&table3), 1_640_968);
    let table6 = GlowConfig {
        actnorm: false,
        spline: Some(SplineConfig {
            bins: 10,
            tail: 20.0,
            shared: true,
        }),
        coupling: CouplingConfig {
            net: Net::T,
            width: 512,
            zero_init_last: false,
        },
        ..tables([3, 32, 32], 3)
    };
    assert_eq!(count(&table6), 1_760_416);
}

#[test]
fn parameter_counts_of_the_other_nets_follow_their_formulas() {
    let formula = |net, c: i64, w: i64| {
        let h = c / 2;
        match net {
            Net::W => 9 * h * w + w + w * w + w + 9 * w * c + 2 * c,
            Net::N => 9 * h * w + w * c + 9 * c * c + 2 * c,
            Net::T => 9 * h * w + w * c,
            Net::Z => 9 * h * w + w + 9 * w * c + 2 * c,
        }
    };
    for net in [Net::W, Net::N, Net::T, Net::Z] {
        let config = GlowConfig {
            levels: 1,
            steps: 1,
            split_prior: None,
            coupling: CouplingConfig {
                net,
                width: 20,
                zero_init_last: false,
            },
            ..tables([3, 4, 6], 3)
        };
        assert_eq!(
            count(&config),
            2 * 12 + 9 * 12 * 12 + formula(net, 12, 20),
            "{net:?}"
        );
    }
}

#[test]
fn variable_names_and_sizes_are_stable() {
    let config = GlowConfig {
        steps: 1,
        spline: Some(SplineConfig {
            bins: 5,
            tail: 20.0,
            shared: false,
        }),
        coupling: CouplingConfig {
            net: Net::Z,
            width: 6,
            zero_init_last: false,
        },
        split_prior: Some(7),
        ..tables([1, 4, 8], 3)
    };
    let vs = store(Kind::Float);
    glow(&vs, &config).unwrap();
    let got: Vec<_> = named(&vs)
        .into_iter()
        .map(|(name, variable)| (name, variable.size()))
        .collect();
    let expected: Vec<(&str, &[i64])> = vec![
        ("levels.0.split.coupling.net.0.bias", &[7]),
        ("levels.0.split.coupling.net.0.weight", &[7, 2, 3, 3]),
        ("levels.0.split.coupling.net.2.bias", &[4]),
        ("levels.0.split.coupling.net.2.logs", &[4]),
        ("levels.0.split.coupling.net.2.weight", &[4, 7, 3, 3]),
        ("levels.0.steps.0.actnorm.initialized", &[]),
        ("levels.0.steps.0.actnorm.loc", &[4]),
        ("levels.0.steps.0.actnorm.log_scale", &[4]),
        ("levels.0.steps.0.coupling.net.0.bias", &[6]),
        ("levels.0.steps.0.coupling.net.0.weight", &[6, 2, 3, 3]),
        ("levels.0.steps.0.coupling.net.2.bias", &[4]),
        ("levels.0.steps.0.coupling.net.2.logs", &[4]),
        ("levels.0.steps.0.coupling.net.2.weight", &[4, 6, 3, 3]),
        ("levels.0.steps.0.inv_conv.weight", &[4, 4, 3, 3]),
        ("levels.0.steps.0.spline.derivatives", &[32, 4]),
        ("levels.0.steps.0.spline.heights", &[32, 5]),
        ("levels.0.steps.0.spline.widths", &[32, 5]),
        ("levels.1.steps.0.actnorm.initialized", &[]),
        ("levels.1.steps.0.actnorm.loc", &[8]),
        ("levels.1.steps.0.actnorm.log_scale", &[8]),
        ("levels.1.steps.0.coupling.net.0.bias", &[6]),
        ("levels.1.steps.0.coupling.net.0.weight", &[6, 4, 3, 3]),
        ("levels.1.steps.0.coupling.net.2.bias", &[8]),
        ("levels.1.steps.0.coupling.net.2.logs", &[8]),
        ("levels.1.steps.0.coupling.net.2.weight", &[8, 6, 3, 3]),
        ("levels.1.steps.0.inv_conv.weight", &[8, 8, 3, 3]),
        ("levels.1.steps.0.spline.derivatives", &[16, 4]),
        ("levels.1.steps.0.spline.heights", &[16, 5]),
        ("levels.1.steps.0.spline.widths", &[16, 5]),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(name, size)| (name.to_owned(), size.to_vec()))
        .collect();
    assert_eq!(got, expected);
}

#[test]
fn the_nets_of_three_layers_number_their_convolutions_0_2_4() {
    for (net, expected) in [
        (
            Net::W,
            vec![
                "0.bias", "0.weight", "2.bias", "2.weight", "4.bias", "4.logs", "4.weight",
            ],
        ),
        (
            Net::N,
            vec!["0.weight", "2.weight", "4.bias", "4.logs", "4.weight"],
        ),
        (Net::T, vec!["0.weight", "2.weight"]),
    ] {
        let config = GlowConfig {
            levels: 1,
            steps: 1,
            actnorm: false,
            coupling: CouplingConfig {
                net,
                width: 6,
                zero_init_last: true,
            },
            ..tables([1, 4, 8], 3)
        };
        let vs = store(Kind::Float);
        glow(&vs, &config).unwrap();
        let names: Vec<_> = named(&vs)
            .into_iter()
            .filter_map(|(name, _)| {
                name.strip_prefix("levels.0.steps.0.coupling.net.")
                    .map(str::to_owned)
            })
            .collect();
        assert_eq!(names, expected, "{net:?}");
    }
}

/// Name and size.
type Variable = (&'static str, &'static [i64]);

#[test]
fn every_family_names_its_variables() {
    let expected: [(&str, &[Variable]); 10] = [
        ("inverse-flow", &[("inv_conv.weight", &[4, 4, 2, 2])]),
        (
            "snf",
            &[
                ("self_norm.bias", &[4]),
                ("self_norm.inverse", &[4, 4, 1, 1]),
                ("self_norm.weight", &[4, 4, 1, 1]),
            ],
        ),
        (
            "emerging",
            &[
                ("emerging.bottom_right.bias", &[4]),
                ("emerging.bottom_right.weight", &[4, 4, 2, 2]),
                ("emerging.conv1x1.weight", &[4, 4]),
                ("emerging.top_left.bias", &[4]),
                ("emerging.top_left.weight", &[4, 4, 2, 2]),
            ],
        ),
        ("finc", &[("finc.weight", &[4, 1, 3, 3])]),
        (
            "cinc",
            &[("cinc.bias", &[4]), ("cinc.weight", &[4, 4, 3, 3])],
        ),
        (
            "woodbury",
            &[
                ("woodbury.channels.u", &[4, 16]),
                ("woodbury.channels.v", &[16, 4]),
                ("woodbury.height.u", &[2, 16]),
                ("woodbury.height.v", &[16, 2]),
                ("woodbury.width.u", &[4, 16]),
                ("woodbury.width.v", &[16, 4]),
            ],
        ),
        (
            "butterfly",
            &[
                ("butterfly.factors.0", &[1, 2, 2, 16]),
                ("conv1x1.weight", &[4, 4]),
            ],
        ),
        (
            "macow",
            &[
                ("actnorm.initialized", &[]),
                ("actnorm.loc", &[4]),
                ("actnorm.log_scale", &[4]),
                ("conv1x1.weight", &[4, 4]),
            ],
        ),
        (
            "finc twice",
            &[
                ("again.finc.weight", &[4, 1, 3, 3]),
                ("finc.weight", &[4, 1, 3, 3]),
            ],
        ),
        (
            "cinc with quad coupling",
            &[
                ("cinc.bias", &[4]),
                ("cinc.weight", &[4, 4, 3, 3]),
                ("coupling.nets.0.0.bias", &[8]),
                ("coupling.nets.0.0.weight", &[8, 1, 3, 3]),
                ("coupling.nets.0.2.bias", &[2]),
                ("coupling.nets.0.2.logs", &[2]),
                ("coupling.nets.0.2.weight", &[2, 8, 3, 3]),
                ("coupling.nets.1.0.bias", &[8]),
                ("coupling.nets.1.0.weight", &[8, 2, 3, 3]),
                ("coupling.nets.1.2.bias", &[2]),
                ("coupling.nets.1.2.logs", &[2]),
                ("coupling.nets.1.2.weight", &[2, 8, 3, 3]),
                ("coupling.nets.2.0.bias", &[8]),
                ("coupling.nets.2.0.weight", &[8, 3, 3, 3]),
                ("coupling.nets.2.2.bias", &[2]),
                ("coupling.nets.2.2.logs", &[2]),
                ("coupling.nets.2.2.weight", &[2, 8, 3, 3]),
            ],
        ),
    ];
    let mut models = families([1, 4, 8], 1, 1);
    *models[0].1.mixing.kernel_mut().unwrap() = 2;
    for ((model, config), (name, expected)) in models.into_iter().zip(expected) {
        assert_eq!(model, name);
        let config = GlowConfig {
            actnorm: false,
            spline: None,
            ..config
        };
        let vs = store(Kind::Float);
        glow(&vs, &config).unwrap();
        let got: Vec<_> = named(&vs)
            .into_iter()
            .map(|(name, variable)| (name, variable.size()))
            // the variables of MaCow's units are those of its own network
            .filter(|(name, _)| !name.contains("coupling.net.") && !name.contains(".units."))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, size)| (format!("levels.0.steps.0.{name}"), size.to_vec()))
            .collect();
        assert_eq!(got, expected, "{model}");
    }
}

#[test]
fn no_variable_was_renamed_and_layers_are_listed_in_order() {
    let config = tables([3, 32, 32], 3);
    let vs = store(Kind::Float);
    let flow = glow(&vs, &config).unwrap();
    assert!(vs.variables().keys().all(|name| !name.contains("__")));
    let layers = flow.layers();
    assert_eq!(layers.len(), 3 + 2 + 2 * 16 * 4 + 1);
    let step: Vec<_> = layers[4..8]
        .iter()
        .map(|(name, kind)| (name.as_str(), *kind))
        .collect();
    assert_eq!(
        step,
        [
            ("levels.0.steps.0.actnorm", "actnorm"),
            ("levels.0.steps.0.inv_conv", "inv_conv"),
            ("levels.0.steps.0.reverse_channels", "reverse_channels"),
            ("levels.0.steps.0.coupling", "coupling"),
        ]
    );
    assert!(layers.contains(&("levels.0.split".to_owned(), "split_prior")));
    assert_eq!(flow.latent_shapes(), [[6, 16, 16], [24, 8, 8]]);
    assert_eq!(flow.image_shape(), [3, 32, 32]);
}
