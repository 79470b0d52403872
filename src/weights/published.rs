//! The layout of the paper's own code: one list of layers, numbered, with names of its own.
//!
//! Its models begin with four layers of preprocessing, where ours have three, and then go through the same layers: the
//! squeeze of a level, its steps, its split. Layer `i` of ours behind the preprocessing is its layer `i + 4`.
//!
//! | kind | its key | our variable |
//! |---|---|---|
//! | `actnorm` | `N.translation`, `N.log_scale`, `N.initialized` (an integer) | `loc`, `log_scale`, `initialized` |
//! | `inv_conv` | `N.weight_fwd` | `weight` |
//! | `self_norm` | `N.weight_fwd`, `N.weight_inv`, `N.bias_fwd` | `weight`, `inverse`, `bias` |
//! | `finc` | `N.conv_tl.conv.weight`, `conv_tr`, `conv_bl`, `conv_br` | `weight`, the four one behind the other |
//! | `spline` | `N.unnormalized_widths`, `heights`, `derivatives` `[1, C, H, W, n]` or `[n]` | `widths`, ... `[C H W, n]` or `[1, n]` |
//! | `coupling` | `N.net.I.weight`, `bias`, `logs` | the same |
//! | `split_prior` | `N.transform.net.I. ...` | `coupling.net.I. ...` |
//!
//! No other kind has a counterpart there whose parameters mean the same. Of `weight_fwd` the entries that the mask of
//! [`InvConv`] fixes are not read.
//!
//! [`InvConv`]: crate::flows::InvConv

use super::sources::{Form, KeyMap, Source};
use super::Problem;
use std::collections::{BTreeMap, BTreeSet};

/// Layers of preprocessing there and here.
const THEIR_PREPROCESSING: usize = 4;
const OUR_PREPROCESSING: usize = 3;
/// Keys of the densities, which have no parameters to learn.
const DENSITY: &str = "base_distribution.";

/// Whether the keys are numbers of layers.
pub(super) fn is_theirs<'a>(keys: impl Iterator<Item = &'a str>) -> bool {
    let mut layers = keys.filter(|key| !key.starts_with(DENSITY)).peekable();
    layers.peek().is_some() && layers.all(|key| layer(key).is_some())
}

/// The number of the layer that a key belongs to.
fn layer(key: &str) -> Option<usize> {
    key.split_once('.')?.0.parse().ok()
}

/// The map for keys that begin with `prefix`.
pub(super) fn plan<'a>(
    keys: impl Iterator<Item = &'a str>,
    prefix: &str,
    variables: &[&str],
    layers: &[(String, &'static str)],
) -> Result<KeyMap, Problem> {
    let ahead = layers
        .iter()
        .take_while(|(name, _)| name.starts_with("preprocess."))
        .count();
    if ahead != OUR_PREPROCESSING {
        return Err(no_counterpart("the model's preprocessing"));
    }
    let (mut sources, mut used) = (BTreeMap::new(), BTreeSet::new());
    for (number, (name, kind)) in (THEIR_PREPROCESSING..).zip(&layers[ahead..]) {
        if *kind == "reverse_channels" {
            return Err(no_counterpart(&format!("`{name}` ({kind})")));
        }
        let inside = |variable: &&&str| {
            variable
                .strip_prefix(name.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
        };
        for variable in variables.iter().filter(inside) {
            let rest = &variable[name.len() + 1..];
            let Some((theirs, form)) = counterpart(kind, rest) else {
                return Err(no_counterpart(&format!("`{name}` ({kind})")));
            };
            let keys: Vec<_> = theirs
                .into_iter()
                .map(|key| format!("{prefix}{number}.{key}"))
                .collect();
            used.extend(keys.iter().cloned());
            sources.insert((*variable).to_owned(), Source { keys, form });
        }
    }
    let unexpected = keys.filter(|key| {
        let bare = &key[prefix.len()..];
        let is_constant = bare.starts_with(DENSITY)
            || layer(bare).is_some_and(|number| number < THEIR_PREPROCESSING)
            || bare.split('.').nth(1) == Some("base");
        !is_constant && !used.contains(*key)
    });
    Ok(KeyMap {
        unexpected: unexpected.map(str::to_owned).collect(),
        sources,
        remarks: Vec::new(),
    })
}

fn no_counterpart(what: &str) -> Problem {
    format!("is in the layout of the paper's code, which has no counterpart of {what}: choose the preset of the same model, table3/... or table6/...")
}

/// Their keys for a variable of a layer of this kind.
fn counterpart(kind: &str, variable: &str) -> Option<(Vec<String>, Form)> {
    let one = |key: &str| (vec![key.to_owned()], Form::Same);
    Some(match (kind, variable) {
        ("actnorm", "loc") => one("translation"),
        ("actnorm", "log_scale") => one("log_scale"),
        ("actnorm", "initialized") => (vec!["initialized".into()], Form::Flag),
        ("inv_conv" | "self_norm", "weight") => one("weight_fwd"),
        ("self_norm", "inverse") => one("weight_inv"),
        ("self_norm", "bias") => one("bias_fwd"),
        ("finc", "weight") => {
            let corners = ["tl", "tr", "bl", "br"].iter();
            let keys = corners.map(|corner| format!("conv_{corner}.conv.weight"));
            (keys.collect(), Form::Joined)
        }
        ("spline", "widths" | "heights" | "derivatives") => {
            (vec![format!("unnormalized_{variable}")], Form::Rows)
        }
        ("coupling", net) if net.starts_with("net.") => one(net),
        ("split_prior", net) => one(&format!("transform.{}", net.strip_prefix("coupling.")?)),
        _ => return None,
    })
}
