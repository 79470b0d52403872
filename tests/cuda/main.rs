//! The CUDA kernels: run block by block on the host, and on a GPU where there is one (tests called `cuda_*`).

#[path = "../common/device.rs"]
mod device;
#[path = "../common/gpu.rs"]
mod gpu;
#[path = "../common/ops_cases.rs"]
mod ops_cases;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/random.rs"]
mod random;
#[path = "../common/skip.rs"]
mod skip;
#[path = "../common/small_operators.rs"]
mod small_operators;

mod guard;
mod host_cuda;
mod host_faults;

mod actnorm_on_host;
mod batch_on_host;
mod channels_on_host;
mod coupling_on_host;
mod filter_on_host;

mod kernels_on_host;
mod launched;
mod parity;
mod precision;
mod resources;
mod sides_on_host;
mod small_on_host;
mod spline_on_host;
mod verdict_on_host;
mod zeros_on_host;
