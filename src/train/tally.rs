//! What is wrong with the values of decoded images: how many are not finite, and how many lie beyond the range.

use crate::flows::PIXEL_LEVELS;
use crate::words::counted;
use crate::Result;
use tch::{Kind, Tensor};

/// Counts over images as a model decodes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Images that were looked at.
    pub images: u64,
    /// Their values: pixels times channels.
    pub values: u64,
    /// Images with values that are not finite.
    pub lost_images: u64,
    /// Values that are not finite.
    pub lost_values: u64,
    /// Finite values outside `[0, 256)`, which become the nearest inside.
    pub beyond: u64,
}

impl Tally {
    /// The counts of images `[N, C, H, W]`.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn of(images: &Tensor) -> Result<Self> {
        let lost = images.f_isfinite()?.f_logical_not()?;
        let outside = images
            .f_lt(0.0)?
            .f_logical_or(&images.f_ge(PIXEL_LEVELS)?)?
            .f_logical_and(&lost.f_logical_not()?)?;
        let count = |flags: &Tensor| -> Result<u64> {
            Ok(flags.f_sum(Kind::Int64)?.f_int64_value(&[])? as u64)
        };
        let of_an_image = lost.f_flatten(1, -1)?.f_any_dim(1, false)?;
        Ok(Self {
            images: images.size()[0] as u64,
            values: images.numel() as u64,
            lost_images: count(&of_an_image)?,
            lost_values: count(&lost)?,
            beyond: count(&outside)?,
        })
    }

    /// The counts of both.
    pub fn add(&mut self, other: Self) {
        self.images += other.images;
        self.values += other.values;
        self.lost_images += other.lost_images;
        self.lost_values += other.lost_values;
        self.beyond += other.beyond;
    }

    /// What to say about values beyond the range, if there are any.
    pub fn beyond_text(&self) -> Option<String> {
        let Self { beyond, values, .. } = self;
        (*beyond > 0).then(|| {
            format!(
                "{} of {values} {} beyond the range of pixels and became the nearest inside",
                counted(beyond, "value"),
                if *beyond == 1 { "was" } else { "were" }
            )
        })
    }

    /// What to say about values that are not finite, if there are any; `place` says where they come from.
    pub fn lost_text(&self, place: Option<&str>) -> Option<String> {
        (self.lost_images > 0).then(|| {
            format!(
                "{} in {} of {} not finite{}",
                counted(self.lost_values, "value"),
                self.lost_images,
                if self.images == 1 {
                    "1 image is".to_owned()
                } else {
                    format!("{} are", counted(self.images, "image"))
                },
                place.map(|place| format!(", {place}")).unwrap_or_default()
            )
        })
    }
}

/// Which of the images `[N, C, H, W]` is the first with a value that is not finite.
///
/// # Errors
/// What libtorch reports.
pub fn first_lost(images: &Tensor) -> Result<Option<i64>> {
    let lost = images.f_isfinite()?.f_logical_not()?;
    let of_an_image = lost.f_flatten(1, -1)?.f_any_dim(1, false)?;
    let places = of_an_image.f_nonzero()?;
    match places.size()[0] {
        0 => Ok(None),
        _ => Ok(Some(places.f_int64_value(&[0, 0])?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn values_are_counted_once_by_what_is_wrong_with_them() {
        let x = Tensor::zeros([3, 1, 2, 2], (Kind::Float, Device::Cpu));
        let set = |image: i64, y: i64, value: f64| {
            let _ = x.get(image).get(0).get(y).get(1).fill_(value);
        };
        assert_eq!(first_lost(&x).unwrap(), None);
        set(0, 0, -1e-6);
        set(0, 1, 256.0);
        set(1, 0, f64::NAN);
        set(1, 1, f64::INFINITY);
        set(2, 0, f64::NEG_INFINITY);
        set(2, 1, 255.99998);
        let mut tally = Tally::of(&x).unwrap();
        assert_eq!(
            tally,
            Tally {
                images: 3,
                values: 12,
                lost_images: 2,
                lost_values: 3,
                beyond: 2
            }
        );
        assert_eq!(first_lost(&x).unwrap(), Some(1));
        tally.add(tally);
        assert_eq!(
            tally.lost_text(Some("from layer `a` on")).unwrap(),
            "6 values in 4 of 6 images are not finite, from layer `a` on"
        );
        assert_eq!(
            tally.beyond_text().unwrap(),
            "4 values of 24 were beyond the range of pixels and became the nearest inside"
        );
        let fine = Tally::of(&x.zeros_like()).unwrap();
        assert_eq!((fine.lost_text(None), fine.beyond_text()), (None, None));
    }
}
