//! A model of several latents as a TorchScript module.

use super::{replaced, Script, Stages, Statements};
use crate::Result;

/// The classes of a conditional model: their names, and how many training images each has.
#[derive(Debug, Clone, Copy)]
pub struct ClassesOf<'a> {
    /// What they are called.
    pub names: &'a [String],
    /// Training images of each.
    pub images: &'a [u64],
}

/// A model for images of shape `image` that runs `stages` and leaves latents of the shapes `latents`, with the methods
/// that [`archive`](super::archive()) describes; those of a conditional one where there are `classes`.
///
/// # Errors
/// A text of the model without the places where its stages belong.
pub fn model(
    image: [i64; 3],
    latents: &[[i64; 3]],
    classes: Option<ClassesOf<'_>>,
    stages: Stages,
) -> Result<Script> {
    let model = Script::new("Model", "")
        .with("image_shape", image)
        .with("latent_shapes", latents);
    let (mut model, Statements { forward, inverse }) = stages.below(model);
    let text = include_str!("model.torchscript.py");
    let text = match classes {
        None => text.to_owned(),
        Some(classes) => {
            model = model
                .with("class_names", classes.names)
                .with("class_images", classes.images);
            conditional(text)?
        }
    };
    let text = replaced(
        &text,
        "    # every stage, from data to latent\n",
        &forward,
        1,
    )?;
    model.source = replaced(
        &text,
        "    # every stage, from latent to data\n",
        &inverse,
        1,
    )?;
    Ok(model)
}

/// The text of a model every method of which is told the class of each image by its number, and what only such a model has.
fn conditional(text: &str) -> Result<String> {
    let changes = [
        (
            ", noise: Optional[Tensor] = None)",
            ", label: Tensor, noise: Optional[Tensor] = None)",
            3,
        ),
        ("self.encode(x, noise)", "self.encode(x, label, noise)", 1),
        (
            "self.log_prob(x, noise)",
            "self.log_prob(x, label, noise)",
            1,
        ),
        ("z: List[Tensor])", "z: List[Tensor], label: Tensor)", 2),
        ("self.decode(z)", "self.decode(z, label)", 1),
        (
            "    log_det = zero_log_det(x)\n",
            "    c = self.condition(label, x)\n    log_det = zero_log_det(x)\n",
            1,
        ),
        (
            "    x = z[-1]\n",
            "    x = z[-1]\n    c = self.condition(label, x)\n",
            1,
        ),
    ];
    let changed = changes
        .iter()
        .try_fold(text.to_owned(), |text, (old, new, times)| {
            replaced(&text, old, new, *times)
        })?;
    Ok(changed + include_str!("model_classes.torchscript.py"))
}

/// Sends all but the first `kept` channels out as the latent of index `latent`: statements of a [`model`] after the
/// `forward` and before the `invert` of the stage.
pub fn split_statements(kept: i64, latent: usize) -> [String; 2] {
    [
        format!("    latents.append(x[:, {kept}:])\n    x = x[:, :{kept}]\n"),
        format!("    x = torch.cat([x, z[{latent}]], 1)\n"),
    ]
}
