//! Numbers that are not finite: how many, and where they begin.

use crate::cuda::numbers;
use crate::flows::Cx;
use crate::models::{Latents, MultiScale};
use crate::words::counted;
use crate::Result;
use std::fmt::Display;
use tch::{nn::VarStore, Kind, Tensor};

/// Things that are named in a message; of more, the rest is counted.
const NAMED: usize = 5;

/// The parameters and buffers that hold numbers which are not finite, by name, and how many. Waits for the device once.
///
/// # Errors
/// What libtorch reports.
pub fn non_finite_parameters(vs: &VarStore) -> Result<Vec<(String, usize)>> {
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    let counts = variables
        .iter()
        .filter(|(_, tensor)| matches!(tensor.kind(), Kind::Float | Kind::Double))
        .map(|(name, tensor)| {
            let bad = tensor.f_isfinite()?.f_logical_not()?;
            Ok((name, bad.f_sum(Kind::Int64)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let sums: Vec<&Tensor> = counts.iter().map(|(_, sum)| sum).collect();
    let bad = numbers(&sums)?;
    let found = counts.iter().zip(bad).filter(|(_, bad)| *bad > 0.0);
    Ok(found
        .map(|((name, _), bad)| ((*name).clone(), bad as usize))
        .collect())
}

/// Where the numbers of these images stop being finite on their way to a likelihood, as the end of a sentence.
///
/// # Errors
/// As [`MultiScale::encode`].
pub fn where_encoding_ends(model: &MultiScale, x: &Tensor, cx: Cx<'_>) -> Result<String> {
    Ok(match model.first_non_finite(x, cx)? {
        Some(layer) => format!("from layer `{layer}` on"),
        // a square of a float32 number may be too large for float32
        None => "from the density of the latents on, which are too large for it".to_owned(),
    })
}

/// Where the numbers of these latents stop being finite on their way to an image, as the end of a sentence; `None` if
/// they do not.
///
/// # Errors
/// As [`MultiScale::decode`].
pub fn where_decoding_ends(
    model: &MultiScale,
    latents: &Latents,
    cx: Cx<'_>,
) -> Result<Option<String>> {
    for (level, latent) in latents.0.iter().enumerate() {
        if latent.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
            return Ok(Some(format!("from latent {level} on, as it was given")));
        }
    }
    let layer = model.first_non_finite_decode(latents, cx)?;
    Ok(layer.map(|layer| format!("from layer `{layer}` on")))
}

/// The first few of several things, and how many more there are: `3, 8, 11 and 2 more`.
pub fn listed<T: Display>(all: &[T]) -> String {
    let first: Vec<String> = all.iter().take(NAMED).map(T::to_string).collect();
    match all.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// What to say about parameters that [`non_finite_parameters`] has found.
pub fn parameters_text(found: &[(String, usize)]) -> String {
    let names: Vec<String> = found
        .iter()
        .map(|(name, bad)| format!("`{name}` ({})", counted(bad, "number")))
        .collect();
    let numbers = found.iter().map(|(_, bad)| bad).sum::<usize>();
    let verb = if numbers == 1 { "is" } else { "are" };
    format!(
        "{} of the parameters {verb} not finite: {}",
        counted(numbers, "number"),
        listed(&names)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_named_and_the_rest_is_counted() {
        assert_eq!(listed(&[3, 8]), "3, 8");
        assert_eq!(listed(&[1, 2, 3, 4, 5, 6, 7]), "1, 2, 3, 4, 5 and 2 more");
    }
}
