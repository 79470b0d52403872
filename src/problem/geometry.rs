//! The sizes of a convolution or a solve, checked before anything is computed.

use tch::{Device, Kind, Tensor};

use super::corner::Corner;
use super::operation::Op;
use crate::words::{counted, device, dtype};
use crate::{Error, Result};

/// What the checks need to know of a tensor.
struct Described {
    sizes: Vec<i64>,
    kind: Kind,
    device: Device,
}

impl From<&Tensor> for Described {
    fn from(tensor: &Tensor) -> Self {
        Self {
            sizes: tensor.size(),
            kind: tensor.kind(),
            device: tensor.device(),
        }
    }
}

/// Sizes of one call, after every check: images `[B, C, H, W]`, weight `[C, C/g, k, k]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Images B; 0 is allowed.
    pub batch: i64,
    /// Channels C of all groups together.
    pub channels: i64,
    /// Groups g of C/g consecutive channels; each has its own corner.
    pub groups: i64,
    /// Rows H.
    pub height: i64,
    /// Columns W.
    pub width: i64,
    /// Side k of the square filter; it may exceed H and W.
    pub kernel: i64,
}

/// Sizes without checks, for tests of what is made of them.
#[cfg(test)]
pub(crate) fn geometry(
    [batch, channels, height, width]: [i64; 4],
    groups: i64,
    kernel: i64,
) -> Geometry {
    Geometry {
        batch,
        channels,
        groups,
        height,
        width,
        kernel,
    }
}

impl Geometry {
    /// Checks the arguments of a convolution or a solve named `op`.
    ///
    /// # Shapes
    /// `input` `[B, C, H, W]`; `weight` `[C, C/g, k, k]` with g = `corners.len()`.
    ///
    /// # Errors
    /// [`Error::Argument`] that names the argument, what was expected and what was got: rank, dtype other than
    /// float32 and float64, mixed dtypes or devices, no corner, C not divisible by g, a filter that is not square,
    /// and any other size that does not fit.
    pub fn check(
        op: &'static str,
        input: &Tensor,
        weight: &Tensor,
        corners: &[Corner],
    ) -> Result<Self> {
        Self::check_described(op, &input.into(), &weight.into(), corners)
    }

    fn check_described(
        op: &'static str,
        input: &Described,
        weight: &Described,
        corners: &[Corner],
    ) -> Result<Self> {
        let images = image_sizes(op, "input", input)?;
        let group_channels = channels_per_group(op, images[1], corners)?;
        let &[outputs, inputs, rows, columns] = weight.sizes.as_slice() else {
            return Err(Error::argument(
                op,
                "weight",
                format!(
                    "must have 4 dimensions [C, C/g, k, k], got {} of size {:?}",
                    weight.sizes.len(),
                    weight.sizes
                ),
            ));
        };
        same_placement(op, "weight", weight, input)?;
        if rows != columns || rows == 0 {
            return Err(Error::argument(
                op,
                "weight",
                format!("must have square filters of side 1 or more, got {rows}x{columns}"),
            ));
        }
        if [outputs, inputs] != [images[1], group_channels] {
            return Err(Error::argument(
                op,
                "weight",
                format!(
                    "must be [C, C/g, k, k] = [{}, {group_channels}, {rows}, {columns}] for an input with C = {} \
                     and g = {}, got {:?}",
                    images[1],
                    counted(images[1], "channel"),
                    counted(corners.len(), "corner"),
                    weight.sizes
                ),
            ));
        }
        Ok(Self::new(images, corners, rows))
    }

    /// Checks the arguments of a weight gradient named `op`: two equal images and the side of the filter.
    ///
    /// # Shapes
    /// `x` and `u` `[B, C, H, W]`.
    ///
    /// # Errors
    /// As [`Geometry::check`].
    pub fn check_weight_grad(
        op: &'static str,
        x: &Tensor,
        u: &Tensor,
        kernel: i64,
        corners: &[Corner],
    ) -> Result<Self> {
        let (x, u) = (Described::from(x), Described::from(u));
        let images = image_sizes(op, "x", &x)?;
        channels_per_group(op, images[1], corners)?;
        same_placement(op, "u", &u, &x)?;
        if u.sizes != x.sizes {
            return Err(Error::argument(
                op,
                "u",
                format!("must have the size {:?} of `x`, got {:?}", x.sizes, u.sizes),
            ));
        }
        if kernel < 1 {
            return Err(Error::argument(
                op,
                "kernel",
                format!("must be 1 or more, got {kernel}"),
            ));
        }
        Ok(Self::new(images, corners, kernel))
    }

    fn new([batch, channels, height, width]: [i64; 4], corners: &[Corner], kernel: i64) -> Self {
        Self {
            batch,
            channels,
            groups: corners.len() as i64,
            height,
            width,
            kernel,
        }
    }

    /// Channels C/g of one group.
    pub const fn group_channels(&self) -> i64 {
        self.channels / self.groups
    }

    /// Size of the images, `[B, C, H, W]`.
    pub const fn image_size(&self) -> [i64; 4] {
        [self.batch, self.channels, self.height, self.width]
    }

    /// Size of the weight, `[C, C/g, k, k]`.
    pub const fn weight_size(&self) -> [i64; 4] {
        [
            self.channels,
            self.group_channels(),
            self.kernel,
            self.kernel,
        ]
    }

    /// Size of what `op` computes.
    pub(crate) const fn result_size(&self, op: Op) -> [i64; 4] {
        match op {
            Op::WeightGrad | Op::SolveWeightGrad => self.weight_size(),
            _ => self.image_size(),
        }
    }

    /// The 0/1 mask M `[C, C/g, k, k]` of the weights that are read.
    ///
    /// `M[o, i, anchor]` is 1 for i <= o (counted within the group) and 0 above the diagonal; it is 1 on all other
    /// taps. The anchor's place in the filter follows from the group's corner ([`Corner::anchor_index`]).
    ///
    /// # Errors
    /// What libtorch reports when it cannot make the tensor.
    pub fn anchor_mask(&self, corners: &[Corner], kind: Kind, device: Device) -> Result<Tensor> {
        let n = self.group_channels();
        let mask = Tensor::f_ones(self.weight_size(), (kind, device))?;
        for (group, corner) in (0..).zip(corners) {
            let (row, column) = corner.anchor_index(self.kernel);
            // views of `mask`, which nobody else has seen yet: in place is safe
            let _ = mask
                .f_narrow(0, group * n, n)?
                .f_select(3, column)?
                .f_select(2, row)?
                .f_tril_(0)?;
        }
        Ok(mask)
    }
}

fn image_sizes(op: &'static str, arg: &'static str, images: &Described) -> Result<[i64; 4]> {
    let sizes: [i64; 4] = images.sizes.as_slice().try_into().map_err(|_| {
        Error::argument(
            op,
            arg,
            format!(
                "must have 4 dimensions [B, C, H, W], got {} of size {:?}",
                images.sizes.len(),
                images.sizes
            ),
        )
    })?;
    if !matches!(images.kind, Kind::Float | Kind::Double) {
        return Err(Error::argument(
            op,
            arg,
            format!(
                "must be float32 or float64, got {}: convert it first",
                dtype(images.kind)
            ),
        ));
    }
    Ok(sizes)
}

fn channels_per_group(op: &'static str, channels: i64, corners: &[Corner]) -> Result<i64> {
    let groups = corners.len() as i64;
    if groups == 0 {
        let valid = Corner::ALL.map(Corner::name).join(", ");
        return Err(Error::argument(
            op,
            "corners",
            format!("must name one corner for each group, got none: choose from {valid}"),
        ));
    }
    if channels == 0 || channels % groups != 0 {
        return Err(Error::argument(
            op,
            "corners",
            format!(
                "must divide the channels into equal groups, got {} for {}",
                counted(groups, "corner"),
                counted(channels, "channel")
            ),
        ));
    }
    Ok(channels / groups)
}

fn same_placement(
    op: &'static str,
    arg: &'static str,
    got: &Described,
    expected: &Described,
) -> Result<()> {
    if got.kind != expected.kind {
        return Err(Error::argument(
            op,
            arg,
            format!(
                "must have the dtype {} of the first argument, got {}",
                dtype(expected.kind),
                dtype(got.kind)
            ),
        ));
    }
    if got.device != expected.device {
        return Err(Error::argument(
            op,
            arg,
            format!(
                "must be on {} like the first argument, got {}",
                device(expected.device),
                device(got.device)
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(sizes: &[i64]) -> Described {
        Described {
            sizes: sizes.to_vec(),
            kind: Kind::Float,
            device: Device::Cpu,
        }
    }

    fn message(input: Described, weight: Described, corners: &[Corner]) -> String {
        Geometry::check_described("inv_conv2d", &input, &weight, corners)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn good_arguments_give_their_sizes() {
        let geometry = Geometry::check_described(
            "inv_conv2d",
            &described(&[0, 6, 1, 7]),
            &described(&[6, 3, 5, 5]),
            &[Corner::TopLeft, Corner::BottomRight],
        )
        .unwrap();
        assert_eq!(geometry.group_channels(), 3);
        assert_eq!(geometry.image_size(), [0, 6, 1, 7]);
        assert_eq!(geometry.weight_size(), [6, 3, 5, 5]);
    }

    #[test]
    fn every_wrong_argument_is_named() {
        let (x, w, tl) = ([2, 6, 5, 7], [6, 6, 3, 3], [Corner::TopLeft]);
        let with_kind = |sizes: &[i64], kind| Described {
            kind,
            ..described(sizes)
        };
        let cases = [
            (message(described(&[6, 5, 7]), described(&w), &tl), "`input` must have 4 dimensions [B, C, H, W], got 3 of size [6, 5, 7]"),
            (message(with_kind(&x, Kind::Int64), described(&w), &tl), "`input` must be float32 or float64, got int64"),
            (message(with_kind(&x, Kind::Half), described(&w), &tl), "`input` must be float32 or float64, got float16"),
            (message(described(&x), described(&[6, 6, 9]), &tl), "`weight` must have 4 dimensions [C, C/g, k, k], got 3 of size [6, 6, 9]"),
            (message(described(&x), with_kind(&w, Kind::Double), &tl), "`weight` must have the dtype float32 of the first argument, got float64"),
            (message(described(&x), Described { device: Device::Cuda(1), ..described(&w) }, &tl), "`weight` must be on cpu like the first argument, got cuda:1"),
            (message(described(&x), described(&w), &[]), "`corners` must name one corner for each group, got none"),
            (message(described(&x), described(&w), &Corner::ALL), "`corners` must divide the channels into equal groups, got 4 corners for 6 channels"),
            (message(described(&x), described(&[6, 6, 3, 2]), &tl), "`weight` must have square filters of side 1 or more, got 3x2"),
            (message(described(&x), described(&[6, 6, 0, 0]), &tl), "square filters of side 1 or more, got 0x0"),
            (message(described(&x), described(&[6, 3, 3, 3]), &tl), "[6, 6, 3, 3] for an input with C = 6 channels and g = 1 corner, got [6, 3, 3, 3]"),
        ];
        for (got, expected) in cases {
            assert!(
                got.starts_with("inv_conv2d: ") && got.contains(expected),
                "{got}"
            );
        }
    }

    #[test]
    fn the_mask_is_lower_triangular_at_each_groups_anchor_and_one_elsewhere() {
        let geometry = Geometry::new([1, 6, 2, 2], &Corner::ALL[..2], 3);
        let mask = geometry
            .anchor_mask(&Corner::ALL[..2], Kind::Double, Device::Cpu)
            .unwrap();
        for (o, i, row, column) in (0..6)
            .flat_map(|o| (0..3).map(move |i| (o, i)))
            .flat_map(|(o, i)| (0..9).map(move |t| (o, i, t / 3, t % 3)))
        {
            let anchor = if o < 3 { (2, 2) } else { (2, 0) };
            let expected = if (row, column) == anchor && i > o % 3 {
                0.0
            } else {
                1.0
            };
            assert_eq!(mask.double_value(&[o, i, row, column]), expected);
        }
    }
}
