//! A multi-scale flow as a TorchScript module.

use super::{MultiScale, Stage};
use crate::script::{Calls, Script, Stages};

impl MultiScale {
    pub(super) fn program(&self) -> Script {
        let mut stages = Stages::default();
        let mut latent = 0;
        for (name, stage) in &self.stages {
            let (kept, script) = match stage {
                Stage::Layer(layer) => {
                    stages.push(name, layer.script());
                    continue;
                }
                Stage::Split { kept } => (*kept, None),
                // halves are alike
                Stage::SplitPrior(prior) => (self.latents[latent][0], Some(prior.script())),
            };
            let [after, before] = split(kept, latent);
            stages.push_with(name, script, after, before);
            latent += 1;
        }
        model(self.image, &self.latents, stages)
    }
}

/// A model for images of shape `image` that runs `stages` and leaves latents of the shapes `latents`.
fn model(image: [i64; 3], latents: &[[i64; 3]], stages: Stages) -> Script {
    let model = Script::new("Model", "")
        .with("image_shape", image)
        .with("latent_shapes", latents);
    let (mut model, Calls { forward, inverse }) = stages.below(model);
    model.source = include_str!("../model.py")
        .replace("    # every stage, from data to latent\n", &forward)
        .replace("    # every stage, from latent to data\n", &inverse);
    model
}

/// Sends all but the first `kept` channels out as the latent of index `latent`: statements after the `forward` and
/// before the `invert` of the stage.
fn split(kept: i64, latent: usize) -> [String; 2] {
    [
        format!("    latents.append(x[:, {kept}:])\n    x = x[:, :{kept}]\n"),
        format!("    x = torch.cat([x, z[{latent}]], 1)\n"),
    ]
}
