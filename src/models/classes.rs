//! The classes that the images of a conditional model have.

use crate::nn::{ClassNet, ClassPlanes, Conditioner};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::nn;

/// Planes of numbers that a coupling's net sees of a class.
pub const CLASS_PLANES: i64 = 2;

/// The classes of a conditional model; part of its configuration.
///
/// A model with classes is `p(x | y)`: the nets of its couplings and of its split priors see the class `y`
/// ([`ClassNet`]), and each class has a normal density of its own for the top latent
/// ([`LearnedPrior`](crate::distributions::LearnedPrior)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// What they are called, in the order of the labels; numbers where they have no names. None as long as the data have
    /// not been seen.
    pub names: Vec<String>,
    /// Training images of each: `p(y)` is proportional to them.
    pub images: Vec<u64>,
    /// Planes of numbers that the net of every coupling sees of the class.
    #[serde(default = "class_planes")]
    pub planes: i64,
}

fn class_planes() -> i64 {
    CLASS_PLANES
}

impl Default for Classes {
    /// Those of the data, which have not been seen yet.
    fn default() -> Self {
        Self {
            names: Vec::new(),
            images: Vec::new(),
            planes: CLASS_PLANES,
        }
    }
}

impl Classes {
    /// Classes of these names with as many images each.
    pub fn alike(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        Self {
            images: vec![1; names.len()],
            names,
            ..Self::default()
        }
    }

    /// Number of classes.
    pub fn count(&self) -> i64 {
        self.names.len() as i64
    }

    /// `log p(y)` of every class, from the numbers of training images; minus infinity for one without images.
    pub fn log_prior(&self) -> Vec<f64> {
        let all: u64 = self.images.iter().sum();
        let part = |images: &u64| (*images as f64 / all as f64).ln();
        self.images.iter().map(part).collect()
    }

    /// The label that a text stands for: the name of a class, or else its number.
    ///
    /// # Errors
    /// There is no such class.
    pub fn label(&self, text: &str) -> Result<u16> {
        let named = self.names.iter().position(|name| name == text);
        let numbered = || text.parse().ok().filter(|label| *label < self.names.len());
        match named.or_else(numbered) {
            Some(label) => Ok(label as u16),
            None => Err(Error::config(format!(
                "no class is called {text:?}: the model knows {}",
                self.listed()
            ))),
        }
    }

    /// The names for a message, the first ones if they are many.
    pub fn listed(&self) -> String {
        const SHOWN: usize = 12;
        match self.names.len() {
            0..=SHOWN => self.names.join(", "),
            all => format!("{}, ... ({all} in all)", self.names[..SHOWN].join(", ")),
        }
    }

    /// Refuses what no model can be built for.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |text: String| Err(Error::config(text));
        if self.names.len() < 2 {
            return wrong(format!(
                "`model.classes` must name two classes or more, got {}: a run takes them from its training images",
                self.names.len()
            ));
        }
        if self.images.len() != self.names.len() || self.images.iter().all(|n| *n == 0) {
            return wrong(format!(
                "`model.classes.images` must hold a number of images for each of the {} names, not all 0",
                self.names.len()
            ));
        }
        if self.planes < 1 {
            return wrong(format!(
                "`model.classes.planes` must be 1 or more, got {}",
                self.planes
            ));
        }
        Ok(())
    }
}

/// `net(path, inputs, outputs)` for images of the size `chw`, seeing their classes if there are some.
pub(super) fn net_of<N: Conditioner + 'static>(
    classes: Option<&Classes>,
    [_, height, width]: [i64; 3],
    net: impl Fn(&nn::Path, i64, i64) -> Result<N>,
) -> impl Fn(&nn::Path, i64, i64) -> Result<ClassNet> {
    let see = classes.map(|classes| ClassPlanes {
        classes: classes.count(),
        planes: classes.planes,
        size: [height, width],
    });
    move |vs, inputs, outputs| ClassNet::new(vs, inputs, outputs, see, &net)
}
