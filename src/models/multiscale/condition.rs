//! What a conditional model is told about its images.

use super::MultiScale;
use crate::ffi::upload::upload;
use crate::flows::check::Placement;
use crate::{Error, Result};
use tch::{Device, Tensor};

impl MultiScale {
    /// The condition `[N, Y]` for images of these classes, one-hot, in the kind and on the device of the model: see
    /// [`Cx::condition`](crate::flows::Cx::condition). `None` for a model without classes.
    ///
    /// ```
    /// use inverse_flow::flows::Cx;
    /// use inverse_flow::models::{build, ButterflyConfig, Classes};
    /// use tch::{nn, Device};
    ///
    /// let classes = Some(Classes::alike(["cat", "dog"]));
    /// let config = ButterflyConfig { image: [1, 8, 8], steps: 1, width: 8, classes, ..ButterflyConfig::mnist() };
    /// let vs = nn::VarStore::new(Device::Cpu);
    /// let mut model = build(&vs.root(), &config.into())?;
    /// # let images = tch::Tensor::randint(256, [4, 1, 8, 8], (tch::Kind::Float, Device::Cpu));
    /// # let some = model.condition(&[0, 1, 0, 1])?;
    /// # model.initialize(&images, Cx { condition: some.as_ref(), ..Cx::default() })?;
    /// let dogs = model.condition(&[1, 1, 1])?;
    /// let cx = Cx { condition: dogs.as_ref(), ..Cx::default() };
    /// assert_eq!(model.sample(3, 0.7, cx)?.size(), [3, 1, 8, 8]);
    /// # Ok::<(), inverse_flow::Error>(())
    /// ```
    ///
    /// # Errors
    /// A label that is not the number of a class.
    pub fn condition(&self, labels: &[u16]) -> Result<Option<Tensor>> {
        let Some(classes) = &self.classes else {
            return Ok(None);
        };
        let count = classes.names.len();
        let mut rows = vec![0.0f32; labels.len() * count];
        for (row, &label) in rows.chunks_exact_mut(count).zip(labels) {
            let place = row.get_mut(usize::from(label)).ok_or_else(|| {
                let why = format!(
                    "must be less than {count}, the number of classes of the model ({}), got {label}",
                    classes.listed()
                );
                Error::argument("condition", "labels", why)
            })?;
            *place = 1.0;
        }
        let rows = Tensor::f_from_slice(&rows)?.f_view([labels.len() as i64, count as i64])?;
        let rows = match self.device {
            // the host does not wait
            Device::Cuda(index) => upload(&rows, index)?,
            _ => rows,
        };
        Ok(Some(rows.f_to_kind(self.kind)?))
    }

    /// Refuses a call of a conditional model that does not say which classes the images are of.
    pub(super) fn check_condition(
        &self,
        op: &'static str,
        images: i64,
        condition: Option<&Tensor>,
    ) -> Result<()> {
        if let Some(classes) = &self.classes {
            let wanted = [images, classes.count()];
            let got = condition.map(Tensor::size);
            if got.as_deref() != Some(wanted.as_slice()) {
                let got = got.map_or("none".to_owned(), |size| format!("size {size:?}"));
                let why = format!(
                    "must be [N, Y] = {wanted:?}, one-hot, for this model is conditional on a class ({}), got {got}: see \
                     `MultiScale::condition`",
                    classes.listed()
                );
                return Err(Error::argument(op, "condition", why));
            }
        }
        let placement = Placement {
            kind: self.kind,
            device: self.device,
        };
        placement.check_condition(op, images, condition)
    }
}
