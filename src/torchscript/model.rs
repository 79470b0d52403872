//! A model of several latents as a TorchScript module.

use super::{replaced, Script, Stages, Statements};
use crate::Result;

/// A model for images of shape `image` that runs `stages` and leaves latents of the shapes `latents`, with the methods
/// that [`archive`](super::archive()) describes.
///
/// # Errors
/// A text of the model without the places where its stages belong.
pub fn model(image: [i64; 3], latents: &[[i64; 3]], stages: Stages) -> Result<Script> {
    let model = Script::new("Model", "")
        .with("image_shape", image)
        .with("latent_shapes", latents);
    let (mut model, Statements { forward, inverse }) = stages.below(model);
    let text = include_str!("model.torchscript.py");
    let text = replaced(
        text,
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

/// Sends all but the first `kept` channels out as the latent of index `latent`: statements of a [`model`] after the
/// `forward` and before the `invert` of the stage.
pub fn split_statements(kept: i64, latent: usize) -> [String; 2] {
    [
        format!("    latents.append(x[:, {kept}:])\n    x = x[:, :{kept}]\n"),
        format!("    x = torch.cat([x, z[{latent}]], 1)\n"),
    ]
}
