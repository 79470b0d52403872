//! What carries a tensor to the other processes: Gloo from a CPU; from a GPU NCCL, or Gloo by way of the CPU.

use super::Place;
use crate::cuda::libtorch;
use crate::ffi::group::{Members, Store};
use crate::ffi::nccl;
use crate::words;
use crate::{Error, Result};
use std::time::Duration;
use tch::{Device, Tensor};

/// What carries tensors of GPUs: `nccl`, or `gloo` by way of the CPU.
const SETTING: &str = "INVERSE_FLOW_GPU_EXCHANGE";

/// The way of the tensors of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Cpu,
    /// From GPU to GPU.
    Nccl(usize),
    /// From a GPU to the CPU, from CPU to CPU, and back.
    Staged(usize),
}

impl Route {
    /// In the order of [`number`](Self::number).
    pub(super) const NAMES: [&'static str; 3] =
        ["on the CPU", "over NCCL", "over Gloo by way of the CPU"];

    /// The route from `device`, where everything is there that this process needs for it.
    pub(super) fn of(device: Device) -> Result<Self> {
        let Device::Cuda(index) = device else {
            return Ok(Self::Cpu);
        };
        libtorch::load()?;
        let setting = std::env::var_os(SETTING).unwrap_or_default();
        match setting.to_string_lossy().as_ref() {
            "" | "nccl" => nccl::join()
                .map(|_| Self::Nccl(index))
                .map_err(|err| match err {
                    Error::Cuda(problem) => Error::Cuda(format!(
                        "{problem}. {SETTING}=gloo does without NCCL, and is slower"
                    )),
                    other => other,
                }),
            "gloo" => Ok(Self::Staged(index)),
            other => Err(Error::config(format!(
                "{SETTING}={other}: choose nccl or gloo"
            ))),
        }
    }

    pub(super) fn number(self) -> usize {
        match self {
            Self::Cpu => 0,
            Self::Nccl(_) => 1,
            Self::Staged(_) => 2,
        }
    }
}

/// The connections of this process.
#[derive(Debug)]
pub(super) struct Links {
    cpu: Members,
    gpu: Gpu,
}

#[derive(Debug)]
enum Gpu {
    None,
    Nccl(usize, Members),
    Staged(usize),
}

impl Links {
    pub(super) fn new(cpu: Members) -> Self {
        let gpu = Gpu::None;
        Self { cpu, gpu }
    }

    /// Adds what `route` needs. All processes do so.
    pub(super) fn add(
        &mut self,
        route: Route,
        place: &Place,
        store: &Store,
        timeout: Duration,
    ) -> Result<()> {
        self.gpu = match route {
            Route::Cpu => Gpu::None,
            Route::Staged(index) => Gpu::Staged(index),
            Route::Nccl(index) => {
                let members = Members::join_gpus(store, place.rank, place.ranks, index, timeout)?;
                Gpu::Nccl(index, members)
            }
        };
        Ok(())
    }

    /// Why a tensor of `device` cannot be carried.
    pub(super) fn problem(&self, device: Device) -> Option<String> {
        match (&self.gpu, device) {
            (_, Device::Cpu) => None,
            (Gpu::Nccl(index, _) | Gpu::Staged(index), Device::Cuda(other)) if *index == other => {
                None
            }
            (Gpu::Nccl(index, _) | Gpu::Staged(index), _) => Some(format!(
                "is on {}: this process exchanges tensors of the CPU and of cuda:{index}",
                words::device(device)
            )),
            (Gpu::None, _) => Some(format!(
                "is on {}: call `Group::connect` with this device first, or move it to the CPU",
                words::device(device)
            )),
        }
    }

    /// What carries tensors of `device`, for reports.
    pub(super) fn name(&self, device: Device) -> &'static str {
        match (&self.gpu, device) {
            (Gpu::Nccl(..), Device::Cuda(_)) => "nccl",
            (Gpu::Staged(_), Device::Cuda(_)) => "gloo by way of the CPU",
            _ => "gloo",
        }
    }

    pub(super) fn sum(&mut self, tensor: &Tensor) -> Result<()> {
        self.carry(tensor, Members::sum)
    }

    pub(super) fn broadcast(&mut self, tensor: &Tensor) -> Result<()> {
        self.carry(tensor, Members::broadcast)
    }

    /// Waits for the other processes, and not for their GPUs.
    pub(super) fn barrier(&mut self) -> Result<()> {
        self.cpu.barrier()
    }

    fn carry(
        &mut self,
        tensor: &Tensor,
        exchange: fn(&mut Members, &Tensor) -> Result<()>,
    ) -> Result<()> {
        match &mut self.gpu {
            _ if tensor.device() == Device::Cpu => exchange(&mut self.cpu, tensor),
            Gpu::Nccl(_, members) => {
                // NCCL does not notice a process that is gone, and a GPU waits for it for ever. So the processes meet here
                // first, as they do on a CPU; their GPUs need not be ready
                self.cpu.barrier()?;
                exchange(members, tensor)
            }
            Gpu::Staged(_) | Gpu::None => {
                let staged = tensor.f_to_device(Device::Cpu)?.f_detach()?;
                exchange(&mut self.cpu, &staged)?;
                // shares its count of changes with the tensor
                tensor.f_detach()?.f_copy_(&staged)?;
                Ok(())
            }
        }
    }

    /// Before they are dropped, if a call has failed.
    pub(super) fn abort(&mut self) {
        if let Gpu::Nccl(_, members) = &mut self.gpu {
            members.abort();
        }
    }
}
