//! The driver's functions, called as a program calls them.

use crate::skip::skip;
use libloading::os::unix::{Library, Symbol};
use std::ffi::{c_char, c_int, c_uint, c_void, CString};
use std::sync::Mutex;
use tch::Device;

/// A `CUresult`.
pub const SUCCESS: c_int = 0;
pub const INVALID_VALUE: c_int = 1;
pub const INVALID_DEVICE: c_int = 101;
pub const INVALID_IMAGE: c_int = 200;
pub const INVALID_CONTEXT: c_int = 201;
pub const INVALID_HANDLE: c_int = 400;
pub const NOT_FOUND: c_int = 500;
pub const ILLEGAL_ADDRESS: c_int = 700;

/// Twin: `EmulatedGpuCounts` in protocol.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub launches: u64,
    pub waits: u64,
    pub uploads: u64,
    pub downloads: u64,
}

impl Counts {
    fn since(self, before: Self) -> Self {
        Self {
            launches: self.launches - before.launches,
            waits: self.waits - before.waits,
            uploads: self.uploads - before.uploads,
            downloads: self.downloads - before.downloads,
        }
    }
}

/// The fatbin of nobody: what runs is found by its name.
#[repr(align(8))]
pub struct Image(pub [u8; 16]);

pub static IMAGE: Image = Image([0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/// A launch on the driver's own terms.
#[derive(Debug, Clone, Copy)]
pub struct Launch {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub stream: *mut c_void,
}

/// The driver's half of the emulated GPU.
pub struct Driver(Library);

macro_rules! calls {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty = $symbol:literal;)*) => {
        impl Driver {
            $(#[allow(clippy::too_many_arguments)] // cuLaunchKernel has them
              pub fn $name(&self, $($argument: $kind),*) -> $result {
                // SAFETY: the signature is that of cuda.h, or of protocol.h; tests pass pointers that live for the call.
                unsafe {
                    let call: Symbol<unsafe extern "C" fn($($kind),*) -> $result> = self.0.get($symbol).unwrap();
                    call($($argument),*)
                }
            })*
        }
    };
}

calls! {
    fn device_get(device: *mut c_int, index: c_int) -> c_int = b"cuDeviceGet\0";
    fn retain(context: *mut *mut c_void, device: c_int) -> c_int = b"cuDevicePrimaryCtxRetain\0";
    fn set_current(context: *mut c_void) -> c_int = b"cuCtxSetCurrent\0";
    fn synchronize() -> c_int = b"cuCtxSynchronize\0";
    fn load_data(module: *mut *mut c_void, image: *const c_void) -> c_int = b"cuModuleLoadData\0";
    fn unload(module: *mut c_void) -> c_int = b"cuModuleUnload\0";
    fn get_function(function: *mut *mut c_void, module: *mut c_void, name: *const c_char) -> c_int =
        b"cuModuleGetFunction\0";
    fn set_attribute(function: *mut c_void, attribute: c_int, value: c_int) -> c_int = b"cuFuncSetAttribute\0";
    fn get_attribute(value: *mut c_int, attribute: c_int, function: *mut c_void) -> c_int = b"cuFuncGetAttribute\0";
    fn occupancy(blocks: *mut c_int, function: *mut c_void, threads: c_int, shared: usize) -> c_int =
        b"cuOccupancyMaxActiveBlocksPerMultiprocessor\0";
    fn launch_kernel(
        function: *mut c_void, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint,
        block_z: c_uint, shared: c_uint, stream: *mut c_void, params: *mut *mut c_void, extra: *mut *mut c_void
    ) -> c_int = b"cuLaunchKernel\0";
    fn memset_async(to: u64, value: u8, bytes: usize, stream: *mut c_void) -> c_int = b"cuMemsetD8Async\0";
    fn upload(to: u64, from: *const c_void, bytes: usize) -> c_int = b"cuMemcpyHtoD_v2\0";
    fn download(to: *mut c_void, from: u64, bytes: usize) -> c_int = b"cuMemcpyDtoH_v2\0";
    fn memory(free: *mut usize, total: *mut usize) -> c_int = b"cuMemGetInfo_v2\0";
    fn event_create(event: *mut *mut c_void, flags: c_uint) -> c_int = b"cuEventCreate\0";
    fn event_record(event: *mut c_void, stream: *mut c_void) -> c_int = b"cuEventRecord\0";
    fn event_synchronize(event: *mut c_void) -> c_int = b"cuEventSynchronize\0";
    fn event_query(event: *mut c_void) -> c_int = b"cuEventQuery\0";
    fn event_elapsed(milliseconds: *mut f32, begin: *mut c_void, end: *mut c_void) -> c_int = b"cuEventElapsedTime\0";
    fn event_destroy(event: *mut c_void) -> c_int = b"cuEventDestroy_v2\0";
    fn wait_event(stream: *mut c_void, event: *mut c_void, flags: c_uint) -> c_int = b"cuStreamWaitEvent\0";
    fn stream_create(stream: *mut *mut c_void, flags: c_uint) -> c_int = b"cuStreamCreate\0";
    fn stream_destroy(stream: *mut c_void) -> c_int = b"cuStreamDestroy_v2\0";
    fn stream_synchronize(stream: *mut c_void) -> c_int = b"cuStreamSynchronize\0";
    fn counts_into(counts: *mut Counts) -> () = b"emulated_gpu_counts\0";
    fn current_device() -> c_int = b"emulated_gpu_current_device\0";
    fn stream(device: c_int, id: i64) -> *mut c_void = b"emulated_gpu_stream\0";
}

impl Driver {
    /// Makes the primary context of a device current on this thread.
    pub fn enter(&self, device: c_int) {
        let mut context = std::ptr::null_mut();
        assert_eq!(self.retain(&mut context, device), SUCCESS);
        assert_eq!(self.set_current(context), SUCCESS);
    }

    /// A function of a module that is loaded into the current context.
    pub fn function(&self, name: &str) -> Result<*mut c_void, c_int> {
        let (mut module, mut function) = (std::ptr::null_mut(), std::ptr::null_mut());
        assert_eq!(
            self.load_data(&mut module, IMAGE.0.as_ptr().cast()),
            SUCCESS
        );
        let name = CString::new(name).unwrap();
        match self.get_function(&mut function, module, name.as_ptr()) {
            SUCCESS => Ok(function),
            code => Err(code),
        }
    }

    pub fn launch<P>(&self, function: *mut c_void, launch: &Launch, params: &P) -> c_int {
        let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
        let mut params = [(&raw const *params).cast_mut().cast()];
        let (shared, stream, extra) = (launch.shared_bytes, launch.stream, std::ptr::null_mut());
        self.launch_kernel(
            function,
            gx,
            gy,
            gz,
            bx,
            by,
            bz,
            shared,
            stream,
            params.as_mut_ptr(),
            extra,
        )
    }

    /// What `work` adds to the counts. Others must not run at the same time.
    pub fn count(&self, work: impl FnOnce()) -> Counts {
        let (mut before, mut after) = (Counts::default(), Counts::default());
        self.counts_into(&mut before);
        work();
        self.counts_into(&mut after);
        after.since(before)
    }
}

/// The driver and the two devices, or a note that `test` is skipped. Tests take turns: counts and the guards of memory
/// are the process's.
pub fn emulated(test: &str) -> Option<(std::sync::MutexGuard<'static, ()>, Driver, [Device; 2])> {
    static TURNS: Mutex<()> = Mutex::new(());
    // SAFETY: libcuda's initialisers are those of the emulated GPU, or of the driver of the machine.
    let library = unsafe { Library::new("libcuda.so.1") };
    // SAFETY: the address is only looked at.
    let ours = |library: &Library| unsafe {
        library
            .get::<*const c_void>(b"emulated_gpu_counts\0")
            .is_ok()
    };
    match library {
        Ok(library) if ours(&library) => {
            inverse_flow::cuda::availability().unwrap();
            let turn = TURNS.lock().unwrap_or_else(|poison| poison.into_inner());
            Some((turn, Driver(library), [Device::Cuda(0), Device::Cuda(1)]))
        }
        _ => {
            skip(
                test,
                "is about the emulated GPU: scripts/emulated_gpu.sh cargo test --test emulated_gpu",
            );
            None
        }
    }
}

/// What an operator that must fail says.
pub fn refusal<T>(result: Result<T, tch::TchError>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(err) => err.to_string(),
    }
}
