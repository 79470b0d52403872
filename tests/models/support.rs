//! Small models for tests. Needs `mod common` beside it.

use crate::common::*;
use inverse_flow::flows::Cx;
use inverse_flow::models::*;
use tch::{nn, Kind, Tensor};

/// Inverse-Flow's mixing.
pub fn inverse_flow(kernel: i64, init_std: f64) -> Mixing {
    Mixing::InverseFlow(InverseFlowConfig {
        kernel,
        init_std,
        ..Default::default()
    })
}

/// A model with every optional part, in a size that tests can afford.
pub fn small(image: [i64; 3], levels: usize, steps: usize) -> GlowConfig {
    GlowConfig {
        image,
        levels,
        steps,
        actnorm: true,
        mixing: inverse_flow(2, 0.01),
        spline: Some(SplineConfig {
            bins: 4,
            tail: 20.0,
            shared: false,
        }),
        last_spline: true,
        mix_twice: false,
        reverse_channels: true,
        coupling_form: CouplingForm::Affine,
        coupling: CouplingConfig {
            net: Net::Z,
            width: 8,
            zero_init_last: false,
        },
        split_prior: Some(6),
        alpha: 1e-6,
        classes: None,
    }
}

/// The model of `config`.
pub fn glow(vs: &nn::VarStore, config: &GlowConfig) -> inverse_flow::Result<MultiScale> {
    seeded(|| build(&vs.root(), &config.clone().into()))
}

/// A model with every parameter moved away from its start, initialised with `first`.
pub fn moved(
    config: &GlowConfig,
    kind: Kind,
    first: &Tensor,
    std: f64,
) -> (nn::VarStore, MultiScale) {
    let vs = store(kind);
    let mut flow = glow(&vs, config).unwrap();
    flow.initialize(first, Cx::default()).unwrap();
    for (index, (name, mut variable)) in (0..).zip(trainable(&vs)) {
        if !name.contains("actnorm") {
            let noise = normal(index, &variable.size()).to_kind(kind) * std;
            tch::no_grad(|| variable.copy_(&noise));
        }
    }
    (vs, flow)
}

/// As [`moved`], but every parameter stays near its start, for layers that random ones would make singular.
pub fn shaken(
    config: &GlowConfig,
    kind: Kind,
    first: &Tensor,
    std: f64,
) -> (nn::VarStore, MultiScale) {
    let vs = store(kind);
    let mut flow = glow(&vs, config).unwrap();
    flow.initialize(first, Cx::default()).unwrap();
    shake(&vs, 7, std);
    (vs, flow)
}

/// Images of the latents `temperature eps`.
pub fn sample(flow: &MultiScale, eps: &Latents, temperature: f64) -> inverse_flow::Result<Tensor> {
    Ok(flow.decode(&eps.scaled(temperature)?, Cx::default())?.value)
}

/// One small model for each family, with the parts that only some rows of the tables have.
pub fn families(image: [i64; 3], levels: usize, steps: usize) -> Vec<(String, GlowConfig)> {
    let mut models: Vec<_> = Mixing::all()
        .into_iter()
        .map(|mixing| {
            let config = GlowConfig {
                reverse_channels: !mixing.permutes_channels(),
                mixing,
                ..small(image, levels, steps)
            };
            (config.mixing.name().to_owned(), config)
        })
        .collect();
    let finc = Mixing::by_name("finc").unwrap();
    let twice = GlowConfig {
        mix_twice: true,
        last_spline: false,
        mixing: finc,
        ..small(image, levels, steps)
    };
    models.push(("finc twice".into(), twice));
    let quad = GlowConfig {
        coupling_form: CouplingForm::Quad,
        mixing: Mixing::by_name("cinc").unwrap(),
        ..small(image, levels, steps)
    };
    models.push(("cinc with quad coupling".into(), quad));
    models
}
