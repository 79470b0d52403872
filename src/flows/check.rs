//! The checks at the head of every layer, so that a wrong input is an error that names the layer.

use crate::words::{counted, device, dtype};
use crate::{Error, Result};
use tch::{nn, Device, Kind, Tensor};

/// Kind and device of a layer's parameters, remembered because asking a tensor costs a call into libtorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) kind: Kind,
    pub(crate) device: Device,
}

impl Placement {
    fn of(tensor: &Tensor) -> Self {
        Self {
            kind: tensor.kind(),
            device: tensor.device(),
        }
    }

    /// Where the variables made in `vs` are and what they are made of.
    pub(crate) fn in_path(vs: &nn::Path) -> Self {
        Self {
            kind: vs.kind(),
            device: vs.device(),
        }
    }

    /// `[N, C, H, W]` of `x` if it has `channels` channels and lies with the layer's parameters.
    pub(crate) fn check_channels(
        self,
        layer: &'static str,
        channels: i64,
        x: &Tensor,
    ) -> Result<[i64; 4]> {
        let nchw = self.check(layer, x)?;
        if nchw[1] == channels {
            return Ok(nchw);
        }
        Err(Error::argument(
            layer,
            "x",
            format!(
                "must have {}, got size {nchw:?}",
                counted(channels, "channel")
            ),
        ))
    }

    /// `N` of `x` if its images have the shape `chw` and it lies with the layer's parameters.
    pub(crate) fn check_image(self, layer: &'static str, chw: [i64; 3], x: &Tensor) -> Result<i64> {
        let [n, c, h, w] = self.check(layer, x)?;
        if [c, h, w] == chw {
            return Ok(n);
        }
        Err(Error::argument(
            layer,
            "x",
            format!(
                "must be [N, C, H, W] with [C, H, W] = {chw:?}, got {:?}",
                [n, c, h, w]
            ),
        ))
    }

    /// Refuses a condition that does not go with `images` images or does not lie with the parameters.
    pub(crate) fn check_condition(
        self,
        op: &'static str,
        images: i64,
        condition: Option<&Tensor>,
    ) -> Result<()> {
        let Some(condition) = condition else {
            return Ok(());
        };
        let size = condition.size();
        if size.len() != 2 || size[0] != images {
            let why =
                format!("must be [N, F] with N = {images} like the images, got size {size:?}");
            return Err(Error::argument(op, "condition", why));
        }
        self.check_placement(op, "condition", condition)
    }

    /// What a coupling's net made, if it has the size `nchw` that the coupling reads.
    pub(crate) fn check_net(
        self,
        layer: &'static str,
        out: Tensor,
        nchw: [i64; 4],
    ) -> Result<Tensor> {
        let size = out.size();
        if size != nchw {
            let why = format!("must make a tensor of size {nchw:?}, made {size:?}");
            return Err(Error::argument(layer, "net", why));
        }
        self.check_placement(layer, "net", &out)?;
        Ok(out)
    }

    /// `[N, C, H, W]` of `x` if it lies with the layer's parameters.
    pub(crate) fn check(self, layer: &'static str, x: &Tensor) -> Result<[i64; 4]> {
        let nchw = image_size(layer, x)?;
        self.check_placement(layer, "x", x)?;
        Ok(nchw)
    }

    fn check_placement(self, op: &'static str, arg: &'static str, tensor: &Tensor) -> Result<()> {
        let got = Self::of(tensor);
        if got == self {
            return Ok(());
        }
        let why = format!(
            "must be {} on {} like the layer's parameters, got {} on {}",
            dtype(self.kind),
            device(self.device),
            dtype(got.kind),
            device(got.device)
        );
        Err(Error::argument(op, arg, why))
    }
}

/// `[N, C, H, W]` of `x` if it has four dimensions and a floating-point kind.
pub(crate) fn image_size(layer: &'static str, x: &Tensor) -> Result<[i64; 4]> {
    let size = x.size();
    if !matches!(x.kind(), Kind::Float | Kind::Double) {
        return Err(Error::argument(
            layer,
            "x",
            format!("must be float32 or float64, got {}", dtype(x.kind())),
        ));
    }
    <[i64; 4]>::try_from(size.as_slice()).map_err(|_| {
        Error::argument(
            layer,
            "x",
            format!("must have 4 dimensions [N, C, H, W], got size {size:?}"),
        )
    })
}

/// `channels` of a layer's configuration against those of the shape it is asked about.
pub(crate) fn same_channels(layer: &'static str, channels: i64, chw: [i64; 3]) -> Result<[i64; 3]> {
    if chw[0] == channels {
        return Ok(chw);
    }
    Err(Error::config(format!(
        "{layer} was built for {} and cannot take an image of shape {chw:?}",
        counted(channels, "channel")
    )))
}

/// The shape `built` of a layer's parameters against the one it is asked about.
pub(crate) fn same_image(layer: &'static str, built: [i64; 3], chw: [i64; 3]) -> Result<[i64; 3]> {
    if chw == built {
        return Ok(chw);
    }
    Err(Error::config(format!(
        "{layer} was built for images of shape {built:?} and cannot take {chw:?}"
    )))
}
