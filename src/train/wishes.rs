//! What the processes of a run must do at the same step, although each has a clock and signals of its own.

use crate::cuda::numbers;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// What a process wants after a step; of several processes, what any of them wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Somebody has asked to save and stop.
    pub stop: bool,
    /// The minutes of the run are over.
    pub time_is_up: bool,
    /// The last checkpoint is too long ago.
    pub save: bool,
}

impl Wishes {
    /// Numbers that stand for them.
    pub(super) const COUNT: i64 = 3;

    /// Above 0 for what is wanted: sums over processes, and over steps, are again such numbers.
    ///
    /// # Errors
    /// What the device reports.
    pub(super) fn to_tensor(self, device: Device) -> Result<Tensor> {
        let all = self.flags().map(|wish| f32::from(u8::from(wish)));
        // without an upload, for which a GPU would be waited for
        match self == Self::default() {
            true => Ok(Tensor::f_zeros([Self::COUNT], (Kind::Float, device))?),
            false => Ok(Tensor::f_from_slice(&all)?.f_to_device(device)?),
        }
    }

    /// Reads them; on a GPU this waits.
    ///
    /// # Errors
    /// What the device reports.
    pub(super) fn read(tensor: &Tensor) -> Result<Self> {
        match numbers(&[tensor])?[..] {
            [stop, time, save] => Ok(Self::from_flags([stop, time, save].map(|sum| sum > 0.0))),
            _ => Err(Error::config("wishes are three numbers")),
        }
    }

    pub(super) fn flags(self) -> [bool; 3] {
        [self.stop, self.time_is_up, self.save]
    }

    pub(super) fn from_flags([stop, time_is_up, save]: [bool; 3]) -> Self {
        Self {
            stop,
            time_is_up,
            save,
        }
    }
}
