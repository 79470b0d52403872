//! Which GPU a process takes.

use super::Place;
use crate::cuda;
use crate::words::counted;
use crate::{Error, Result};
use tch::Device;

impl Place {
    /// The GPU of this process: `cuda:LOCAL_RANK`.
    ///
    /// # Errors
    /// [`Error::Cuda`]: CUDA does not work here. [`Error::Config`]: `LOCAL_RANK` is not set, or the machine has more processes
    /// than GPUs.
    pub fn gpu(&self) -> Result<Device> {
        cuda::availability()?;
        let gpus = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        self.gpu_of(gpus).map(Device::Cuda)
    }

    fn gpu_of(&self, gpus: usize) -> Result<usize> {
        let Some(local_rank) = self.local_rank else {
            return Err(Error::config(
                "LOCAL_RANK is not set, which says whose GPU is whose: start with torchrun, which sets it, or set it to the number \
                 of this process among those of its machine, from 0",
            ));
        };
        // all of them say so, and not only those that go without
        let ranks = self.local_ranks.unwrap_or(0).max(local_rank + 1) as usize;
        match ranks > gpus {
            true => Err(Error::config(format!(
                "{} on a machine with {} (LOCAL_RANK={local_rank}): each takes a GPU of its own; start at most {gpus} there \
                 (torchrun --nproc-per-node {gpus}), and see CUDA_VISIBLE_DEVICES",
                counted(ranks, "process"),
                counted(gpus, "GPU"),
            ))),
            false => Ok(local_rank as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(local_rank: Option<u32>, local_ranks: Option<u32>) -> Place {
        let place = Place::read(|name| match name {
            "RANK" => Some("5".into()),
            "WORLD_SIZE" => Some("8".into()),
            "MASTER_ADDR" => Some("host".into()),
            "MASTER_PORT" => Some("29500".into()),
            "LOCAL_RANK" => local_rank.map(|rank| rank.to_string()),
            "LOCAL_WORLD_SIZE" => local_ranks.map(|ranks| ranks.to_string()),
            _ => None,
        });
        place.unwrap().unwrap()
    }

    #[test]
    fn each_process_of_a_machine_takes_its_own() {
        assert_eq!(place(Some(1), Some(4)).gpu_of(4).unwrap(), 1);
        assert_eq!(place(Some(1), None).gpu_of(2).unwrap(), 1);
    }

    #[test]
    fn more_processes_than_gpus_are_refused_with_both_numbers() {
        for (local_rank, local_ranks) in [(0, Some(4)), (3, Some(4)), (3, None)] {
            let err = place(Some(local_rank), local_ranks).gpu_of(2).unwrap_err();
            assert!(matches!(err, Error::Config(_)), "{err:?}");
            let text = err.to_string();
            assert!(
                text.contains("4 processes on a machine with 2 GPUs"),
                "{text}"
            );
            assert!(text.contains("--nproc-per-node 2"), "{text}");
        }
        let err = place(None, Some(4)).gpu_of(4).unwrap_err().to_string();
        assert!(err.contains("LOCAL_RANK is not set"), "{err}");
    }
}
