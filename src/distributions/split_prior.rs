//! Half of the channels leaves the flow at the end of a level.

use crate::flows::{Coupling, Cx, Mapped, Transform};
use crate::nn::{Conditioner, CouplingConfig, CouplingNet, Precision};
use crate::ops::channels::split_channels;
use crate::torchscript::{Script, Stages};
use crate::{Error, Result};
use tch::{nn, Tensor};

/// What becomes of an image at a split.
#[derive(Debug)]
pub struct Split {
    /// `[N, C/2, H, W]`, goes on to the next level.
    pub kept: Tensor,
    /// `[N, C/2, H, W]`, a latent under `N(0, I)`.
    pub latent: Tensor,
    /// `[N]`, nats.
    pub log_det: Tensor,
}

/// A coupling on all channels, after which the second half is a latent.
///
/// As a density it is `p(x2 | x1)`, normal with a mean and a scale that the net computes from `x1`, written as the
/// coupling that standardises it; so the half that leaves is a latent like any other, and carrying it along makes
/// `merge` the exact inverse of `split`.
///
/// Variables: those of the coupling, under `coupling`.
///
/// Source: Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, 2017, <https://arxiv.org/abs/1605.08803>.
#[derive(Debug)]
pub struct SplitPrior {
    channels: i64,
    coupling: Coupling,
}

impl SplitPrior {
    /// A split of `channels` channels with the net of `config`.
    ///
    /// # Errors
    /// [`Error::Config`] for an odd number of channels or a bad width.
    pub fn new(vs: &nn::Path, channels: i64, config: &CouplingConfig) -> Result<Self> {
        Self::with_net(vs, channels, |vs, inputs, outputs| {
            CouplingNet::new(vs, inputs, outputs, config)
        })
    }

    /// A split of `channels` channels with a net of your own, `net(path, inputs, outputs)`: see [`Coupling::new`].
    ///
    /// # Errors
    /// [`Error::Config`] for an odd number of channels, and what `net` reports.
    pub fn with_net<N: Conditioner + 'static>(
        vs: &nn::Path,
        channels: i64,
        net: impl FnOnce(&nn::Path, i64, i64) -> Result<N>,
    ) -> Result<Self> {
        let coupling = Coupling::new(&(vs / "coupling"), channels, net)?;
        Ok(Self { channels, coupling })
    }

    /// Channels that stay, half of all.
    pub fn kept(&self) -> i64 {
        self.channels / 2
    }

    /// `x: [N, C, H, W]` to the half that stays and the latent that leaves.
    ///
    /// # Errors
    /// A shape, kind or device that the parameters do not fit.
    pub fn split(&self, x: &Tensor, cx: Cx<'_>) -> Result<Split> {
        let Mapped { value, log_det } = self.coupling.forward(x, cx)?;
        let [kept, latent] = split_channels(&value, [self.kept(); 2])?;
        Ok(Split {
            kept,
            latent,
            log_det,
        })
    }

    /// What the coupling's net computes in from now on.
    ///
    /// # Errors
    /// A net that cannot compute in this precision.
    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.coupling.set_precision(precision)
    }

    /// Data-dependent initialisation of the net from a first batch. Idempotent.
    ///
    /// # Errors
    /// As `split`.
    pub fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        self.coupling.initialize(x, cx)
    }

    /// The coupling in TorchScript; taking the channels apart is left to whoever calls it.
    ///
    /// # Errors
    /// A net that has no TorchScript.
    pub fn torchscript(&self) -> Result<Script> {
        let mut stages = Stages::default();
        stages.push("coupling", self.coupling.torchscript())?;
        Ok(stages.sequence())
    }

    /// The exact inverse of [`split`](SplitPrior::split); its `log_det` is that of this map.
    ///
    /// # Errors
    /// As `split`.
    pub fn merge(&self, kept: &Tensor, latent: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        if kept.size() != latent.size() {
            return Err(Error::argument(
                "split_prior",
                "latent",
                format!(
                    "must have the size {:?} of the half that was kept, got {:?}",
                    kept.size(),
                    latent.size()
                ),
            ));
        }
        let z = Tensor::f_cat(&[kept, latent], 1)?;
        self.coupling.inverse(&z, cx)
    }
}
