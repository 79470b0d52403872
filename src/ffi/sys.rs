//! Declarations of `bridge.h`, in its order; ownership rules are written there.

use std::ffi::{c_char, c_int, c_void};
use torch_sys::C_tensor;

/// `ivf_tensor`: `at::Tensor*`, the very handle that tch wraps.
pub type Handle = *mut C_tensor;
/// `ivf_members_join` and `ivf_nccl_join`.
pub type MembersJoin = unsafe extern "C" fn(
    store: *mut c_void,
    rank: c_int,
    ranks: c_int,
    timeout_ms: i64,
    out: *mut *mut c_void,
    error: *mut *mut c_char,
) -> c_int;

#[repr(C)]
pub struct Sink {
    pub list: *mut c_void,
    pub push: unsafe extern "C" fn(list: *mut c_void, tensor: Handle),
}

#[repr(C)]
pub struct Function {
    pub state: *mut c_void,
    #[allow(clippy::type_complexity)] // mirrors the C declaration word for word
    pub forward: unsafe extern "C" fn(
        *mut c_void,
        *const Handle,
        usize,
        Sink,
        Sink,
        *mut *mut c_char,
    ) -> c_int,
    #[allow(clippy::type_complexity)]
    pub backward: unsafe extern "C" fn(
        *mut c_void,
        *const Handle,
        usize,
        *const Handle,
        usize,
        *const u8,
        usize,
        Sink,
        *mut *mut c_char,
    ) -> c_int,
    pub drop: unsafe extern "C" fn(*mut c_void),
}

#[repr(C)]
pub struct Adam {
    pub params: *const Handle,
    pub grads: *const Handle,
    pub exp_avg: *const Handle,
    pub exp_avg_sq: *const Handle,
    pub max_exp_avg_sq: *const Handle,
    pub n: usize,
    pub step: Handle,
    pub grad_scale: Handle,
    pub skip: Handle,
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub eps: f64,
}

#[repr(C)]
pub struct TorchScriptModule {
    pub path: *const c_char,
    pub class_name: *const c_char,
    pub source: *const c_char,
}

#[repr(C)]
pub struct TorchScriptConstant {
    pub module: *const c_char,
    pub name: *const c_char,
    pub kind: *const c_char,
    pub value: *const c_char,
}

#[repr(C)]
pub struct TorchScriptTensor {
    pub name: *const c_char,
    pub tensor: Handle,
    pub is_parameter: c_int,
}

#[repr(C)]
pub struct TorchScript {
    pub functions: *const c_char,
    pub modules: *const TorchScriptModule,
    pub n_modules: usize,
    pub constants: *const TorchScriptConstant,
    pub n_constants: usize,
    pub tensors: *const TorchScriptTensor,
    pub n_tensors: usize,
    pub extra_name: *const c_char,
    pub extra: *const c_char,
}

extern "C" {
    pub fn ivf_apply(
        function: Function,
        inputs: *const Handle,
        n_inputs: usize,
        outputs: Sink,
        error: *mut *mut c_char,
    ) -> c_int;

    pub fn ivf_call_op(
        op: c_int,
        a: Handle,
        b: Handle,
        corners: *const u8,
        n_corners: usize,
        out: *mut Handle,
        error: *mut *mut c_char,
    ) -> c_int;

    pub fn ivf_conv2d_backward(
        grad: Handle,
        x: Handle,
        weight: Handle,
        padding: i64,
        needs: *const u8,
        grads: *mut Handle,
        error: *mut *mut c_char,
    ) -> c_int;

    pub fn ivf_built_for() -> *const c_char;
    pub fn ivf_current_cuda_stream(
        index: c_int,
        stream: *mut *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;

    pub fn ivf_set_tf32(allowed: c_int, error: *mut *mut c_char) -> c_int;
    pub fn ivf_set_tf32_convolutions(allowed: c_int, error: *mut *mut c_char) -> c_int;
    pub fn ivf_tf32(
        convolutions: *mut c_int,
        products: *mut c_int,
        error: *mut *mut c_char,
    ) -> c_int;

    #[cfg(feature = "program")]
    pub fn ivf_device_peak(index: c_int, bytes: *mut u64, error: *mut *mut c_char) -> c_int;
    #[cfg(feature = "program")]
    pub fn ivf_device_reset_peak(index: c_int, error: *mut *mut c_char) -> c_int;

    pub fn ivf_pinned(tensor: Handle, out: *mut Handle, error: *mut *mut c_char) -> c_int;
    pub fn ivf_upload(
        tensor: Handle,
        index: c_int,
        out: *mut Handle,
        error: *mut *mut c_char,
    ) -> c_int;

    pub fn ivf_grad_enabled() -> c_int;
    #[cfg(feature = "program")]
    pub fn ivf_on_terminate(end: unsafe extern "C" fn(what: *const c_char, memory: c_int));
    #[cfg(feature = "program")]
    pub fn ivf_set_stack_of_threads(bytes: usize);
    pub fn ivf_parallel_for(
        jobs: i64,
        run: unsafe extern "C" fn(context: *mut c_void, begin: i64, end: i64),
        context: *mut c_void,
    );

    pub fn ivf_threads_here(threads: c_int);

    #[cfg(feature = "program")]
    pub fn ivf_empty_region(threads: c_int);

    #[cfg(feature = "program")]
    pub fn ivf_processors() -> c_int;

    pub fn ivf_global_norm(
        tensors: *const Handle,
        n: usize,
        out: *mut Handle,
        error: *mut *mut c_char,
    ) -> c_int;

    pub fn ivf_clamp_all(
        tensors: *const Handle,
        n: usize,
        limit: f64,
        out: *mut Handle,
        error: *mut *mut c_char,
    ) -> c_int;

    pub fn ivf_lerp_all(
        tensors: *const Handle,
        ends: *const Handle,
        n: usize,
        weight: Handle,
        error: *mut *mut c_char,
    ) -> c_int;

    pub fn ivf_fused_adam(adam: *const Adam, error: *mut *mut c_char) -> c_int;

    pub fn ivf_torchscript_save(
        script: *const TorchScript,
        sink: *mut c_void,
        write: unsafe extern "C" fn(sink: *mut c_void, bytes: *const u8, n: usize),
        error: *mut *mut c_char,
    ) -> c_int;

    pub fn ivf_store_open(
        host: *const c_char,
        port: u16,
        serve: c_int,
        prefix: *const c_char,
        timeout_ms: i64,
        out: *mut *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;
    pub fn ivf_store_close(store: *mut c_void);
    pub fn ivf_store_set(
        store: *mut c_void,
        key: *const c_char,
        value: *const u8,
        n: usize,
        error: *mut *mut c_char,
    ) -> c_int;
    pub fn ivf_store_count(
        store: *mut c_void,
        key: *const c_char,
        count: *mut i64,
        error: *mut *mut c_char,
    ) -> c_int;
    pub fn ivf_store_get(
        store: *mut c_void,
        key: *const c_char,
        timeout_ms: i64,
        there: *mut c_int,
        sink: *mut c_void,
        write: unsafe extern "C" fn(sink: *mut c_void, bytes: *const u8, n: usize),
        error: *mut *mut c_char,
    ) -> c_int;

    pub fn ivf_members_join(
        store: *mut c_void,
        rank: c_int,
        ranks: c_int,
        timeout_ms: i64,
        out: *mut *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;
    pub fn ivf_members_connect(
        members: *mut c_void,
        device: c_int,
        error: *mut *mut c_char,
    ) -> c_int;
    pub fn ivf_members_abort(members: *mut c_void);
    pub fn ivf_members_leave(members: *mut c_void, aborted: c_int);
    pub fn ivf_members_sum(members: *mut c_void, tensor: Handle, error: *mut *mut c_char) -> c_int;
    pub fn ivf_members_broadcast(
        members: *mut c_void,
        tensor: Handle,
        error: *mut *mut c_char,
    ) -> c_int;
    pub fn ivf_members_barrier(members: *mut c_void, error: *mut *mut c_char) -> c_int;
}
