// The C surface between this crate and libtorch's C++ API. Everything that crosses is a plain pointer or number.
//
// Conventions
//  * Status: every fallible function returns 0 for success; otherwise it has stored a message in `*error`
//    (malloc'ed, NUL-terminated UTF-8) that the receiver frees with `free`. IVF_SINGULAR says that a map has no inverse,
//    which is Error::Singular in Rust, c10::LinAlgError in C++ and torch.linalg.LinAlgError in Python.
//  * Tensors: `ivf_tensor` is `at::Tensor*`. Arguments are borrowed for the call. Results are new handles owned by
//    the receiver (Rust drops them through tch, C++ deletes them). NULL stands for an undefined tensor.
//  * Callbacks are Rust functions; they never unwind: a panic has become a status before it reaches C++.
#pragma once

#include <stddef.h>
#include <stdint.h>

extern "C" {

typedef void* ivf_tensor;

enum { IVF_SINGULAR = 2 };

// Receives tensors from the other side: `push(list, handle)` takes ownership of the handle.
typedef struct {
  void* list;
  void (*push)(void* list, ivf_tensor tensor);
} ivf_sink;

// A custom autograd function implemented in Rust. `state` is shared by forward and backward, and may be used from
// any thread; `drop` is called once, when neither the graph nor the call needs it any more.
typedef struct {
  void* state;
  int (*forward)(void* state, const ivf_tensor* inputs, size_t n_inputs, ivf_sink outputs, ivf_sink saved, char** error);
  int (*backward)(void* state, const ivf_tensor* saved, size_t n_saved, const ivf_tensor* grads, size_t n_grads,
                  const uint8_t* needs, size_t n_inputs, ivf_sink input_grads, char** error);
  void (*drop)(void* state);
} ivf_function;

// Runs `function.forward` on the inputs and records it in the autograd graph. Takes ownership of `function.state`.
int ivf_apply(ivf_function function, const ivf_tensor* inputs, size_t n_inputs, ivf_sink outputs, char** error);

// The operators in torch's dispatcher. `kind` is one of ivf_op.
enum ivf_op {
  IVF_SOLVE = 0,          // inv_conv2d
  IVF_SOLVE_ADJOINT = 1,  // _inv_conv2d_adjoint
  IVF_CONV = 2,           // masked_conv2d
  IVF_CONV_ADJOINT = 3,   // _masked_conv2d_adjoint
  IVF_WEIGHT_GRAD = 4,    // _conv2d_weight_grad
  IVF_SOLVE_WEIGHT_GRAD = 5,  // _inv_conv2d_weight_grad, minus the one above
};

// Calls an operator of two tensors through torch's dispatcher; autograd records it. `corners` are numbers below 4.
int ivf_call_op(int op, ivf_tensor a, ivf_tensor b, const uint8_t* corners, size_t n_corners, ivf_tensor* out,
                char** error);

// Implemented in Rust (`operator_entry` in src/ffi/operator.rs): the CPU and CUDA kernels. `c` is NULL but for
// the weight gradients, whose third tensor gives the shape of the weight; `corners` are numbers below 4.
int ivf_op_compute(int op, ivf_tensor a, ivf_tensor b, ivf_tensor c, const uint8_t* corners, size_t n_corners,
                   ivf_tensor* out, char** error);

// Implemented in Rust (src/cuda/singular.rs): IVF_SINGULAR where a solve on CUDA device `index` had no inverse since the
// last check; waits for the device.
int ivf_check_cuda(int index, char** error);

// Gradients of `x` and `weight` from the gradient of their convolution with stride 1, zero-padded by `padding` on all sides:
// two handles, NULL where `needs` is 0.
int ivf_conv2d_backward(ivf_tensor grad, ivf_tensor x, ivf_tensor weight, int64_t padding, const uint8_t* needs,
                        ivf_tensor* grads, char** error);

// "inverse-flow: built for torch 2.11.0": the Python package finds this in the file before it loads it.
const char* ivf_built_for(void);

// torch's current stream (cudaStream_t) of CUDA device `index` on this thread.
int ivf_current_cuda_stream(int index, void** stream, char** error);

// Whether libtorch may shorten float32 numbers to TF32 (10 bits behind the point) on GPUs: in cuDNN's convolutions and
// recurrent layers, and in the matrix products of cuBLAS. Settings of the process.
int ivf_set_tf32(int allowed, char** error);
// The same for convolutions and recurrent layers alone.
int ivf_set_tf32_convolutions(int allowed, char** error);
// 1 or 0 each.
int ivf_tf32(int* convolutions, int* products, char** error);

// Largest number of bytes in tensors of CUDA device `index` at a time, since the start or the last reset.
int ivf_device_peak(int index, uint64_t* bytes, char** error);
int ivf_device_reset_peak(int index, char** error);

// A copy of a CPU tensor in pinned memory, or the tensor itself if it is there.
int ivf_pinned(ivf_tensor tensor, ivf_tensor* out, char** error);

// A copy of a CPU tensor on CUDA device `index`, by way of pinned memory: the host does not wait for it.
int ivf_upload(ivf_tensor tensor, int index, ivf_tensor* out, char** error);

// Whether operations on this thread are being recorded for autograd: 1 or 0.
int ivf_grad_enabled(void);

// From now on an exception that nothing catches calls `end(its text or null, whether it is about memory)`, which must not return.
void ivf_on_terminate(void (*end)(const char* what, int memory));

// Lets threads that are started from now on have a stack of so many bytes, unless who starts them says otherwise.
void ivf_set_stack_of_threads(size_t bytes);

// Splits [0, jobs) over libtorch's own threads; `run(context, begin, end)` must not unwind.
void ivf_parallel_for(int64_t jobs, void (*run)(void* context, int64_t begin, int64_t end), void* context);

// Over how many threads libtorch splits what the calling thread asks of it, from now on.
void ivf_threads_here(int threads);

// A parallel region of OpenMP with so many threads, which do nothing; they stay, asleep, until the calling thread ends.
void ivf_empty_region(int threads);

// Processors that OpenMP may use.
int ivf_processors(void);

// Euclidean norm of all the tensors together, as a 0-d tensor on their device (torch's _foreach_norm).
int ivf_global_norm(const ivf_tensor* tensors, size_t n, ivf_tensor* out, char** error);

// Copies of the tensors with every entry set back into [-limit, limit]; NaN stays (torch's _foreach_clamp_min and _max).
// `out` has room for n handles.
int ivf_clamp_all(const ivf_tensor* tensors, size_t n, double limit, ivf_tensor* out, char** error);

// tensors[i] += weight (ends[i] - tensors[i]) in place; `weight` is 0-d on their device (torch's _foreach_sub, _mul_ and
// _add_ on a GPU, which is not waited for; lerp_ on a CPU).
int ivf_lerp_all(const ivf_tensor* tensors, const ivf_tensor* ends, size_t n, ivf_tensor weight, char** error);

// One Adam step over all parameters (torch's _fused_adam_), in place. Lists hold n tensors each; `step` (0-d float32)
// is counted up first. Gradients are divided by `grad_scale` (0-d float32, may be NULL). Where `skip` (0-d float32, may be
// NULL) is 1, nothing is changed; it is 0 otherwise. With `max_exp_avg_sq` (n
// tensors, may be NULL) it is the AMSGrad variant. Counts up the versions of the parameters, which torch does not.
typedef struct {
  const ivf_tensor* params;
  const ivf_tensor* grads;
  const ivf_tensor* exp_avg;
  const ivf_tensor* exp_avg_sq;
  const ivf_tensor* max_exp_avg_sq;
  size_t n;
  ivf_tensor step;
  ivf_tensor grad_scale;
  ivf_tensor skip;
  double lr, beta1, beta2, weight_decay, eps;
} ivf_adam;
int ivf_fused_adam(const ivf_adam* adam, char** error);

// A TorchScript program (torchscript.cpp). Strings are NUL-terminated UTF-8. Names of modules are dotted paths below the
// root, which is ""; a module that only stands on the path of another has no methods.
typedef struct {
  const char* path;
  const char* class_name;  // modules of one class with equal attributes share their code
  const char* source;      // method definitions
} ivf_torchscript_module;

// An attribute that is no tensor: a TorchScript type and an expression.
typedef struct {
  const char* module;
  const char* name;
  const char* type;
  const char* value;
} ivf_torchscript_constant;

typedef struct {
  const char* name;  // dotted, the last part is the attribute
  ivf_tensor tensor;
  int is_parameter;  // else a buffer
} ivf_torchscript_tensor;

typedef struct {
  const char* functions;  // definitions that every method may call
  const ivf_torchscript_module* modules;
  size_t n_modules;
  const ivf_torchscript_constant* constants;
  size_t n_constants;
  const ivf_torchscript_tensor* tensors;
  size_t n_tensors;
  const char* extra_name;  // one more file of the archive
  const char* extra;
} ivf_torchscript;

// Compiles the program and hands the bytes of its archive, piece by piece, to `write(sink, bytes, n)`.
int ivf_torchscript_save(const ivf_torchscript* script, void* sink, void (*write)(void* sink, const uint8_t* bytes, size_t n),
                    char** error);

// Several processes that compute together (group.cpp). A store is a table of keys that one process keeps and all of them reach;
// it may be used from any thread. Members are this process's connections to the others, for one thread at a time.
typedef void* ivf_store;
typedef void* ivf_members;

// Connects to the store at host:port, or keeps it there for all (`serve`). Keys get `prefix` in front.
int ivf_store_open(const char* host, uint16_t port, int serve, const char* prefix, int64_t timeout_ms, ivf_store* out,
                   char** error);
void ivf_store_close(ivf_store store);
int ivf_store_set(ivf_store store, const char* key, const uint8_t* value, size_t n, char** error);
// Adds 1 to a number that begins with 0.
int ivf_store_count(ivf_store store, const char* key, int64_t* count, char** error);
// Hands the value to `write(sink, bytes, n)` as soon as there is one; `there` is 0 if there was none in time.
int ivf_store_get(ivf_store store, const char* key, int64_t timeout_ms, int* there, void* sink,
                  void (*write)(void* sink, const uint8_t* bytes, size_t n), char** error);

// Connects to all others over Gloo, who make the same call. After an error the members are of no more use.
int ivf_members_join(ivf_store store, int rank, int ranks, int64_t timeout_ms, ivf_members* out, char** error);
// The same between the GPUs of all processes, over NCCL; in a shared object of its own (nccl.cpp). Then each says which of its
// CUDA devices it takes, which connects them.
int ivf_nccl_join(ivf_store store, int rank, int ranks, int64_t timeout_ms, ivf_members* out, char** error);
int ivf_members_connect(ivf_members members, int device, char** error);
// Ends what is under way, in this process; then the members can only be left.
void ivf_members_abort(ivf_members members);
// Waits for what is under way, unless it was aborted, and disconnects.
void ivf_members_leave(ivf_members members, int aborted);
// In place, on dense tensors that have the same shape and kind in all processes: the sum over all, the tensor of rank 0. On
// CUDA tensors it is queued on the current stream of their device, and the host goes on.
int ivf_members_sum(ivf_members members, ivf_tensor tensor, char** error);
int ivf_members_broadcast(ivf_members members, ivf_tensor tensor, char** error);
int ivf_members_barrier(ivf_members members, char** error);

}  // extern "C"
