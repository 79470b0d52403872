//! Transforms made of transforms.

use super::check::image_size;
use super::{Cx, LogDets, Mapped, Transform};
use crate::nn::Precision;
use crate::ops::filter::RawFilter;
use crate::torchscript::{replaced, Script, Stages};
use crate::{Error, Result};
use tch::{nn, Device, Kind, Tensor};

/// Named transforms, one after the other; log-dets add up.
///
/// As a density it has a standard normal latent: [`log_prob`](Sequential::log_prob), [`sample`](Sequential::sample).
#[derive(Debug, Default)]
pub struct Sequential {
    children: Vec<(String, Box<dyn Transform>)>,
    data: Option<Data>,
}

/// What a sequence maps: `[C, H, W]`, kind and device.
type Data = ([i64; 3], (Kind, Device));

impl Sequential {
    /// The identity, to be extended by [`push`](Sequential::push).
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the data are `[N, C, H, W]` with `chw` = `[C, H, W]`, of the kind and on the device of the variables in
    /// `vs`, so that the sequence can be sampled from. [`initialize`](Transform::initialize) finds that out from the
    /// first batch.
    #[must_use]
    pub fn over(mut self, vs: &nn::Path, chw: [i64; 3]) -> Self {
        self.data = Some((chw, (vs.kind(), vs.device())));
        self
    }

    /// Shape, kind and device of the data.
    pub(crate) fn data(&self) -> Result<Data> {
        self.data.ok_or_else(|| {
            Error::config(
                "this sequence does not know the shape of its data, which it needs for samples: say it by `over` when it is \
                 made, or call `initialize` with a first batch",
            )
        })
    }

    /// Appends `child` at the latent end.
    #[must_use]
    pub fn push(self, name: impl Into<String>, child: impl Transform + 'static) -> Self {
        self.push_boxed(name, Box::new(child))
    }

    /// Appends a `child` whose type is not known.
    #[must_use]
    pub fn push_boxed(mut self, name: impl Into<String>, child: Box<dyn Transform>) -> Self {
        self.children.push((name.into(), child));
        self
    }

    /// Appends the children of `other` under their names.
    #[must_use]
    pub fn extend(mut self, other: Self) -> Self {
        self.children.extend(other.children);
        self
    }

    /// The children with their names, from data to latent.
    pub fn children(&self) -> &[(String, Box<dyn Transform>)] {
        &self.children
    }

    /// Takes the sequence apart.
    pub fn into_children(self) -> Vec<(String, Box<dyn Transform>)> {
        self.children
    }
}

impl Transform for Sequential {
    fn name(&self) -> &'static str {
        "sequential"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        compose(x, self.children.iter(), |child, x| child.forward(x, cx))
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        compose(z, self.children.iter().rev(), |child, z| {
            child.inverse(z, cx)
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        self.children
            .iter()
            .try_fold(chw, |chw, (_, child)| child.out_shape(chw))
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        let mut children = self.children.iter_mut();
        children.try_for_each(|(_, child)| child.set_precision(precision))
    }

    fn torchscript(&self) -> Result<Script> {
        let mut stages = Stages::default();
        for (name, child) in &self.children {
            stages.push(name, child.torchscript())?;
        }
        Ok(stages.sequence())
    }

    fn trains_without_log_det(&self) -> bool {
        let mut children = self.children.iter();
        children.any(|(_, child)| child.trains_without_log_det())
    }

    fn raw_filters(&self) -> Vec<RawFilter<'_>> {
        let children = self.children.iter();
        children
            .flat_map(|(_, child)| child.raw_filters())
            .collect()
    }

    fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        let [_, c, h, w] = image_size("sequential", x)?;
        self.data = Some(([c, h, w], (x.kind(), x.device())));
        let mut value = x.shallow_clone();
        for (_, child) in &mut self.children {
            child.initialize(&value, cx)?;
            value = tch::no_grad(|| child.forward(&value, cx))?.value;
        }
        Ok(())
    }
}

fn compose<'a>(
    x: &Tensor,
    children: impl Iterator<Item = &'a (String, Box<dyn Transform>)>,
    map: impl Fn(&dyn Transform, &Tensor) -> Result<Mapped>,
) -> Result<Mapped> {
    let mut so_far = x.shallow_clone();
    let mut log_dets = LogDets::default();
    for (_, child) in children {
        let Mapped { value, log_det } = map(child.as_ref(), &so_far)?;
        log_dets.push(log_det);
        so_far = value;
    }
    Ok(Mapped {
        log_det: log_dets.sum(x)?,
        value: so_far,
    })
}

/// A transform read backwards: its `forward` is the other's `inverse`.
///
/// `Inverted<InvConv>` is a convolution in the training direction and a solve when sampling. A layer that needs a
/// first batch at its *input* cannot be initialised from its output, so initialising an inverted one is
/// [`NotInitialized`](crate::Error::NotInitialized).
#[derive(Debug)]
pub struct Inverted<T>(
    /// The transform that is read backwards.
    pub T,
);

impl<T: Transform> Transform for Inverted<T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.0.inverse(x, cx)
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.0.forward(z, cx)
    }

    /// Only shape-preserving transforms have a known shape backwards; others are a configuration error.
    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        let shape = self.0.out_shape(chw)?;
        if shape == chw {
            return Ok(chw);
        }
        Err(Error::config(format!(
            "{} changes the shape {chw:?} to {shape:?} and cannot be used backwards",
            self.0.name()
        )))
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.0.set_precision(precision)
    }

    fn torchscript(&self) -> Result<Script> {
        let mut script = self.0.torchscript()?;
        // what is inverted twice has methods of the plain names already
        let mark = "_".repeat(script.source.matches("def there").count());
        let (there, back) = (format!("there{mark}"), format!("back{mark}"));
        let text = replaced(
            &script.source,
            "def forward(self, x: Tensor)",
            &format!("def {there}(self, x: Tensor)"),
            1,
        )?;
        let text = replaced(
            &text,
            "def invert(self, z: Tensor)",
            &format!("def {back}(self, z: Tensor)"),
            1,
        )?;
        let backwards = include_str!("inverted.torchscript.py");
        let backwards = replaced(backwards, "self.there(", &format!("self.{there}("), 2)?;
        script.source = text + &replaced(&backwards, "self.back(", &format!("self.{back}("), 1)?;
        Ok(script)
    }

    fn raw_filters(&self) -> Vec<RawFilter<'_>> {
        self.0.raw_filters()
    }

    fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        let z = tch::no_grad(|| self.0.inverse(x, cx))?.value;
        self.0.initialize(&z, cx)
    }
}
