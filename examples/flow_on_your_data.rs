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

fn main() -> Result<()> {
    tch::manual_seed(0);
    let vs = nn::VarStore::new(Device::Cpu);
    let mut flow = flow(&vs.root())?;
    flow.initialize(&waves(256), Cx::default())?; // ActNorm looks at a first batch
    let test = waves(256);
    let nats = |flow: &Sequential| -> Result<f64> {
        let log_prob = tch::no_grad(|| flow.log_prob(&test, Cx::default()))?;
        Ok(log_prob.mean(Kind::Float).double_value(&[]) / -64.0)
    };

    println!("nats per pixel before training: {:.1}", nats(&flow)?);
    let mut adam = nn::Adam::default().build(&vs, 3e-3)?;
    for _ in 0..200 {
        let log_prob = flow.log_prob(&waves(64), Cx::default())?; // nats, [64]
        adam.backward_step(&(log_prob.mean(Kind::Float) / -64.0));
    }
    println!("below -0.4 after it: {}", nats(&flow)? < -0.4);

    let _no_grad = tch::no_grad_guard();
    let z = flow.encode(&test, Cx::default())?.value;
    let back = flow.decode(&z, Cx::default())?.value;
    let worst = (back - &test).abs().max().double_value(&[]);
    println!("round trip within 1e-4: {}", worst < 1e-4);

    let noise = flow.log_prob(&Tensor::randn([256, 1, 8, 8], F32), Cx::default())?;
    let gap = flow.log_prob(&test, Cx::default())?.min() - noise.max();
    println!(
        "noise less likely than any wave: {}",
        gap.double_value(&[]) > 0.0
    );

    let samples = flow.sample(16, 1.0, Cx::default())?; // a temperature below 1 makes them smoother
    println!("samples: {:?}", samples.size());
    Ok(())
}
