//! What the operators are given, and what fits together.

use crate::words::dtype;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// What the filters of a block of C colours with l hidden channels each are made of.
#[derive(Debug, Clone, Copy)]
pub struct ResidualWeights<'a> {
    /// `[lC, C, 3, 3]`, `[lC, lC, 3, 3]` and `[C, lC, 3, 3]`; channel `a C + i` belongs to colour i.
    pub filters: [&'a Tensor; 3],
    /// `[1, C, H, W]`, the slope of the direct path before its magnitude is taken.
    pub t: &'a Tensor,
}

/// The effective filters of a block.
#[derive(Debug)]
pub struct ResidualFilters {
    /// As they are convolved with.
    pub filters: [Tensor; 3],
    /// `|W3_ai W2_abi W1_bi|`, `[C, l, l]` with indices (i, a, b).
    pub paths: Tensor,
    /// `max(|t|, 1e-12)`, `[1, C, H, W]`.
    pub slope: Tensor,
}

/// Colours, hidden channels of each, elements of an image.
pub(super) fn check_filters(weights: &ResidualWeights<'_>) -> Result<[i64; 3]> {
    let sizes = weights.filters.map(Tensor::size);
    let t = weights.t.size();
    let fits = match (sizes[0].as_slice(), t.as_slice()) {
        (&[n, c, 3, 3], &[1, colours, ..]) => {
            c > 0
                && c == colours
                && n > 0
                && n % c == 0
                && sizes[1] == [n, n, 3, 3]
                && sizes[2] == [c, n, 3, 3]
        }
        _ => false,
    };
    let facts = |t: &Tensor| (t.kind(), t.device());
    let first = weights.filters[0];
    let alike = [weights.filters[1], weights.filters[2], weights.t]
        .iter()
        .all(|t| facts(t) == facts(first));
    if !fits || !alike || !matches!(first.kind(), Kind::Float | Kind::Double) {
        let text = format!(
            "must be [lC, C, 3, 3], [lC, lC, 3, 3] and [C, lC, 3, 3] with t [1, C, H, W], float32 or float64, all alike, got \
             {sizes:?} with {t:?}"
        );
        return Err(Error::argument("residual_filters", "filters", text));
    }
    let (n, c) = (sizes[0][0], sizes[0][1]);
    Ok([c, n / c, weights.t.numel() as i64])
}

/// Samples, channels of a colour, colours, pixels.
pub(super) fn check_hidden(h: &Tensor, colours: i64) -> Result<[i64; 4]> {
    let size = h.size();
    match size[..] {
        [n, channels, height, width]
            if colours > 0
                && channels % colours == 0
                && matches!(h.kind(), Kind::Float | Kind::Double) =>
        {
            Ok([n, channels / colours, colours, height * width])
        }
        _ => {
            let text = format!(
                "must be [N, C, H, W] with C a multiple of {colours}, float32 or float64, got {size:?} {}",
                dtype(h.kind())
            );
            Err(Error::argument("elu_with_slope", "h", text))
        }
    }
}
