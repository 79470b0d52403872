//! Nets that see which class an image is of.

use super::embedding::features_of;
use super::{Conditioner, Precision};
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, nn::Init, Tensor};

/// What a net is shown of the class of an image: `planes` numbers a pixel, which are learned for each of `classes` classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassPlanes {
    /// Number of classes.
    pub classes: i64,
    /// Planes for each of them, 1 or more.
    pub planes: i64,
    /// `[H, W]` of the images at the net.
    pub size: [i64; 2],
}

/// A net that may see the class of each image: `net(x)`, or
///
/// ```text
/// net([x, e]),   e[n] = sum over classes y of condition[n, y] classes[y]
/// ```
///
/// where the condition is one-hot, `[N, Y]`, so `e` holds the planes of the class of each image. To the convolution at the
/// head of the net they are channels like others: the class is a bias of every hidden channel at every pixel, and no
/// operator below has to know of it. A product and not a look-up, because its gradient is again one: a sum over the images
/// of each class in an order that is the same in every run, on a GPU too.
///
/// Variables: `classes` `[Y, E, H, W]`, 0 at the start, and those of the net under `net`; without classes those of the net
/// alone, in its own place.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C', H, W]`; with classes the size of the image is fixed.
#[derive(Debug)]
pub struct ClassNet {
    classes: Option<Tensor>,
    net: Box<dyn Conditioner>,
}

impl ClassNet {
    /// `net(path, inputs, outputs)`, which sees the class of each image if `see` is there.
    ///
    /// # Errors
    /// [`Error::Config`] for no planes or fewer than two classes, and what `net` reports.
    pub fn new<N: Conditioner + 'static>(
        vs: &nn::Path,
        inputs: i64,
        outputs: i64,
        see: Option<ClassPlanes>,
        net: impl FnOnce(&nn::Path, i64, i64) -> Result<N>,
    ) -> Result<Self> {
        let Some(see) = see else {
            let net = Box::new(net(vs, inputs, outputs)?);
            return Ok(Self { classes: None, net });
        };
        if see.classes < 2 || see.planes < 1 {
            return Err(Error::config(format!(
                "a net that sees classes needs two or more of them and one plane or more for each, got {} and {}",
                see.classes, see.planes
            )));
        }
        let size = [see.classes, see.planes, see.size[0], see.size[1]];
        let classes = vs.f_var("classes", &size, Init::Const(0.0))?;
        let net = net(&(vs / "net"), inputs + see.planes, outputs)?;
        Ok(Self {
            classes: Some(classes),
            net: Box::new(net),
        })
    }

    /// What the net below is given.
    fn shown(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        match &self.classes {
            None => Ok(x.shallow_clone()),
            Some(classes) => Ok(Tensor::f_cat(&[x, &of_class(classes, condition)?], 1)?),
        }
    }
}

/// Those of the rows of `table`, `[Y, ...]`, that belong to the classes of the images: `[N, ...]`.
///
/// # Errors
/// No condition, or one of another number of classes.
pub(crate) fn of_class(table: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
    let mut size = table.size();
    let condition = features_of(condition, size[0])?;
    let rows = condition.f_matmul(&table.f_flatten(1, -1)?)?;
    size[0] = condition.size()[0];
    Ok(rows.f_view(size.as_slice())?)
}

impl Conditioner for ClassNet {
    fn forward(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        self.net.forward(&self.shown(x, condition)?, condition)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.net.set_precision(precision)
    }

    fn torchscript(&self) -> Result<Script> {
        if self.classes.is_none() {
            return self.net.torchscript();
        }
        let mut script = Script::new("ClassNet", include_str!("class_net.torchscript.py"))
            .with_child("net", self.net.torchscript())?;
        script.takes_class = true;
        Ok(script)
    }

    fn initialize(&mut self, x: &Tensor, condition: Option<&Tensor>) -> Result<()> {
        let shown = self.shown(x, condition)?;
        self.net.initialize(&shown, condition)
    }
}
