//! Where to compute, as flags.

use super::{neighbours, values};
use crate::ffi::limits::use_threads;
use crate::train::{DeviceChoice, Team};
use crate::Result;
use clap::Args;
use tch::Device;

/// Where and with how many threads to compute.
#[derive(Debug, Args)]
pub struct Compute {
    /// auto, cpu, cuda or cuda:I [default: auto]
    #[arg(long, value_name = "DEVICE", value_parser = values::device(), hide_possible_values = true)]
    pub device: Option<DeviceChoice>,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub threads: Option<i32>,
}

impl Compute {
    /// Sets the number of threads of this process, and starts them: of those that libtorch would take, as many as the system gives
    /// processors to, which in a container may be fewer than the machine has. And sees to it that they do not keep them from
    /// others.
    ///
    /// # Errors
    /// The system does not allow so many.
    pub fn apply_threads(&self) -> Result<()> {
        let given = self.threads.or_else(|| {
            let most = std::thread::available_parallelism().ok()?.get();
            let most = i32::try_from(most).ok()?;
            let is_set = std::env::var_os("OMP_NUM_THREADS").is_some();
            (!is_set && most < tch::get_num_threads()).then_some(most)
        });
        use_threads(given)?;
        neighbours::watch();
        Ok(())
    }

    /// Sets the threads and picks the device; a choice left to the program is reported on standard error.
    pub fn start(&self) -> Result<Device> {
        self.start_in(&Team::alone())
    }

    /// [`start`](Self::start) for several processes, of which rank 0 reports.
    pub fn start_in(&self, team: &Team) -> Result<Device> {
        self.apply_threads()?;
        let picked = team.pick(self.device.unwrap_or(DeviceChoice::Auto))?;
        let open = |choice| choice == DeviceChoice::Auto;
        if team.is_main() && self.device.is_none_or(open) {
            eprintln!("device: {}", picked.text);
        }
        Ok(picked.device)
    }
}
