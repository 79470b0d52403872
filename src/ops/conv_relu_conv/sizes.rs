//! Sizes of one call.

use crate::words::{device, dtype};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// Sizes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvSizes {
    pub images: usize,
    pub inputs: usize,
    pub middle: usize,
    pub outputs: usize,
    pub height: usize,
    pub width: usize,
    /// Sides of the two filters.
    pub sides: [usize; 2],
    pub bias: bool,
}

impl ConvSizes {
    pub fn check(
        x: &Tensor,
        first: &Tensor,
        bias: Option<&Tensor>,
        second: &Tensor,
    ) -> Result<Self> {
        let wrong = |arg, text: String| Err(Error::argument("conv_relu_conv", arg, text));
        let options = (x.kind(), x.device());
        if !matches!(options.0, Kind::Float | Kind::Double) {
            return wrong(
                "x",
                format!("must be float32 or float64, got {}", dtype(options.0)),
            );
        }
        let sizes = [x, first, second].map(Tensor::size);
        let [[n, c, h, w], [m, c1, k, k_], [c2, m2, l, l_]] =
            match sizes.each_ref().map(|s| <[i64; 4]>::try_from(s.as_slice())) {
                [Ok(x), Ok(first), Ok(second)] => [x, first, second],
                _ => {
                    return wrong(
                        "x",
                        format!("and the filters must have 4 dimensions, got {sizes:?}"),
                    )
                }
            };
        if c1 != c || k != k_ || k % 2 == 0 {
            return wrong(
                "first",
                format!("must be [M, {c}, k, k] with odd k, got {:?}", sizes[1]),
            );
        }
        if m2 != m || l != l_ || l % 2 == 0 {
            return wrong(
                "second",
                format!("must be [C', {m}, k, k] with odd k, got {:?}", sizes[2]),
            );
        }
        if bias.is_some_and(|bias| bias.size() != [m]) {
            return wrong("bias", format!("must be [{m}]"));
        }
        for (arg, tensor) in [
            ("first", Some(first)),
            ("second", Some(second)),
            ("bias", bias),
        ] {
            let got = tensor.map_or(options, |t| (t.kind(), t.device()));
            if got != options {
                return wrong(
                    arg,
                    format!(
                        "must be {} on {} like `x`, got {} on {}",
                        dtype(options.0),
                        device(options.1),
                        dtype(got.0),
                        device(got.1)
                    ),
                );
            }
        }
        Ok(Self {
            images: n as usize,
            inputs: c as usize,
            middle: m as usize,
            outputs: c2 as usize,
            height: h as usize,
            width: w as usize,
            sides: [k as usize, l as usize],
            bias: bias.is_some(),
        })
    }

    pub fn pixels(&self) -> usize {
        self.height * self.width
    }
}
