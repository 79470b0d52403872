//! What fits together.

use crate::cuda::coupling::CouplingSizes;
use crate::words::{device, dtype};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// Sizes of a call whose arguments fit together.
pub(super) fn check(x: &Tensor, net: &Tensor) -> Result<CouplingSizes> {
    let wrong = |arg, text: String| Err(Error::argument("affine_coupling", arg, text));
    if !matches!(x.kind(), Kind::Float | Kind::Double) {
        let text = format!("must be float32 or float64, got {}", dtype(x.kind()));
        return wrong("x", text);
    }
    let size = x.size();
    let Ok([samples, channels, height, width]) = <[i64; 4]>::try_from(size.as_slice()) else {
        return wrong("x", format!("must be [N, C, H, W], got {size:?}"));
    };
    let said = net.size();
    let moved = said.get(1).map_or(0, |said| said / 2);
    let fits = said == [samples, 2 * moved, height, width] && moved >= 1 && moved <= channels;
    if !fits || (net.kind(), net.device()) != (x.kind(), x.device()) {
        let facts = |size: &[i64], t: &Tensor| {
            format!("{size:?} {} on {}", dtype(t.kind()), device(t.device()))
        };
        let text = format!(
            "must have two channels for each of the moved ones of `x`, {}, got {}",
            facts(&size, x),
            facts(&said, net)
        );
        return wrong("net", text);
    }
    Ok(CouplingSizes {
        samples,
        kept: channels - moved,
        moved,
        pixels: height * width,
    })
}
