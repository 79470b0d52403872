//! TorchScript programs: source text and tensors in, the bytes of an archive out.

use super::status::checked;
use super::sys;
use crate::{Error, Result};
use std::ffi::{c_char, c_void, CString};
use tch::Tensor;

/// A program: modules named by dotted paths below the root, which is the empty path.
#[derive(Debug, Default)]
pub struct Program {
    /// Functions that every method may call.
    pub functions: String,
    /// Modules that have methods.
    pub modules: Vec<Module>,
    /// Attributes that are no tensors.
    pub constants: Vec<Constant>,
    /// Tensors by their dotted names, and whether they are parameters; the others are buffers.
    pub tensors: Vec<(String, Tensor, bool)>,
    /// Name and content of one more file, which the archive has under `extra/`.
    pub extra: (String, String),
}

/// A module with methods. Modules of the same class, text and attribute types share their code in the file.
#[derive(Debug)]
pub struct Module {
    /// Dotted path.
    pub path: String,
    /// Name of the class.
    pub class: String,
    /// Method definitions.
    pub source: String,
}

/// An attribute of a module that is no tensor.
#[derive(Debug)]
pub struct Constant {
    /// Path of the module.
    pub module: String,
    /// Name of the attribute.
    pub name: String,
    /// A TorchScript type.
    pub kind: String,
    /// A TorchScript expression of that type.
    pub value: String,
}

impl Program {
    /// Compiles the program and returns its archive.
    ///
    /// # Errors
    /// Text that does not compile, with the place; a name with a NUL in it.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let mut strings = Strings::default();
        let modules = self
            .modules
            .iter()
            .map(|m| {
                Ok(sys::TorchScriptModule {
                    path: strings.lend(&m.path)?,
                    class_name: strings.lend(&m.class)?,
                    source: strings.lend(&m.source)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let constants = self
            .constants
            .iter()
            .map(|c| {
                Ok(sys::TorchScriptConstant {
                    module: strings.lend(&c.module)?,
                    name: strings.lend(&c.name)?,
                    kind: strings.lend(&c.kind)?,
                    value: strings.lend(&c.value)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let tensors = self
            .tensors
            .iter()
            .map(|(name, tensor, is_parameter)| {
                Ok(sys::TorchScriptTensor {
                    name: strings.lend(name)?,
                    tensor: tensor.as_ptr().cast_mut(),
                    is_parameter: (*is_parameter).into(),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let script = sys::TorchScript {
            functions: strings.lend(&self.functions)?,
            modules: modules.as_ptr(),
            n_modules: modules.len(),
            constants: constants.as_ptr(),
            n_constants: constants.len(),
            tensors: tensors.as_ptr(),
            n_tensors: tensors.len(),
            extra_name: strings.lend(&self.extra.0)?,
            extra: strings.lend(&self.extra.1)?,
        };
        let mut archive: Vec<u8> = Vec::new();
        checked(|error| {
            // SAFETY: lists of plain pointers with their lengths: to strings that `strings` owns, and to handles of
            // borrowed tensors, all alive for the call; the sink is the `Vec<u8>` that `write` expects.
            unsafe { sys::ivf_torchscript_save(&script, (&raw mut archive).cast(), write, error) }
        })?;
        Ok(archive)
    }
}

/// Appends bytes to the `Vec<u8>` at `sink`.
unsafe extern "C" fn write(sink: *mut c_void, bytes: *const u8, n: usize) {
    if n == 0 {
        return; // may come with a null pointer
    }
    // SAFETY: `sink` is the vector of `archive`, whose call this is in; C++ passes `n` bytes that live for the call.
    unsafe { (*sink.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(bytes, n)) }
}

/// NUL-terminated copies, alive as long as this list.
#[derive(Default)]
struct Strings(Vec<CString>);

impl Strings {
    fn lend(&mut self, text: &str) -> Result<*const c_char> {
        let text = CString::new(text)
            .map_err(|_| Error::Torch(format!("a NUL in the text of a program: {text:?}")))?;
        // the characters stay where they are when the list grows
        let pointer = text.as_ptr();
        self.0.push(text);
        Ok(pointer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{CModule, Device, Kind};

    fn scaled(source: &str) -> Program {
        let module = |path: &str, class: &str, source: &str| Module {
            path: path.into(),
            class: class.into(),
            source: source.into(),
        };
        let constant = |module: &str, value: &str| Constant {
            module: module.into(),
            name: "times".into(),
            kind: "float".into(),
            value: value.into(),
        };
        let weight = Tensor::from_slice(&[2.0f32]);
        let steps = "def forward(self, x: Tensor) -> Tensor:\n    \
                     return getattr(self.steps, \"1\").forward(getattr(self.steps, \"0\").forward(x))\n";
        Program {
            functions: "def scale(x: Tensor, by: Tensor, times: float) -> Tensor:\n    return x * by * times\n".into(),
            modules: vec![
                module("", "Model", steps),
                module("steps.0", "Step", source),
                module("steps.1", "Step", source),
            ],
            constants: vec![constant("steps.0", "3.0"), constant("steps.1", "5.0")],
            tensors: vec![
                ("steps.0.weight".into(), weight.shallow_clone(), true),
                ("steps.1.weight".into(), weight, true),
            ],
            extra: ("note.json".into(), "{}".into()),
        }
    }

    #[test]
    fn a_program_runs_with_its_tensors_and_constants() {
        let source = "def forward(self, x: Tensor) -> Tensor:\n    return scale(x, self.weight, self.times)\n";
        let archive = scaled(source).archive().unwrap();
        let module = CModule::load_data(&mut archive.as_slice()).unwrap();
        let x = Tensor::ones([3], (Kind::Float, Device::Cpu));
        let y = module.forward_ts(&[x]).unwrap();
        assert_eq!(Vec::<f32>::try_from(y).unwrap(), [60.0; 3]);
        let mut names: Vec<_> = module
            .named_parameters()
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        names.sort();
        assert_eq!(names, ["steps.0.weight", "steps.1.weight"]);
    }

    #[test]
    fn text_that_does_not_compile_is_an_error_with_its_place() {
        let source = "def forward(self, x: Tensor) -> Tensor:\n    return unheard_of(x)\n";
        let err = scaled(source).archive().unwrap_err().to_string();
        assert!(
            err.contains("unheard_of") && err.contains("return"),
            "{err}"
        );
    }
}
