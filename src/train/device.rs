//! Which device a command runs on.

use crate::distributed::Place;
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;
use tch::Device;

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if CUDA works, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// One CUDA device.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let index = |digits: &str| digits.parse().ok().map(Self::Cuda);
        match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(index),
        }
        .ok_or_else(|| {
            Error::config(format!(
                "unknown device `{text}`: choose auto, cpu, cuda or cuda:0, cuda:1, ..."
            ))
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// A device, and why it was taken if the user left that open.
#[derive(Debug, Clone)]
pub struct Picked {
    /// Where tensors live.
    pub device: Device,
    /// Name of the device with the reason for it, for the user.
    pub text: String,
}

impl DeviceChoice {
    /// The device to use. An explicit wish is never replaced by another device.
    ///
    /// # Errors
    /// A CUDA device that does not work, with the cause.
    pub fn pick(self) -> Result<Picked> {
        let cuda = |index: usize| {
            crate::cuda::availability()?;
            let count = tch::Cuda::device_count();
            if index as i64 >= count {
                let problem = format!("no device cuda:{index}, there are {count}");
                return Err(Error::Cuda(problem));
            }
            Ok(Device::Cuda(index))
        };
        match self {
            Self::Cpu => Ok(Picked {
                device: Device::Cpu,
                text: "cpu".into(),
            }),
            Self::Cuda(index) => Ok(Picked {
                device: cuda(index)?,
                text: self.to_string(),
            }),
            Self::Auto => Ok(match cuda(0) {
                Ok(device) => Picked {
                    device,
                    text: "cuda:0 (auto)".into(),
                },
                Err(cause) => Picked {
                    device: Device::Cpu,
                    text: format!("cpu (auto; {cause})"),
                },
            }),
        }
    }

    /// [`pick`](Self::pick) for a process of several: `auto` and `cuda` take the GPU that is its own.
    ///
    /// # Errors
    /// As `pick`; also a number of a device, and what [`Place::gpu`] finds.
    pub fn pick_in(self, place: &Place) -> Result<Picked> {
        if let Self::Cuda(index @ 1..) = self {
            return Err(Error::config(format!(
                "--device cuda:{index} is one GPU for {} processes: write `cuda`, and each takes cuda:LOCAL_RANK",
                place.ranks
            )));
        }
        let picked = self.pick()?;
        if picked.device == Device::Cpu {
            return Ok(picked);
        }
        let device = place.gpu()?;
        let text = format!(
            "cuda:LOCAL_RANK in each of {} processes ({self})",
            place.ranks
        );
        Ok(Picked { device, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written_alike() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!(
            "cuda".parse::<DeviceChoice>().unwrap(),
            DeviceChoice::Cuda(0)
        );
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }
}
