//! Glow: levels of squeeze, steps of flow, split.

use super::classes::net_of;
use super::multiscale::{MultiScale, MultiScaleBuilder};
use super::{CouplingForm, GlowConfig};
use crate::distributions::SplitPrior;
use crate::flows::{
    ActNorm, Coupling, Dequantize, LogitMap, QuadCoupling, ReverseChannels, Scale, Spline, Squeeze,
};
use crate::nn::CouplingNet;
use crate::Result;
use tch::nn;

impl GlowConfig {
    /// Builds the network, its variables in `vs`.
    ///
    /// ```text
    /// dequantize, scale, logit, then for every level:  squeeze,  K steps,  split (but after the last level)
    /// ```
    ///
    /// A split sends half of the channels out as a latent, so the latents are one per split and the top; all are under
    /// `N(0, I)`; with classes the top one is so behind a normal density for each class.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) of the configuration or of a layer.
    pub fn build(&self, vs: &nn::Path) -> Result<MultiScale> {
        self.check()?;
        let mut builder = MultiScale::builder(vs, self.image)?;
        builder.layer("preprocess.dequantize", Dequantize::default())?;
        builder.layer("preprocess.scale", Scale)?;
        builder.layer("preprocess.logit", LogitMap::new(self.alpha)?)?;
        for level in 0..self.levels {
            let (name, vs) = (format!("levels.{level}"), vs / "levels" / level as i64);
            builder.layer(format!("{name}.squeeze"), Squeeze::new(2)?)?;
            for step in 0..self.steps {
                let vs = &vs / "steps" / step as i64;
                let last = level + 1 == self.levels && step + 1 == self.steps;
                self.step(&mut builder, &vs, &format!("{name}.steps.{step}"), last)?;
            }
            if let (Some(width), true) = (self.split_prior, level + 1 < self.levels) {
                let net = self.coupling.with_width(width);
                let chw = builder.chw();
                let net = net_of(self.classes.as_ref(), chw, |vs, inputs, outputs| {
                    CouplingNet::new(vs, inputs, outputs, &net)
                });
                let split = SplitPrior::with_net(&(&vs / "split"), chw[0], net)?;
                builder.split_prior(format!("{name}.split"), split)?;
            }
        }
        builder.end(vs, self.classes.as_ref())
    }

    fn step(
        &self,
        builder: &mut MultiScaleBuilder,
        vs: &nn::Path,
        name: &str,
        last: bool,
    ) -> Result<()> {
        let chw @ [channels, ..] = builder.chw();
        if self.actnorm && !self.mixing.brings_actnorm() {
            let actnorm = ActNorm::new(&(vs / "actnorm"), channels)?;
            builder.layer(format!("{name}.actnorm"), actnorm)?;
        }
        builder.layers(name, self.mixing.layers(vs, chw)?)?;
        if let (Some(spline), true) = (&self.spline, self.last_spline || !last) {
            let spline = Spline::new(&(vs / "spline"), chw, spline)?;
            builder.layer(format!("{name}.spline"), spline)?;
        }
        if self.mix_twice {
            let again = self.mixing.layers(&(vs / "again"), chw)?;
            builder.layers(&format!("{name}.again"), again)?;
        }
        if self.reverse_channels {
            builder.layer(format!("{name}.reverse_channels"), ReverseChannels)?;
        }
        let net = net_of(self.classes.as_ref(), chw, |vs, inputs, outputs| {
            CouplingNet::new(vs, inputs, outputs, &self.coupling)
        });
        let (vs, name) = (vs / "coupling", format!("{name}.coupling"));
        match self.coupling_form {
            CouplingForm::Affine => builder.layer(name, Coupling::new(&vs, channels, net)?),
            CouplingForm::Quad => builder.layer(name, QuadCoupling::new(&vs, channels, net)?),
        }
    }
}
