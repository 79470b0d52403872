//! The backbone that MaCow and ButterflyFlow share: Glow with weight-normalised coupling nets.
//!
//! Images lie in `[-1, 1)`, squeezes keep the colours of a pixel together, ActNorm scales first and shifts afterwards,
//! and couplings are of the form `x2 sigmoid(s + 2) + m`.

use super::classes::net_of;
use super::multiscale::MultiScaleBuilder;
use super::Classes;
use crate::flows::{
    AffineCoupling, AffineForm, Center, Conv1x1, Dequantize, Scale, ScaleThenShift, Sequential,
    Squeeze,
};
use crate::nn::weight_norm_net;
use crate::words::counted;
use crate::{Error, Result};
use tch::nn;

/// 8-bit pixels to `[-1, 1)`.
pub(super) fn preprocess(builder: &mut MultiScaleBuilder) -> Result<()> {
    builder.layer("preprocess.dequantize", Dequantize::default())?;
    builder.layer("preprocess.scale", Scale)?;
    builder.layer("preprocess.center", Center::new(2.0)?)
}

/// The squeeze of this backbone.
pub(super) fn squeeze() -> Result<Squeeze> {
    Squeeze::block_major(2)
}

/// ActNorm, 1x1 convolution, `between`, coupling: the end of a step, and the whole of a prior.
///
/// The last `channels / factor` channels are transformed by a function of the others, a net of width `width` that sees the class
/// of the image if there are classes.
pub(super) fn mix_and_couple(
    vs: &nn::Path,
    chw: [i64; 3],
    classes: Option<&Classes>,
    factor: i64,
    width: i64,
    between: Sequential,
) -> Result<Sequential> {
    let [channels, ..] = chw;
    let transformed = channels / factor.max(1);
    if factor < 2 || transformed < 1 {
        return Err(Error::config(format!(
            "a coupling cannot transform 1/{factor} of {}: the image needs more channels, so squeeze it first (no bottom \
             block), or use a factor from 2 to {channels}",
            counted(channels, "channel")
        )));
    }
    let coupling = AffineCoupling::new(
        &(vs / "coupling"),
        [channels - transformed, transformed],
        AffineForm::Sigmoid,
        net_of(classes, chw, |vs, inputs, outputs| {
            weight_norm_net(vs, inputs, outputs, width)
        }),
    )?;
    let actnorm = ScaleThenShift::new(&(vs / "actnorm"), channels)?;
    let conv = Conv1x1::new(&(vs / "conv1x1"), channels)?;
    Ok(Sequential::new()
        .push("actnorm", actnorm)
        .push("conv1x1", conv)
        .extend(between)
        .push("coupling", coupling))
}
