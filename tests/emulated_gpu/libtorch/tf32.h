// TF32, where libtorch allows it: the factors of convolutions and matrix products of float32 lose all but 10 bits of their
// mantissa, as on tensor cores. EMULATED_GPU_TF32=0 leaves them as they are.
#pragma once

#include <ATen/Context.h>

#include <cstdlib>
#include <cstring>

#include "operators.h"

namespace emulated_gpu {

inline bool emulates_tf32() {
  static const char* text = std::getenv("EMULATED_GPU_TF32");
  return text == nullptr || std::strcmp(text, "0") != 0;
}

// Rounds to nearest, halves away from zero.
inline Tensor rounded(const Tensor& t) {
  if (!t.defined() || t.scalar_type() != at::kFloat) return t;
  const at::AutoDispatchBelowADInplaceOrView below;
  Call call;
  const Tensor bits = call.host(t).contiguous().view(at::kInt).add(0x1000).bitwise_and(at::Scalar(-8192));
  const c10::DeviceGuard guard(t.device());
  Tensor on_device = at::detail::empty_strided_generic(t.sizes(), t.contiguous().strides(), &allocator(),
                                                       c10::DispatchKeySet(c10::DispatchKey::CUDA), at::kFloat);
  if (t.numel() > 0) std::memcpy(to_host(on_device.mutable_data_ptr()), bits.const_data_ptr(), bits.nbytes());
  return on_device;
}

// Rounds the arguments [begin, end) of the call.
inline void round_arguments(const c10::OperatorHandle& op, torch::jit::Stack* stack, size_t begin, size_t end) {
  const size_t first = stack->size() - op.schema().arguments().size();
  for (size_t i = begin; i < end; ++i) {
    c10::IValue& value = (*stack)[first + i];
    if (value.isTensor() && value.toTensor().is_cuda()) value = rounded(value.toTensor());
  }
}

// One channel a group: libtorch has a kernel of its own for them, without tensor cores.
inline bool is_depthwise(const Tensor& input, int64_t groups) { return groups > 1 && input.dim() > 1 && input.size(1) == groups; }

// `convolution`, `_convolution`, `convolution_backward` are composite on every other device, but choose cuDNN on CUDA.
inline void convolution(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema().arguments();
  const size_t first = stack->size() - schema.size();
  const bool backward = schema[0].name() == "grad_output";
  int64_t groups = 1;
  for (size_t i = 0; i < schema.size(); ++i) {
    if (schema[i].name() == "groups") groups = (*stack)[first + i].toInt();
  }
  const Tensor input = (*stack)[first + (backward ? 1 : 0)].toTensor();
  if (emulates_tf32() && !is_depthwise(input, groups) && at::globalContext().allowTF32CuDNN(at::Float32Op::CONV)) {
    round_arguments(op, stack, 0, backward ? 3 : 2);
  }
  on_cpu(op, stack);
}

inline bool products_may_round() {
  return emulates_tf32() && at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) ==
                                at::Float32Precision::TF32;
}

// mm, bmm: the first two arguments are the factors.
inline void product(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  if (products_may_round()) round_arguments(op, stack, 0, 2);
  on_cpu(op, stack);
}

// addmm, baddbmm, addbmm: the factors follow what is added.
inline void product_and_sum(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  if (products_may_round()) round_arguments(op, stack, 1, 3);
  on_cpu(op, stack);
}

}  // namespace emulated_gpu
