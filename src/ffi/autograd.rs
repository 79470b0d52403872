//! Custom autograd functions: the unsafe half of [`crate::autograd`].

use super::status::{callback, checked};
use super::sys::{self, Handle, Sink};
use crate::Result;
use std::ffi::{c_char, c_int, c_void};
use tch::Tensor;

/// A differentiable function whose forward and backward are Rust.
///
/// `self` is what the two share besides tensors (sizes, options); tensors that the backward needs go through
/// [`Saved`], so that torch can check versions and free them. Backward may run on one of torch's own threads, and an
/// error or a panic there comes out of the call of `backward` as an error.
pub trait CustomFn: Send + Sync + 'static {
    /// Outputs from inputs. Runs without recording; whatever `backward` needs is kept with [`Saved::save`].
    ///
    /// # Errors
    /// Any error; it is returned by [`apply`].
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>>;

    /// Gradients of the inputs, one entry per input, from those of the outputs.
    ///
    /// `grads[i]` is `None` where the loss does not depend on output `i`; `needs[j]` says whether the gradient of
    /// input `j` is wanted, and `None` may be returned where it is not, or where it is zero. Under
    /// `create_graph` torch records what this function does, so that a backward made of differentiable operations
    /// can be differentiated again.
    ///
    /// # Errors
    /// Any error; it comes out of the call that started the backward pass.
    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>>;
}

/// Collects the tensors that the backward pass needs: inputs, outputs, or others.
#[derive(Debug, Default)]
pub struct Saved(Vec<Tensor>);

impl Saved {
    /// Keeps `tensor` for the backward pass, which sees the saved tensors in this order.
    pub fn save(&mut self, tensor: &Tensor) {
        self.0.push(tensor.shallow_clone());
    }
}

/// Runs `function` on `inputs` and records it in torch's autograd graph.
///
/// # Errors
/// Whatever `function.forward` returns.
pub fn apply<F: CustomFn>(function: F, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let handles: Vec<Handle> = inputs.iter().map(|t| t.as_ptr().cast_mut()).collect();
    let mut outputs: Vec<Tensor> = Vec::new();
    let function = sys::Function {
        state: Box::into_raw(Box::new(function)).cast(),
        forward: forward::<F>,
        backward: backward::<F>,
        drop: drop_state::<F>,
    };
    let sink = Sink {
        list: (&raw mut outputs).cast(),
        push: push_into_vec,
    };
    checked(|error| {
        // SAFETY: the handles are those of borrowed tensors that outlive the call; C++ takes over the state and frees it
        // through `drop_state`; the sink's list outlives the call and is what `push_into_vec` expects.
        unsafe { sys::ivf_apply(function, handles.as_ptr(), handles.len(), sink, error) }
    })?;
    Ok(outputs)
}

/// Hands a tensor to a list on the C++ side.
fn push(sink: &Sink, tensor: &Tensor) {
    // tch gives up its handle only by reference, so a second one is made for C++ to own
    // SAFETY: `at_shallow_clone` returns a new handle, and `push` of a sink takes ownership of it.
    unsafe {
        (sink.push)(
            sink.list,
            torch_sys::at_shallow_clone(tensor.as_ptr().cast_mut()),
        )
    }
}

fn push_undefined(sink: &Sink) {
    // SAFETY: NULL stands for an undefined tensor.
    unsafe { (sink.push)(sink.list, std::ptr::null_mut()) }
}

unsafe extern "C" fn push_into_vec(list: *mut c_void, tensor: Handle) {
    let tensor = if tensor.is_null() {
        Tensor::new() // undefined, as `forward` has made it
    } else {
        // SAFETY: the handle is new and ours.
        unsafe { Tensor::from_ptr(tensor) }
    };
    // SAFETY: `list` is the `Vec<Tensor>` of `apply`, whose call this is in.
    unsafe { (*list.cast::<Vec<Tensor>>()).push(tensor) }
}

/// New tch handles for borrowed ones.
///
/// # Safety
/// `handles` must point to `n` handles, each NULL or of a live tensor.
unsafe fn tensors(handles: *const Handle, n: usize) -> Vec<Option<Tensor>> {
    if n == 0 {
        return Vec::new(); // an empty C++ vector may have a null pointer
    }
    // SAFETY: the caller's promise.
    let handles = unsafe { std::slice::from_raw_parts(handles, n) };
    // SAFETY: likewise; `clone_from_ptr` leaves the borrowed handle alone.
    handles
        .iter()
        .map(|&h| (!h.is_null()).then(|| unsafe { Tensor::clone_from_ptr(h) }))
        .collect()
}

fn defined(tensors: Vec<Option<Tensor>>, what: &str) -> Result<Vec<Tensor>> {
    let all: Option<Vec<Tensor>> = tensors.into_iter().collect();
    all.ok_or_else(|| crate::Error::Torch(format!("a custom function got an undefined {what}")))
}

unsafe extern "C" fn forward<F: CustomFn>(
    state: *mut c_void,
    inputs: *const Handle,
    n_inputs: usize,
    outputs: Sink,
    saved: Sink,
    error: *mut *mut c_char,
) -> c_int {
    // SAFETY: bridge.h: `state` is the box of `apply`, alive until `drop_state`; the handles are borrowed for the call.
    unsafe {
        callback(error, || {
            let inputs = defined(tensors(inputs, n_inputs), "input")?;
            let mut kept = Saved::default();
            let made = (*state.cast::<F>()).forward(&mut kept, &inputs)?;
            made.iter().for_each(|tensor| push(&outputs, tensor));
            kept.0.iter().for_each(|tensor| push(&saved, tensor));
            Ok(())
        })
    }
}

#[allow(clippy::too_many_arguments)] // the C signature
unsafe extern "C" fn backward<F: CustomFn>(
    state: *mut c_void,
    saved: *const Handle,
    n_saved: usize,
    grads: *const Handle,
    n_grads: usize,
    needs: *const u8,
    n_inputs: usize,
    input_grads: Sink,
    error: *mut *mut c_char,
) -> c_int {
    // SAFETY: as `forward`; `needs` points to `n_inputs` bytes.
    unsafe {
        callback(error, || {
            let saved = defined(tensors(saved, n_saved), "saved tensor")?;
            let grads = tensors(grads, n_grads);
            let needs: Vec<bool> = (0..n_inputs).map(|i| *needs.add(i) != 0).collect();
            for grad in (*state.cast::<F>()).backward(&saved, &grads, &needs)? {
                match grad {
                    Some(grad) => push(&input_grads, &grad),
                    None => push_undefined(&input_grads),
                }
            }
            Ok(())
        })
    }
}

unsafe extern "C" fn drop_state<F: CustomFn>(state: *mut c_void) {
    // A panicking destructor must not unwind into C++, and there is nobody to tell.
    let _ = std::panic::catch_unwind(|| {
        // SAFETY: called once, with the pointer that `apply` made.
        drop(unsafe { Box::from_raw(state.cast::<F>()) });
    });
}
