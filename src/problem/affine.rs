//! Affine maps of single elements: those of a coupling, and those that are the same for a whole channel.

use super::Direction;

/// How a coupling reads a scale and a shift for each of its moved channels from twice as many channels of its net's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AffineForm {
    /// `s, t` are the even and odd channels: `z2 = x2 exp(2 tanh(s / 2)) + t`, a scale within `e^-2..e^2`.
    Bounded,
    /// `m, s` are the first and second half: `z2 = x2 sigmoid(s + 2) + m`.
    Sigmoid,
    /// `t, s` are the even and odd channels: `z2 = (x2 + t) sigmoid(s + 2)`.
    ShiftedSigmoid,
    /// `m, s` are the even and odd channels: `z2 = (x2 - m) exp(-s)`, which turns `N(m, exp(2s))` into `N(0, 1)`.
    Gaussian,
}

/// What the logarithm of a scale is made of, and of which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogScale {
    /// `2 tanh(s / 2)`
    Bounded,
    /// `log sigmoid(s + 2)`
    Sigmoid,
    /// `-s`
    Negative,
}

/// Which channels of the net's output are the scales and the shifts: those of moved channel `m` are `scale + m step` and
/// `shift + m step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub scale: i64,
    pub shift: i64,
    pub step: i64,
}

impl AffineForm {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Bounded,
        Self::Sigmoid,
        Self::ShiftedSigmoid,
        Self::Gaussian,
    ];

    pub(crate) fn log_scale(self) -> LogScale {
        match self {
            Self::Bounded => LogScale::Bounded,
            Self::Sigmoid | Self::ShiftedSigmoid => LogScale::Sigmoid,
            Self::Gaussian => LogScale::Negative,
        }
    }

    pub(crate) fn layout(self, moved: i64) -> Layout {
        let (scale, shift, step) = match self {
            Self::Bounded => (0, 1, 2),
            Self::Sigmoid => (moved, 0, 1),
            Self::ShiftedSigmoid | Self::Gaussian => (1, 0, 2),
        };
        Layout { scale, shift, step }
    }

    /// What the shift is multiplied by where it is added before the scale is applied, and where it is added afterwards:
    /// `z = (x + before t) e + after t` with one of the two being zero, in the direction `inverse` or the other.
    pub(crate) fn shifts(self, inverse: bool) -> [f64; 2] {
        let first = matches!(self, Self::ShiftedSigmoid | Self::Gaussian);
        let sign = if (self == Self::Gaussian) != inverse {
            -1.0
        } else {
            1.0
        };
        if first != inverse {
            [sign, 0.0]
        } else {
            [0.0, sign]
        }
    }
}

/// An affine map of a channel: `(x + before loc) exp(factor log_scale) + after loc`, with one of `before` and `after` zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ChannelForm {
    /// ActNorm: `(x - loc) exp(-log_scale)`, or the inverse of it, with its log-det.
    Standardise(Direction),
    /// A convolution's own scale: `(x + loc) exp(factor log_scale)`, without a log-det.
    Biased {
        /// Of the logarithm of the scale.
        factor: f64,
    },
}

impl ChannelForm {
    /// What loc is multiplied by where it is added before the scale is applied, and where it is added after it.
    pub(crate) fn loc(self) -> [f64; 2] {
        match self {
            Self::Standardise(Direction::Forward) => [-1.0, 0.0],
            Self::Standardise(Direction::Inverse) => [0.0, 1.0],
            Self::Biased { .. } => [1.0, 0.0],
        }
    }

    /// What the logarithm of the scale is multiplied by.
    pub(crate) fn factor(self) -> f64 {
        match self {
            Self::Standardise(Direction::Forward) => -1.0,
            Self::Standardise(Direction::Inverse) => 1.0,
            Self::Biased { factor } => factor,
        }
    }

    /// Whether its log-det is asked for.
    pub(crate) fn has_log_det(self) -> bool {
        matches!(self, Self::Standardise(_))
    }
}
