//! A program with its variables as the bytes of a file.

use super::{functions, Script, Solve};
use crate::ffi::torchscript::{Constant, Module, Program};
use crate::{Error, Result};
use tch::nn::VarStore;

/// Name of the file in an archive, below `extra/`, that says what the model is.
pub const EXTRA_FILE: &str = "inverse_flow.json";

/// The archive of the TorchScript program `script`, with the variables of `vs` under their own names. That of a
/// [`model`](super::model()) has
///
/// ```text
/// sample(z: List[Tensor]) -> Tensor                          images in [0, 256), one z for each of `latent_shapes`; NaN if not finite
/// decode(z: List[Tensor]) -> Tensor                          the same, the exact inverse of `encode`: its values may lie beyond
/// log_prob(x, noise: Optional[Tensor] = None) -> Tensor      [N], nats; also `forward`
/// encode(x, noise: Optional[Tensor] = None) -> Tuple[List[Tensor], Tensor]     latents and log-det
/// ```
///
/// A [conditional](super::ClassesOf) one has a second argument `label`, `[N]`, the numbers of the classes of its images, in these
/// methods, and also
///
/// ```text
/// class_log_probs(x, noise: Optional[Tensor] = None) -> Tensor       [N, Y], log p(x | y) for every class
/// marginal_log_prob(x, noise: Optional[Tensor] = None) -> Tensor     [N], log p(x) with the class unknown
/// ```
///
/// and the attributes `class_names` and `class_images`.
///
/// Trainable variables are parameters, the others buffers. The attributes `image_shape` and `latent_shapes` hold the
/// shapes; `extra` is the content of the file [`EXTRA_FILE`] under `extra/`. All tensors are on the CPU.
///
/// # Errors
/// [`Error::NotInitialized`] for a model that has not seen its first batch, which a program could not tell; and what
/// libtorch reports.
pub fn archive(script: &Script, vs: &VarStore, extra: &str, solve: Solve) -> Result<Vec<u8>> {
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, variable) in &variables {
        if name.ends_with(".initialized") && variable.f_double_value(&[])? == 0.0 {
            return Err(Error::NotInitialized { layer: "model" });
        }
    }
    let mut program = Program {
        functions: functions(solve),
        tensors: variables
            .into_iter()
            .map(|(name, variable)| {
                let trainable = variable.requires_grad();
                (name, variable, trainable)
            })
            .collect(),
        extra: (EXTRA_FILE.to_owned(), extra.to_owned()),
        ..Program::default()
    };
    script.visit("", &mut |path, script| {
        program.modules.push(Module {
            path: path.to_owned(),
            class: script.class.to_owned(),
            source: script.source.clone(),
        });
        let training = ("training", false.into());
        for (name, value) in script.constants.iter().chain([&training]) {
            program.constants.push(Constant {
                module: path.to_owned(),
                name: (*name).to_owned(),
                kind: value.kind.to_owned(),
                value: value.text.clone(),
            });
        }
    });
    program.archive()
}
