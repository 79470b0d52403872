// libtorch's side of the border: custom autograd functions whose bodies are Rust, the operators in torch's
// dispatcher, and the few libtorch functions that tch does not offer. See bridge.h for who owns what.

#include "bridge.h"

#include <ATen/DeviceGuard.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// --- errors ---------------------------------------------------------------------------------------------------------

char* copy_message(const char* text) {
  const size_t size = std::strlen(text) + 1;
  char* copy = static_cast<char*>(std::malloc(size));
  if (copy != nullptr) std::memcpy(copy, text, size);
  return copy;
}

// C++ → Rust: no exception leaves a function of bridge.h.
template <typename Body>
int guarded(char** error, Body&& body) {
  try {
    body();
    return 0;
  } catch (const c10::Error& e) {
    *error = copy_message(e.what_without_backtrace());
  } catch (const std::exception& e) {
    *error = copy_message(e.what());
  } catch (...) {
    *error = copy_message("unknown C++ exception");
  }
  return 1;
}

// Rust → C++: a failed callback becomes an exception, which autograd carries to whoever called `backward`.
void check(int status, char* message) {
  if (status == 0) return;
  const std::string text = message != nullptr ? message : "unknown error in a Rust callback";
  std::free(message);
  TORCH_CHECK(false, text);
}

// --- tensors --------------------------------------------------------------------------------------------------------

const Tensor& borrow(ivf_tensor handle) { return *static_cast<Tensor*>(handle); }

ivf_tensor release(Tensor tensor) { return tensor.defined() ? new Tensor(std::move(tensor)) : nullptr; }

Tensor adopt(ivf_tensor handle) {
  if (handle == nullptr) return {};
  Tensor tensor = std::move(*static_cast<Tensor*>(handle));
  delete static_cast<Tensor*>(handle);
  return tensor;
}

std::vector<Tensor> borrow_all(const ivf_tensor* handles, size_t n) {
  std::vector<Tensor> tensors(n);
  for (size_t i = 0; i < n; ++i) {
    if (handles[i] != nullptr) tensors[i] = borrow(handles[i]);
  }
  return tensors;
}

ivf_tensor lend(const Tensor& tensor) { return const_cast<Tensor*>(&tensor); }

// Handles into a list that outlives the call; undefined tensors become NULL.
std::vector<ivf_tensor> handles_of(at::TensorList tensors) {
  std::vector<ivf_tensor> handles(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) handles[i] = tensors[i].defined() ? lend(tensors[i]) : nullptr;
  return handles;
}

ivf_sink sink_into(variable_list& tensors) {
  return {&tensors, [](void* list, ivf_tensor tensor) { static_cast<variable_list*>(list)->push_back(adopt(tensor)); }};
}

// --- custom autograd functions --------------------------------------------------------------------------------------

// Owns the Rust state; the autograd node holds it as a capsule, so it lives exactly as long as the graph needs it.
struct RustState : torch::CustomClassHolder {
  explicit RustState(ivf_function function) : function(function) {}
  ~RustState() override { function.drop(function.state); }
  ivf_function function;
};

struct RustFunction : torch::autograd::Function<RustFunction> {
  // `inputs` must be a TensorList: autograd recognises no other list of tensors as differentiable arguments
  static variable_list forward(AutogradContext* ctx, at::TensorList inputs, c10::intrusive_ptr<RustState> state) {
    variable_list outputs, saved;
    std::vector<ivf_tensor> handles = handles_of(inputs);
    char* error = nullptr;
    const ivf_function& f = state->function;
    const int status =
        f.forward(f.state, handles.data(), handles.size(), sink_into(outputs), sink_into(saved), &error);
    check(status, error);
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["inputs"] = static_cast<int64_t>(inputs.size());
    ctx->saved_data["state"] = c10::IValue::make_capsule(state);
    // an output that the loss does not depend on arrives as an undefined gradient, not as a tensor of zeros
    ctx->set_materialize_grads(false);
    return outputs;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto holder = ctx->saved_data["state"].toCapsule();
    const ivf_function& f = static_cast<RustState*>(holder.get())->function;
    const size_t n_inputs = static_cast<size_t>(ctx->saved_data["inputs"].toInt());
    variable_list saved = ctx->get_saved_variables();
    std::vector<ivf_tensor> saved_handles = handles_of(saved), grad_handles = handles_of(grads);
    std::vector<uint8_t> needs(n_inputs);
    for (size_t i = 0; i < n_inputs; ++i) needs[i] = ctx->needs_input_grad(i);
    variable_list input_grads;
    char* error = nullptr;
    const int status =
        f.backward(f.state, saved_handles.data(), saved_handles.size(), grad_handles.data(), grad_handles.size(),
                   needs.data(), n_inputs, sink_into(input_grads), &error);
    check(status, error);
    TORCH_CHECK(input_grads.size() == n_inputs, "a Rust autograd function returned ", input_grads.size(),
                " gradients for ", n_inputs, " inputs");
    input_grads.emplace_back();  // the state is an argument of `forward` too, and has no gradient
    return input_grads;
  }
};

// --- the operators --------------------------------------------------------------------------------------------------

using Corners = c10::List<std::string>;
const char* const kCornerNames[] = {"top_left", "top_right", "bottom_left", "bottom_right"};

std::vector<uint8_t> parse_corners(const char* op, const Corners& corners) {
  std::vector<uint8_t> codes;
  for (const std::string& name : static_cast<const std::vector<std::string>&>(corners.vec())) {
    size_t code = 0;
    while (code < 4 && name != kCornerNames[code]) ++code;
    TORCH_CHECK(code < 4, op, ": `corners` has an unknown corner '", name,
                "'; expected top_left, top_right, bottom_left or bottom_right");
    codes.push_back(static_cast<uint8_t>(code));
  }
  return codes;
}

const char* name_of(int op) {
  static const char* const names[] = {"inv_conv2d", "_inv_conv2d_adjoint", "masked_conv2d", "_masked_conv2d_adjoint",
                                      "_conv2d_weight_grad"};
  return names[op];
}

using RustOp = int (*)(int, ivf_tensor, ivf_tensor, ivf_tensor, const uint8_t*, size_t, ivf_tensor*, char**);

Tensor call_rust(RustOp rust, int op, const Tensor& a, const Tensor& b, const Tensor* c, const Corners& corners) {
  const std::vector<uint8_t> codes = parse_corners(name_of(op), corners);
  ivf_tensor out = nullptr;
  char* error = nullptr;
  const int status =
      rust(op, lend(a), lend(b), c != nullptr ? lend(*c) : nullptr, codes.data(), codes.size(), &out, &error);
  check(status, error);
  return adopt(out);
}

// Shapes only, symbolic sizes included: this is what torch.compile traces with.
void check_meta(int op, const Tensor& input, const Tensor& weight) {
  TORCH_CHECK(input.dim() == 4, name_of(op), ": `input` must be [B, C, H, W], got ", input.dim(), " dimensions");
  TORCH_CHECK(weight.dim() == 4, name_of(op), ": `weight` must be [C, C/g, k, k], got ", weight.dim(), " dimensions");
  TORCH_CHECK(input.scalar_type() == weight.scalar_type(), name_of(op), ": `weight` must have the dtype of `input`, ",
              input.scalar_type(), ", got ", weight.scalar_type());
  TORCH_CHECK(weight.sym_size(0) == input.sym_size(1), name_of(op), ": `weight` must have ", input.sym_size(1),
              " output channels as `input` has channels, got ", weight.sym_size(0));
}

// One struct per operator, one static function per dispatch key.
template <int Op>
struct Binary {
  static Tensor compute(const Tensor& input, const Tensor& weight, Corners corners) {
    const at::OptionalDeviceGuard guard(input.device());
    return call_rust(ivf_op_compute, Op, input, weight, nullptr, corners);
  }
  static Tensor record(const Tensor& input, const Tensor& weight, Corners corners) {
    return call_rust(ivf_op_record, Op, input, weight, nullptr, corners);
  }
  static Tensor meta(const Tensor& input, const Tensor& weight, Corners corners) {
    parse_corners(name_of(Op), corners);
    check_meta(Op, input, weight);
    return at::empty_symint(input.sym_sizes(), input.options());
  }
  // A recurrence in half precision is worthless: under autocast the operator runs in float32.
  template <c10::DeviceType Device>
  static Tensor autocast(const Tensor& input, const Tensor& weight, Corners corners) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(at::autocast::get_autocast_dispatch_key_from_device_type(Device));
    auto full = [](const Tensor& t) { return at::autocast::cached_cast(at::kFloat, t, Device); };
    return call(full(input), full(weight), std::move(corners));
  }
  static Tensor call(const Tensor& input, const Tensor& weight, Corners corners) {
    static const auto handle = c10::Dispatcher::singleton()
                                   .findSchemaOrThrow((std::string("inverse_flow::") + name_of(Op)).c_str(), "")
                                   .typed<Tensor(const Tensor&, const Tensor&, Corners)>();
    return handle.call(input, weight, std::move(corners));
  }
};

struct WeightGrad {
  static constexpr int kOp = IVF_WEIGHT_GRAD;
  static Tensor compute(const Tensor& input, const Tensor& grad, const Tensor& weight, Corners corners) {
    const at::OptionalDeviceGuard guard(input.device());
    return call_rust(ivf_op_compute, kOp, input, grad, &weight, corners);
  }
  static Tensor record(const Tensor& input, const Tensor& grad, const Tensor& weight, Corners corners) {
    return call_rust(ivf_op_record, kOp, input, grad, &weight, corners);
  }
  static Tensor meta(const Tensor& input, const Tensor& grad, const Tensor& weight, Corners corners) {
    parse_corners(name_of(kOp), corners);
    check_meta(kOp, input, weight);
    check_meta(kOp, grad, weight);
    return at::empty_symint(weight.sym_sizes(), weight.options());
  }
  static Tensor call(const Tensor& input, const Tensor& grad, const Tensor& weight, Corners corners) {
    static const auto handle = c10::Dispatcher::singleton()
                                   .findSchemaOrThrow("inverse_flow::_conv2d_weight_grad", "")
                                   .typed<Tensor(const Tensor&, const Tensor&, const Tensor&, Corners)>();
    return handle.call(input, grad, weight, std::move(corners));
  }
};

using Solve = Binary<IVF_SOLVE>;
using SolveAdjoint = Binary<IVF_SOLVE_ADJOINT>;
using Conv = Binary<IVF_CONV>;
using ConvAdjoint = Binary<IVF_CONV_ADJOINT>;

}  // namespace

TORCH_LIBRARY(inverse_flow, m) {
  m.def("inv_conv2d(Tensor input, Tensor weight, str[] corners) -> Tensor");
  m.def("masked_conv2d(Tensor input, Tensor weight, str[] corners) -> Tensor");
  // the transposed maps and the weight gradient: with them the set is closed under differentiation of any order
  m.def("_inv_conv2d_adjoint(Tensor input, Tensor weight, str[] corners) -> Tensor");
  m.def("_masked_conv2d_adjoint(Tensor input, Tensor weight, str[] corners) -> Tensor");
  m.def("_conv2d_weight_grad(Tensor input, Tensor grad, Tensor weight, str[] corners) -> Tensor");
}

#define IVF_REGISTER(KEY, FUNCTION)                       \
  TORCH_LIBRARY_IMPL(inverse_flow, KEY, m) {              \
    m.impl("inv_conv2d", Solve::FUNCTION);                \
    m.impl("masked_conv2d", Conv::FUNCTION);              \
    m.impl("_inv_conv2d_adjoint", SolveAdjoint::FUNCTION); \
    m.impl("_masked_conv2d_adjoint", ConvAdjoint::FUNCTION); \
    m.impl("_conv2d_weight_grad", WeightGrad::FUNCTION);  \
  }
IVF_REGISTER(CPU, compute)
IVF_REGISTER(CUDA, compute)
IVF_REGISTER(Meta, meta)
IVF_REGISTER(Autograd, record)

TORCH_LIBRARY_IMPL(inverse_flow, AutocastCPU, m) {
  m.impl("inv_conv2d", Solve::autocast<c10::DeviceType::CPU>);
  m.impl("masked_conv2d", Conv::autocast<c10::DeviceType::CPU>);
}
TORCH_LIBRARY_IMPL(inverse_flow, AutocastCUDA, m) {
  m.impl("inv_conv2d", Solve::autocast<c10::DeviceType::CUDA>);
  m.impl("masked_conv2d", Conv::autocast<c10::DeviceType::CUDA>);
}

// --- the C surface --------------------------------------------------------------------------------------------------

int ivf_apply(ivf_function function, const ivf_tensor* inputs, size_t n_inputs, ivf_sink outputs, char** error) {
  const auto state = c10::make_intrusive<RustState>(function);  // from here on C++ owns the Rust state
  return guarded(error, [&] {
    const std::vector<Tensor> tensors = borrow_all(inputs, n_inputs);
    for (Tensor& output : RustFunction::apply(at::TensorList(tensors), state)) {
      outputs.push(outputs.list, release(std::move(output)));
    }
  });
}

int ivf_call_op(int op, ivf_tensor a, ivf_tensor b, ivf_tensor c, const uint8_t* corners, size_t n_corners,
                int below_autograd, ivf_tensor* out, char** error) {
  return guarded(error, [&] {
    Corners names;
    names.reserve(n_corners);
    for (size_t i = 0; i < n_corners; ++i) names.push_back(kCornerNames[corners[i]]);
    std::optional<at::AutoDispatchBelowADInplaceOrView> guard;
    if (below_autograd != 0) guard.emplace();
    auto run = [&]() -> Tensor {
      switch (op) {
        case IVF_SOLVE: return Solve::call(borrow(a), borrow(b), names);
        case IVF_SOLVE_ADJOINT: return SolveAdjoint::call(borrow(a), borrow(b), names);
        case IVF_CONV: return Conv::call(borrow(a), borrow(b), names);
        case IVF_CONV_ADJOINT: return ConvAdjoint::call(borrow(a), borrow(b), names);
        case IVF_WEIGHT_GRAD: return WeightGrad::call(borrow(a), borrow(b), borrow(c), names);
        default: TORCH_CHECK(false, "unknown operator number ", op);
      }
    };
    *out = release(run());
  });
}

int ivf_current_cuda_stream(int index, void** stream, char** error) {
  return guarded(error, [&] {
    const c10::Device device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
    *stream = c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
  });
}

int ivf_cuda_peak_bytes(int index, int reset, int64_t* bytes, char** error) {
  return guarded(error, [&] {
    c10::DeviceAllocator* allocator = c10::getDeviceAllocator(c10::DeviceType::CUDA);
    const auto device = static_cast<c10::DeviceIndex>(index);
    constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    *bytes = allocator->getDeviceStats(device).allocated_bytes[all].peak;
    if (reset != 0) allocator->resetPeakStats(device);
  });
}

int ivf_grad_enabled(void) { return at::GradMode::is_enabled() ? 1 : 0; }

void ivf_parallel_for(int64_t jobs, void (*run)(void*, int64_t, int64_t), void* context) {
  at::parallel_for(0, jobs, 1, [&](int64_t begin, int64_t end) { run(context, begin, end); });
}

int ivf_global_norm(const ivf_tensor* tensors, size_t n, ivf_tensor* out, char** error) {
  return guarded(error, [&] {
    const at::NoGradGuard no_grad;
    *out = release(at::linalg_vector_norm(at::stack(at::_foreach_norm(borrow_all(tensors, n)))));
  });
}

int ivf_fused_adam(const ivf_adam* adam, char** error) {
  return guarded(error, [&] {
    const at::NoGradGuard no_grad;
    const size_t n = adam->n;
    std::optional<Tensor> grad_scale;
    if (adam->grad_scale != nullptr) grad_scale = borrow(adam->grad_scale);
    // the fused kernel reads the number of the step, counted from 1, from a tensor per parameter
    Tensor step = borrow(adam->step);
    const std::vector<Tensor> steps(n, step.add_(1));
    const bool amsgrad = adam->max_exp_avg_sq != nullptr;
    std::vector<Tensor> max_exp_avg_sq;
    if (amsgrad) max_exp_avg_sq = borrow_all(adam->max_exp_avg_sq, n);
    const std::vector<Tensor> params = borrow_all(adam->params, n);
    at::_fused_adam_(params, borrow_all(adam->grads, n), borrow_all(adam->exp_avg, n),
                     borrow_all(adam->exp_avg_sq, n), max_exp_avg_sq, steps, adam->lr, adam->beta1,
                     adam->beta2, adam->weight_decay, adam->eps, amsgrad, /*maximize=*/false, grad_scale,
                     /*found_inf=*/{});
    // unlike other in-place operations the fused step leaves the versions alone, by which autograd and whoever keeps
    // something computed from the parameters notice a change
    for (const Tensor& param : params) param.unsafeGetTensorImpl()->bump_version();
  });
}
