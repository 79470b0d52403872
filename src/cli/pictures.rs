//! How pictures of one's own become images, as flags.

use crate::data::{image_of, pad_of, Background, DataConfig, Fit};
use clap::Args;

/// What happens to pictures that differ.
#[derive(Debug, Default, Args)]
pub struct Pictures {
    /// Pictures of another size: error, pad, crop or resize [default: error]
    #[arg(long, value_name = "HOW")]
    fit: Option<Fit>,
    /// Colour behind transparent pixels and in borders: black, white or RRGGBB [default: black]
    #[arg(long, value_name = "COLOUR")]
    background: Option<Background>,
    /// Leave out files that cannot be read, and count them
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    skip_damaged: Option<bool>,
}

impl Pictures {
    /// Puts what was given into a configuration.
    pub fn apply(&self, config: &mut DataConfig) {
        config.fit = self.fit.unwrap_or(config.fit);
        config.background = self.background.unwrap_or(config.background);
        config.skip_damaged = self.skip_damaged.unwrap_or(config.skip_damaged);
    }
}

/// The size of images, and how they are split.
#[derive(Debug, Default, Args)]
#[group(id = "Shape", multiple = true)]
pub struct Shape {
    /// Size that your pictures are brought to, such as 3x32x32 [default: that of the first]
    #[arg(long, value_name = "CxHxW", value_parser = image_of)]
    image: Option<[i64; 3]>,
    /// Give every image a border, so that it has this side or size: 32 or 32x48
    #[arg(long, value_name = "HxW", value_parser = pad_of)]
    pad: Option<[i64; 2]>,
    /// Part of your images that validates; as many test, if no file says else [default: 0.1]
    #[arg(long, value_name = "X")]
    val_fraction: Option<f64>,
}

impl Shape {
    /// Whether something is given.
    pub fn is_given(&self) -> bool {
        self.image.is_some() || self.pad.is_some() || self.val_fraction.is_some()
    }

    /// Puts what was given into a configuration.
    pub fn apply(&self, config: &mut DataConfig) {
        config.image = self.image.or(config.image);
        config.pad = self.pad.or(config.pad);
        config.val_fraction = self.val_fraction.unwrap_or(config.val_fraction);
    }
}
