//! Compiles `kernels/*.cu` for the host and launches them with the very plans that a GPU gets.

pub mod memory;
pub mod twin;

use std::ffi::{c_char, c_int, c_void, CStr};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use inverse_flow::cuda::baseline;
use inverse_flow::cuda::launch::{
    apply_plan, solve_plans, weight_grad_plan, Launch, SolveLimits, SolvePlan,
};
use inverse_flow::ops::{Corner, Geometry};
use libloading::{Library, Symbol};
use tch::{Device, Kind, Tensor};

/// Twin: `cuda_on_host::Config`.
#[repr(C)]
pub struct Config {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    /// 0: ascending, 1: descending, else the seed of shuffles.
    pub order: u32,
    /// Blocks that run in turns.
    pub resident: u32,
}

type Launcher = unsafe extern "C" fn(
    kernel: *const c_void,
    params: *const c_void,
    config: *const Config,
    message: *mut c_char,
    length: usize,
) -> c_int;

/// The kernels, compiled once for all tests of the process and loaded once for each core: one copy is one device, which
/// runs one grid at a time.
fn devices() -> &'static [Mutex<Library>] {
    static DEVICES: OnceLock<Vec<Mutex<Library>>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/host_cuda/runner.cpp");
        let object = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("kernels_on_host_{}.so", std::process::id()));
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let output = Command::new(&compiler)
            .args([
                "-std=c++17",
                "-O2",
                "-shared",
                "-fPIC",
                "-Wall",
                "-Wextra",
                "-Werror",
                // every copy keeps to its own variables
                "-Wl,-Bsymbolic",
            ])
            .arg("-Wno-unknown-pragmas")
            .arg(&source)
            .arg("-o")
            .arg(&object)
            .output()
            .unwrap_or_else(|err| panic!("{compiler:?} (set CXX to a C++17 compiler): {err}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{compiler:?}: {errors}");
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let load = |index: usize| {
            // the same file would be loaded once
            let copy = object.with_extension(format!("{index}.so"));
            std::fs::copy(&object, &copy).unwrap();
            // SAFETY: the object was just built from this repository's sources; it has no initialisers with side effects.
            let library = unsafe { Library::new(&copy) }.expect("the object that was just built");
            std::fs::remove_file(&copy).unwrap(); // stays mapped
            Mutex::new(library)
        };
        let devices = (0..count.min(8)).map(load).collect();
        std::fs::remove_file(&object).unwrap();
        devices
    })
}

/// A device that nobody uses, or else the first one when it is free.
fn device() -> MutexGuard<'static, Library> {
    let free = devices().iter().find_map(|device| device.try_lock().ok());
    // a test that failed with a device leaves nothing in it
    free.unwrap_or_else(|| {
        let first = devices()[0].lock();
        first.unwrap_or_else(PoisonError::into_inner)
    })
}

/// Runs `kernel` through the launcher for its parameter struct.
///
/// # Safety
/// `params` must be the twin of the struct that `launcher` takes, with pointers valid for what the kernel does.
pub unsafe fn launch<P>(
    launcher: &str,
    kernel: &str,
    params: &P,
    config: &Config,
) -> Result<(), String> {
    let device = device();
    // SAFETY: both names are functions of the library, with the signature of `LAUNCH` in runner.cpp; the kernel's
    // address is only passed on.
    let (run, kernel): (Symbol<Launcher>, Symbol<*const c_void>) = unsafe {
        (
            device.get(launcher.as_bytes()).expect(launcher),
            device.get(kernel.as_bytes()).expect(kernel),
        )
    };
    let mut message = [0; 256];
    // SAFETY: the caller vouches for `params`; the message is written with its length as the limit, and terminated.
    let (code, message) = unsafe {
        let params = std::ptr::from_ref(params).cast();
        let code = run(*kernel, params, config, message.as_mut_ptr(), message.len());
        (code, CStr::from_ptr(message.as_ptr()))
    };
    match code {
        0 => Ok(()),
        _ => Err(message.to_string_lossy().into_owned()),
    }
}

/// How a launch is run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// See [`Config::order`].
    pub order: u32,
    /// See [`Config::resident`].
    pub resident: u32,
    /// Solve and convolve with as few threads as can be, so that every loop over a block's items goes round.
    pub few_threads: bool,
}

impl Run {
    /// Ascending order, one block after the other, the plan's own grid.
    pub const PLAIN: Self = Self {
        order: 0,
        resident: 1,
        few_threads: false,
    };

    fn config(&self, launch: &Launch) -> Config {
        Config {
            grid: launch.grid,
            block: launch.block,
            shared_bytes: launch.shared_bytes,
            order: self.order,
            resident: self.resident,
        }
    }

    /// The configuration of a launch whose result must not depend on the number of threads, of which it needs `least`.
    fn config_of_any_threads(&self, launch: &Launch, least: i64) -> Config {
        let mut config = self.config(launch);
        if self.few_threads {
            config.block[0] = (least as u32).div_ceil(32) * 32;
        }
        config
    }
}

/// A contiguous tensor in the middle of a buffer of NaN, so that a read beyond it spoils the result and a write beyond
/// it is seen.
struct Framed {
    buffer: Tensor,
    size: Vec<i64>,
}

impl Framed {
    /// Elements of the buffer before the tensor, and after it.
    const FRAME: i64 = 1024;

    /// An output that no kernel has written yet.
    fn unwritten(size: &[i64], like: &Tensor) -> Self {
        let elements: i64 = size.iter().product();
        let options = (like.kind(), like.device());
        Self {
            buffer: Tensor::full([elements + 2 * Self::FRAME], f64::NAN, options),
            size: size.to_vec(),
        }
    }

    /// A copy of an input.
    fn of(x: &Tensor) -> Self {
        let framed = Self::unwritten(&x.size(), x);
        framed.tensor().copy_(x);
        framed
    }

    fn tensor(&self) -> Tensor {
        let elements = self.size.iter().product();
        self.buffer
            .narrow(0, Self::FRAME, elements)
            .view(self.size.as_slice())
    }

    /// Address of the first element.
    fn address(&self) -> u64 {
        let bytes = Self::FRAME as usize * self.buffer.kind().elt_size_in_bytes();
        (self.buffer.data_ptr() as usize + bytes) as u64
    }

    /// The tensor, after a launch that must not have written beyond it.
    fn written(&self) -> Tensor {
        let elements: i64 = self.size.iter().product();
        for start in [0, Self::FRAME + elements] {
            let frame = self.buffer.narrow(0, start, Self::FRAME).isnan().all();
            assert_eq!(frame.int64_value(&[]), 1, "a write beyond the output");
        }
        self.tensor()
    }
}

/// The word of a device about filters without an inverse, and what a solve must leave in it.
struct Word {
    word: Tensor,
    expected: i64,
}

impl Word {
    fn before_a_solve(geometry: &Geometry, weight: &Tensor, corners: &[Corner]) -> Self {
        let group = geometry.group_channels();
        let diagonal = |channel: &i64| {
            let corner = corners[(channel / group) as usize];
            let (row, column) = corner.anchor_index(geometry.kernel);
            weight.double_value(&[*channel, channel % group, row, column])
        };
        let zero = (0..geometry.channels).find(|channel| diagonal(channel) == 0.0);
        Self {
            word: Tensor::zeros([1], (Kind::Int, Device::Cpu)),
            expected: zero.map_or(0, |channel| i64::from(i32::MAX) - channel),
        }
    }

    fn address(&self) -> u64 {
        self.word.data_ptr() as u64
    }

    /// After a launch that must have reported the lowest channel with a zero, or none.
    fn check(&self, what: &dyn std::fmt::Debug) {
        assert_eq!(self.word.int64_value(&[0]), self.expected, "{what:?}");
    }
}

/// The kernels' counterparts of `reference::solve`: the result of every plan within the limits, the best plan first.
pub fn solve(
    y: &Tensor,
    weight: &Tensor,
    corners: &[Corner],
    adjoint: bool,
    limits: &SolveLimits,
    run: Run,
) -> Vec<(SolvePlan, Tensor)> {
    let geometry = Geometry::check("test", y, weight, corners).unwrap();
    let plans = solve_plans(&geometry, y.kind(), corners, adjoint, limits).unwrap();
    let reported = || Word::before_a_solve(&geometry, weight, corners);
    let (y, weight) = (Framed::of(y), Framed::of(weight));
    let solve = |mut plan: SolvePlan| {
        let x = Framed::unwritten(&geometry.image_size(), &y.buffer);
        let progress = Tensor::zeros([plan.progress_words as i64], (Kind::Int, Device::Cpu));
        plan.params.y = y.address();
        plan.params.weight = weight.address();
        plan.params.x = x.address();
        plan.params.progress = progress.data_ptr() as u64;
        if !plan.launch.is_empty() {
            let word = reported();
            plan.params.singular = word.address();
            let config = run.config_of_any_threads(&plan.launch, plan.row_threads);
            // SAFETY: the tensors are contiguous, of the plan's sizes and dtype, and outlive the call.
            unsafe { launch("launch_solve", plan.launch.kernel, &plan.params, &config) }
                .unwrap_or_else(|problem| panic!("{problem}: {plan:?}"));
            word.check(&plan);
        }
        (plan, x.written())
    };
    plans.into_iter().map(solve).collect()
}

/// The published scheme: `cuda::baseline::solve`, launch by launch.
pub fn baseline(y: &Tensor, weight: &Tensor, corner: Corner, run: Run) -> Tensor {
    let geometry = Geometry::check("test", y, weight, &[corner]).unwrap();
    let x = Framed::unwritten(&y.size(), y);
    let word = Word::before_a_solve(&geometry, weight, &[corner]);
    let (y, weight) = (Framed::of(y), Framed::of(weight));
    let launches = baseline::launches(&geometry, weight.buffer.kind(), &[corner]).unwrap();
    let runs = !launches.is_empty();
    for (kernel, mut params) in launches {
        (params.y, params.weight, params.x) = (y.address(), weight.address(), x.address());
        params.singular = word.address();
        // SAFETY: as in `solve`.
        unsafe {
            launch(
                "launch_baseline",
                kernel.kernel,
                &params,
                &run.config(&kernel),
            )
        }
        .unwrap_or_else(|problem| panic!("{problem}: {params:?}"));
    }
    if runs {
        word.check(&geometry);
    }
    x.written()
}

/// The kernels' counterpart of `reference::conv`.
pub fn conv(x: &Tensor, weight: &Tensor, corners: &[Corner], adjoint: bool, run: Run) -> Tensor {
    let geometry = Geometry::check("test", x, weight, corners).unwrap();
    let mut plan = apply_plan(&geometry, x.kind(), corners, adjoint).unwrap();
    let y = Framed::unwritten(&x.size(), x);
    let (x, weight) = (Framed::of(x), Framed::of(weight));
    plan.params.x = x.address();
    plan.params.weight = weight.address();
    plan.params.y = y.address();
    if !plan.launch.is_empty() {
        let config = run.config(&plan.launch);
        // SAFETY: as in `solve`.
        unsafe { launch("launch_apply", plan.launch.kernel, &plan.params, &config) }
            .unwrap_or_else(|problem| panic!("{problem}: {plan:?}"));
    }
    y.written()
}

/// The kernels' counterpart of `reference::weight_grad`.
pub fn weight_grad(
    x: &Tensor,
    u: &Tensor,
    kernel: i64,
    corners: &[Corner],
    shared_limit: usize,
    run: Run,
) -> Tensor {
    let geometry = Geometry::check_weight_grad("test", x, u, kernel, corners).unwrap();
    let mut plan = weight_grad_plan(&geometry, x.kind(), corners, shared_limit).unwrap();
    let partials = Framed::unwritten(&[plan.workspace_elements as i64], x);
    let grad = Framed::unwritten(&geometry.weight_size(), x);
    let (x, u) = (Framed::of(x), Framed::of(u));
    plan.params.x = x.address();
    plan.params.u = u.address();
    plan.params.partials = partials.address();
    plan.params.grad = grad.address();
    for stage in [&plan.partial, &plan.sum] {
        if !stage.is_empty() {
            // SAFETY: as in `solve`; the workspace has the size that the plan asks for.
            unsafe {
                launch(
                    "launch_weight_grad",
                    stage.kernel,
                    &plan.params,
                    &run.config(stage),
                )
            }
            .unwrap_or_else(|problem| panic!("{problem}: {plan:?}"));
        }
    }
    let _ = partials.written();
    grad.written()
}
