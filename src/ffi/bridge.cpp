// libtorch's side of the border: custom autograd functions whose bodies are Rust, and the operators in torch's
// dispatcher. See bridge.h for who owns what.

#include "bridge.h"
#include "guard.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>
#include <torch/version.h>

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using at::Tensor;
using inverse_flow::borrow;
using inverse_flow::borrow_all;
using inverse_flow::guarded;
using inverse_flow::release;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// --- errors ---------------------------------------------------------------------------------------------------------

// Rust → C++: a failed callback becomes an exception, which autograd carries to whoever called `backward`.
void check(int status, char* message) {
  if (status == 0) return;
  const std::string text = message != nullptr ? message : "unknown error in a Rust callback";
  std::free(message);
  TORCH_CHECK_LINALG(status != IVF_SINGULAR, text);
  TORCH_CHECK(false, text);
}

// --- tensors --------------------------------------------------------------------------------------------------------

Tensor adopt(ivf_tensor handle) {
  if (handle == nullptr) return {};
  Tensor tensor = std::move(*static_cast<Tensor*>(handle));
  delete static_cast<Tensor*>(handle);
  return tensor;
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

// In the schema corners are texts, which is what Python and TorchScript write; beyond it they are numbers.
using Corners = c10::List<std::string>;
const char* const kCornerNames[] = {"top_left", "top_right", "bottom_left", "bottom_right"};

std::vector<uint8_t> parse_corners(const char* op, const Corners& corners) {
  std::vector<uint8_t> codes;
  for (const std::string& name : corners.vec()) {
    size_t code = 0;
    while (code < 4 && name != kCornerNames[code]) ++code;
    TORCH_CHECK(code < 4, op, ": `corners` has an unknown corner '", name,
                "'; expected top_left, top_right, bottom_left or bottom_right");
    codes.push_back(static_cast<uint8_t>(code));
  }
  return codes;
}

const char* name_of(int64_t op) {
  static const char* const names[] = {"inv_conv2d", "_inv_conv2d_adjoint", "masked_conv2d", "_masked_conv2d_adjoint",
                                      "_conv2d_weight_grad", "_inv_conv2d_weight_grad"};
  return names[op];
}

bool is_weight_grad(int64_t op) { return op == IVF_WEIGHT_GRAD || op == IVF_SOLVE_WEIGHT_GRAD; }

template <typename Signature>
c10::TypedOperatorHandle<Signature> find(int64_t op) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow((std::string("inverse_flow::") + name_of(op)).c_str(), "")
      .typed<Signature>();
}

// Calls an operator through torch's dispatcher, at the keys that are not excluded.
Tensor call(int64_t op, at::TensorList tensors, const Corners& corners) {
  using Binary = Tensor(const Tensor&, const Tensor&, Corners);
  using Ternary = Tensor(const Tensor&, const Tensor&, const Tensor&, Corners);
  static const std::array<c10::TypedOperatorHandle<Binary>, 4> binary = {
      find<Binary>(IVF_SOLVE), find<Binary>(IVF_SOLVE_ADJOINT), find<Binary>(IVF_CONV), find<Binary>(IVF_CONV_ADJOINT)};
  static const std::array<c10::TypedOperatorHandle<Ternary>, 2> ternary = {find<Ternary>(IVF_WEIGHT_GRAD),
                                                                           find<Ternary>(IVF_SOLVE_WEIGHT_GRAD)};
  TORCH_CHECK(op >= 0 && op <= IVF_SOLVE_WEIGHT_GRAD, "unknown operator number ", op);
  if (is_weight_grad(op)) return ternary[op - IVF_WEIGHT_GRAD].call(tensors[0], tensors[1], tensors[2], corners);
  return binary[op].call(tensors[0], tensors[1], corners);
}

// CPU and CUDA: the kernels, in Rust.
Tensor compute(int64_t op, at::TensorList tensors, const Corners& corners) {
  const std::vector<uint8_t> codes = parse_corners(name_of(op), corners);
  ivf_tensor out = nullptr;
  char* error = nullptr;
  const int status = ivf_op_compute(static_cast<int>(op), lend(tensors[0]), lend(tensors[1]),
                                    tensors.size() > 2 ? lend(tensors[2]) : nullptr, codes.data(), codes.size(), &out,
                                    &error);
  check(status, error);
  return adopt(out);
}

// Whether all solves on a device had an inverse since the last check. On the CPU an operator has said so itself.
void check_device(at::Device device) {
  if (!device.is_cuda()) return;
  const at::Device here =
      device.has_index() ? device : c10::impl::VirtualGuardImpl(at::DeviceType::CUDA).getDevice();
  char* error = nullptr;
  const int status = ivf_check_cuda(here.index(), &error);
  check(status, error);
}

// Meta: shapes only, symbolic sizes included; this is what torch.compile traces with.
void check_meta(int64_t op, const Tensor& input, const Tensor& weight) {
  TORCH_CHECK(input.dim() == 4, name_of(op), ": `input` must be [B, C, H, W], got ", input.dim(), " dimensions");
  TORCH_CHECK(weight.dim() == 4, name_of(op), ": `weight` must be [C, C/g, k, k], got ", weight.dim(), " dimensions");
  TORCH_CHECK(input.scalar_type() == weight.scalar_type(), name_of(op), ": `weight` must have the dtype of `input`, ",
              input.scalar_type(), ", got ", weight.scalar_type());
  TORCH_CHECK(weight.sym_size(0) == input.sym_size(1), name_of(op), ": `weight` must have ", input.sym_size(1),
              " output channels as `input` has channels, got ", weight.sym_size(0));
}

Tensor meta(int64_t op, at::TensorList tensors, const Corners& corners) {
  parse_corners(name_of(op), corners);
  const Tensor& weight = tensors.back();
  for (const Tensor& image : tensors.slice(0, tensors.size() - 1)) check_meta(op, image, weight);
  const Tensor& like = is_weight_grad(op) ? weight : tensors[0];
  return at::empty_symint(like.sym_sizes(), like.options());
}

// Autograd: one call in the graph. Every operator is linear in each of its arguments, and together they close under
// differentiation; A is the masked convolution, G(x, u) the weight gradient, and H = -G that of a solve, an operator of its
// own so that the sign costs no pass:
//
//   x = A^-1 y     u := A^-T dx     dy = u          dW = H(x, u)
//   x = A^-T y     u := A^-1 dx     dy = u          dW = H(u, x)
//   y = A x                         dx = A^T dy     dW = G(x, dy)
//   y = A^T x                       dx = A dy       dW = G(dy, x)
//   g = G(x, u)                     dx = A(dg)^T u  du = A(dg) x
//   h = H(x, u)                     dx = -A(dh)^T u  du = -A(dh) x
//
// The first line is the implicit function theorem: A x = y gives A dx + dA x = dy. The backward calls the differentiable
// operators themselves, so that under create_graph derivatives of any order are right. It is here and not in Rust so that
// a call crosses the border once, for its kernel, and the corners are read once.
struct Recorded : torch::autograd::Function<Recorded> {
  static Tensor forward(AutogradContext* ctx, at::TensorList inputs, int64_t op, const Corners& corners) {
    const Tensor out = [&] {
      const at::AutoDispatchBelowADInplaceOrView below_autograd;
      return call(op, inputs, corners);
    }();
    // a solve is differentiated at its solution, a convolution at its input
    const bool solves = op == IVF_SOLVE || op == IVF_SOLVE_ADJOINT;
    ctx->save_for_backward({solves ? out : inputs[0], inputs[1]});
    ctx->saved_data["op"] = op;
    ctx->saved_data["corners"] = corners;
    ctx->set_materialize_grads(false);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const int64_t op = ctx->saved_data["op"].toInt();
    const auto corners = ctx->saved_data["corners"].to<Corners>();
    // one for each tensor, and none for the operator and the corners
    variable_list input_grads((is_weight_grad(op) ? 3 : 2) + 2);
    const Tensor& grad = grads[0];
    if (!grad.defined()) return input_grads;
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &at = saved[0], &second = saved[1];
    auto run = [&](int64_t op, const Tensor& a, const Tensor& b) {
      const std::array<Tensor, 2> tensors = {a, b};
      return call(op, tensors, corners);
    };
    auto weight_grad = [&](int64_t op, const Tensor& x, const Tensor& u) {
      const std::array<Tensor, 3> tensors = {x, u, second};
      return call(op, tensors, corners);
    };
    Tensor &of_first = input_grads[0], &of_second = input_grads[1];
    const bool first_wanted = ctx->needs_input_grad(0), second_wanted = ctx->needs_input_grad(1);
    switch (op) {
      case IVF_SOLVE:
        of_first = run(IVF_SOLVE_ADJOINT, grad, second);
        if (second_wanted) of_second = weight_grad(IVF_SOLVE_WEIGHT_GRAD, at, of_first);
        break;
      case IVF_SOLVE_ADJOINT:
        of_first = run(IVF_SOLVE, grad, second);
        if (second_wanted) of_second = weight_grad(IVF_SOLVE_WEIGHT_GRAD, of_first, at);
        break;
      case IVF_CONV:
        if (first_wanted) of_first = run(IVF_CONV_ADJOINT, grad, second);
        if (second_wanted) of_second = weight_grad(IVF_WEIGHT_GRAD, at, grad);
        break;
      case IVF_CONV_ADJOINT:
        if (first_wanted) of_first = run(IVF_CONV, grad, second);
        if (second_wanted) of_second = weight_grad(IVF_WEIGHT_GRAD, grad, at);
        break;
      default: {  // a weight gradient: `second` is u, and the incoming gradient has the shape of the weight
        const Tensor along = op == IVF_WEIGHT_GRAD ? grad : grad.neg();
        if (first_wanted) of_first = run(IVF_CONV_ADJOINT, second, along);
        if (second_wanted) of_second = run(IVF_CONV, at, along);
      }
    }
    return input_grads;
  }
};

Tensor record(int64_t op, at::TensorList tensors, const Corners& corners) {
  return Recorded::apply(tensors, op, corners);
}

// Autocast: a recurrence in half precision is worthless, so the operator runs in float32.
template <c10::DeviceType Device>
Tensor autocast(int64_t op, at::TensorList tensors, const Corners& corners) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(at::autocast::get_autocast_dispatch_key_from_device_type(Device));
  std::vector<Tensor> full;
  for (const Tensor& tensor : tensors) full.push_back(at::autocast::cached_cast(at::kFloat, tensor, Device));
  return call(op, full, corners);
}

// What the operators do at one dispatch key.
using AtKey = Tensor (*)(int64_t op, at::TensorList tensors, const Corners& corners);

// The functions that the dispatcher knows: one for each operator and key, with the schema's arguments.
template <int Op, AtKey Do>
Tensor binary(const Tensor& input, const Tensor& weight, Corners corners) {
  const std::array<Tensor, 2> tensors = {input, weight};
  return Do(Op, tensors, corners);
}

template <int Op, AtKey Do>
Tensor weight_grad(const Tensor& input, const Tensor& grad, const Tensor& weight, Corners corners) {
  const std::array<Tensor, 3> tensors = {input, grad, weight};
  return Do(Op, tensors, corners);
}

template <AtKey Do>
void register_public(torch::Library& m) {
  m.impl("inv_conv2d", binary<IVF_SOLVE, Do>);
  m.impl("masked_conv2d", binary<IVF_CONV, Do>);
}

template <AtKey Do>
void register_all(torch::Library& m) {
  register_public<Do>(m);
  m.impl("_inv_conv2d_adjoint", binary<IVF_SOLVE_ADJOINT, Do>);
  m.impl("_masked_conv2d_adjoint", binary<IVF_CONV_ADJOINT, Do>);
  m.impl("_conv2d_weight_grad", weight_grad<IVF_WEIGHT_GRAD, Do>);
  m.impl("_inv_conv2d_weight_grad", weight_grad<IVF_SOLVE_WEIGHT_GRAD, Do>);
}

}  // namespace

TORCH_LIBRARY(inverse_flow, m) {
  m.def("inv_conv2d(Tensor input, Tensor weight, str[] corners) -> Tensor");
  m.def("masked_conv2d(Tensor input, Tensor weight, str[] corners) -> Tensor");
  // the transposed maps and the weight gradients: with them the set is closed under differentiation of any order
  m.def("_inv_conv2d_adjoint(Tensor input, Tensor weight, str[] corners) -> Tensor");
  m.def("_masked_conv2d_adjoint(Tensor input, Tensor weight, str[] corners) -> Tensor");
  m.def("_conv2d_weight_grad(Tensor input, Tensor grad, Tensor weight, str[] corners) -> Tensor");
  m.def("_inv_conv2d_weight_grad(Tensor input, Tensor grad, Tensor weight, str[] corners) -> Tensor");
  m.def("check(Device device) -> ()", check_device);
}

TORCH_LIBRARY_IMPL(inverse_flow, CPU, m) { register_all<compute>(m); }
TORCH_LIBRARY_IMPL(inverse_flow, CUDA, m) { register_all<compute>(m); }
TORCH_LIBRARY_IMPL(inverse_flow, Meta, m) { register_all<meta>(m); }
TORCH_LIBRARY_IMPL(inverse_flow, Autograd, m) { register_all<record>(m); }
TORCH_LIBRARY_IMPL(inverse_flow, AutocastCPU, m) { register_public<autocast<c10::DeviceType::CPU>>(m); }
TORCH_LIBRARY_IMPL(inverse_flow, AutocastCUDA, m) { register_public<autocast<c10::DeviceType::CUDA>>(m); }

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

int ivf_call_op(int op, ivf_tensor a, ivf_tensor b, const uint8_t* corners, size_t n_corners, ivf_tensor* out,
                char** error) {
  return guarded(error, [&] {
    Corners names;
    names.reserve(n_corners);
    for (size_t i = 0; i < n_corners; ++i) names.push_back(kCornerNames[corners[i]]);
    const std::array<Tensor, 2> tensors = {borrow(a), borrow(b)};
    *out = release(call(op, tensors, names));
  });
}

const char* ivf_built_for(void) { return "inverse-flow: built for torch " TORCH_VERSION; }
