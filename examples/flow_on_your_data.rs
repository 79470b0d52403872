//! A flow put together from layers, on data of your own: exact likelihoods, samples, and what is unusual.
//!
//! ```text
//! cargo run --release --example flow_on_your_data
//! ```
//!
//! The data here are smooth waves of 8x8 pixels with random phase. Replace `waves` by any tensor `[N, C, H, W]`: pictures,
//! or measurements on a grid. (For 8-bit images there is more in `inverse_flow::models` and `inverse_flow::data`.)
//!
//! Expected output:
//! ```text
//! nats per pixel before training: 0.7
//! below -0.4 after it: true
//! round trip within 1e-4: true
//! noise less likely than any wave: true
//! samples: [16, 1, 8, 8]
//! ```

use inverse_flow::distributions::standard_normal_log_prob;
use inverse_flow::flows::{
    ActNorm, Coupling, Cx, InvConv, InvConvConfig, Sequential, Squeeze, Transform,
};
use inverse_flow::nn::{CouplingConfig, CouplingNet, Net};
use inverse_flow::ops::Corner;
use inverse_flow::Result;
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

/// `[N, 1, 8, 8]`: `sin(w + phase) sin(h + phase')` and a little noise.
fn waves(count: i64) -> Tensor {
    let grid = Tensor::arange(8, F32) * 0.8;
    let axis = |shape: &[i64]| grid.view(shape) + Tensor::rand([count, 1, 1, 1], F32) * 6.3;
    axis(&[1, 1, 1, 8]).sin() * axis(&[1, 1, 8, 1]).sin()
        + Tensor::randn([count, 1, 8, 8], F32) * 0.1
}

/// Four steps over 2x2 blocks of pixels; the corner turns, so that every pixel can depend on every other.
fn flow(vs: &nn::Path) -> Result<Sequential> {
    let net = CouplingConfig {
        net: Net::Z,
        width: 32,
        zero_init_last: true,
    };
    let mut flow = Sequential::new().push("squeeze", Squeeze::new(2)?);
    for (step, corner) in Corner::ALL.into_iter().enumerate() {
        let vs = vs / step; // a path for each layer: names in checkpoints come from here
        let config = InvConvConfig {
            corners: vec![corner],
            ..InvConvConfig::new(4, 3)
        };
        let coupling = Coupling::new(&(&vs / "coupling"), 4, |vs, inputs, outputs| {
            CouplingNet::new(vs, inputs, outputs, &net)
        })?;
        let actnorm = ActNorm::new(&(&vs / "actnorm"), 4)?;
        let inv_conv = InvConv::new(&(&vs / "inv_conv"), &config)?;
        flow = flow
            .push(format!("{step}.actnorm"), actnorm)
            .push(format!("{step}.inv_conv"), inv_conv)
            .push(format!("{step}.coupling"), coupling);
    }
    Ok(flow)
}

/// `log p(x) = log N(z; 0, I) + log|det dz/dx|`, nats, `[N]`.
fn log_prob(flow: &Sequential, x: &Tensor) -> Result<Tensor> {
    let mapped = flow.forward(x, Cx::default())?;
    Ok(standard_normal_log_prob(&mapped.value)? + mapped.log_det)
}

fn main() -> Result<()> {
    tch::manual_seed(0);
    let vs = nn::VarStore::new(Device::Cpu);
    let mut flow = flow(&vs.root())?;
    flow.initialize(&waves(256), Cx::default())?; // ActNorm looks at a first batch
    let test = waves(256);
    let nats = |flow: &Sequential| -> Result<f64> {
        Ok(tch::no_grad(|| log_prob(flow, &test))?
            .mean(Kind::Float)
            .double_value(&[])
            / -64.0)
    };

    println!("nats per pixel before training: {:.1}", nats(&flow)?);
    let mut adam = nn::Adam::default().build(&vs, 3e-3)?;
    for _ in 0..200 {
        adam.backward_step(&(log_prob(&flow, &waves(64))?.mean(Kind::Float) / -64.0));
    }
    println!("below -0.4 after it: {}", nats(&flow)? < -0.4);

    let _no_grad = tch::no_grad_guard();
    let z = flow.forward(&test, Cx::default())?.value;
    let back = flow.inverse(&z, Cx::default())?.value;
    let worst = (back - &test).abs().max().double_value(&[]);
    println!("round trip within 1e-4: {}", worst < 1e-4);

    let noise = log_prob(&flow, &Tensor::randn([256, 1, 8, 8], F32))?;
    let gap = log_prob(&flow, &test)?.min() - noise.max();
    println!(
        "noise less likely than any wave: {}",
        gap.double_value(&[]) > 0.0
    );

    let eps = Tensor::randn([16, 4, 4, 4], F32);
    let samples = flow.inverse(&eps, Cx::default())?.value;
    println!("samples: {:?}", samples.size());
    Ok(())
}
