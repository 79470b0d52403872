//! What a layer is in TorchScript: the text of its methods, its constants, its children.

use super::{replaced, Value};
use crate::Result;

/// A module of a TorchScript program.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Name of its class.
    pub class: &'static str,
    /// Definitions of its methods.
    pub source: String,
    /// Attributes that are no tensors, by name.
    pub constants: Vec<(&'static str, Value)>,
    /// Modules below it by their dotted paths.
    pub children: Vec<(String, Script)>,
    /// `forward` has a second argument, the noise of the dequantisation.
    pub takes_noise: bool,
    /// `forward` and `invert` have a second argument `c`, the class of each image, one-hot.
    pub takes_class: bool,
}

impl Script {
    /// A module of class `class` with the methods of `source`.
    pub fn new(class: &'static str, source: impl Into<String>) -> Self {
        Self {
            class,
            source: source.into(),
            constants: Vec::new(),
            children: Vec::new(),
            takes_noise: false,
            takes_class: false,
        }
    }

    /// With the constant `self.name`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.constants.push((name, value.into()));
        self
    }

    /// With the module `script` at `path` below it.
    #[must_use]
    pub fn child(mut self, path: impl Into<String>, script: Self) -> Self {
        self.children.push((path.into(), script));
        self
    }

    /// With the module of a layer or a net at `path` below it, or the error of one that has none.
    ///
    /// # Errors
    /// That of `script`, its place put behind `path`.
    pub fn with_child(self, path: &str, script: Result<Self>) -> Result<Self> {
        Ok(self.child(path, script.map_err(|err| err.below(path))?))
    }

    /// The same layer with the class of each image as a second argument of both directions, and with `changes` of its text:
    /// what stands there, what shall, how often.
    ///
    /// # Errors
    /// A text that is not what `changes` expect.
    pub fn with_class(mut self, changes: &[(&str, &str, usize)]) -> Result<Self> {
        let ends = [
            (
                "def forward(self, x: Tensor)",
                "def forward(self, x: Tensor, c: Tensor)",
                1,
            ),
            (
                "def invert(self, z: Tensor)",
                "def invert(self, z: Tensor, c: Tensor)",
                1,
            ),
        ];
        for (old, new, times) in ends.iter().chain(changes) {
            self.source = replaced(&self.source, old, new, *times)?;
        }
        self.takes_class = true;
        Ok(self)
    }

    /// With the net of a coupling at `path` below it; one that takes the class makes the layer take it, by `changes` as in
    /// [`with_class`](Self::with_class).
    ///
    /// # Errors
    /// That of `net`, its place put behind `path`, or a text that is not what `changes` expect.
    pub fn with_net(
        self,
        path: &str,
        net: Result<Self>,
        changes: &[(&str, &str, usize)],
    ) -> Result<Self> {
        let by_class = net.as_ref().is_ok_and(|net| net.takes_class);
        let layer = match by_class && !self.takes_class {
            true => self.with_class(changes)?,
            false => self,
        };
        layer.with_child(path, net)
    }

    /// A net: `layers` with `activation`, a TorchScript expression of `x`, between each two. They stand under `0`, `2`,
    /// `4` and so on, the numbers of a torch `Sequential` that counts the activations.
    pub fn net(activation: &str, layers: Vec<Self>) -> Self {
        let mut source = String::from("def forward(self, x: Tensor) -> Tensor:\n");
        let mut net = Self::new("Net", "");
        for (index, layer) in layers.into_iter().enumerate() {
            if index > 0 {
                source += &format!("    x = {activation}\n");
            }
            let name = (2 * index).to_string();
            source += &format!("    x = getattr(self, \"{name}\").forward(x)\n");
            net = net.child(name, layer);
        }
        net.source = source + "    return x\n";
        net
    }

    /// Shows `visit` this module and all below it with their dotted paths, `path` being its own.
    pub fn visit(&self, path: &str, visit: &mut impl FnMut(&str, &Self)) {
        visit(path, self);
        for (name, child) in &self.children {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            child.visit(&path, visit);
        }
    }
}
