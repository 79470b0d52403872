//! What fits together.

use crate::words::{device, dtype};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The size of `x`, which has a number of each kind in `numbers` for every channel.
pub(super) fn check(
    op: &'static str,
    x: &Tensor,
    numbers: [(&'static str, &Tensor); 2],
) -> Result<[i64; 4]> {
    let wrong = |arg, text: String| Err(Error::argument(op, arg, text));
    let size = x.size();
    let nchw = match <[i64; 4]>::try_from(size.as_slice()) {
        Ok(nchw) if matches!(x.kind(), Kind::Float | Kind::Double) => nchw,
        _ => {
            let text = format!(
                "must be [N, C, H, W], float32 or float64, got {size:?} {}",
                dtype(x.kind())
            );
            return wrong("x", text);
        }
    };
    for (arg, tensor) in numbers {
        let expected = (vec![nchw[1]], x.kind(), x.device());
        let got = (tensor.size(), tensor.kind(), tensor.device());
        if got != expected {
            let [expected, got] = [expected, got]
                .map(|(size, kind, on)| format!("{size:?} {} on {}", dtype(kind), device(on)));
            return wrong(arg, format!("must be {expected}, got {got}"));
        }
    }
    Ok(nchw)
}
