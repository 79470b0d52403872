// Fused Adam, with what CUDA's kernel insists on and the CPU's does not.
#pragma once

#include <ATen/native/ForeachUtils.h>

#include <set>

#include "operators.h"

namespace emulated_gpu {

inline void fused_adam(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema().arguments();
  const size_t first = stack->size() - schema.size();
  const auto list = [&](size_t i) { return (*stack)[first + i].toTensorVector(); };
  const auto params = list(0), grads = list(1), means = list(2), squares = list(3), maxima = list(4), steps = list(5);
  std::vector<at::TensorList> lists{params, grads, means, squares};
  if (!maxima.empty()) lists.push_back(maxima);
  TORCH_CHECK(params.empty() || at::native::check_fast_path_restrictions(lists),
              "params, grads, exp_avgs, and exp_avg_sqs must have same dtype, device, and layout");
  for (const Tensor& step : steps) {
    TORCH_CHECK(step.is_cuda(), "emulated GPU: ", op.operator_name(), " reads its steps on the device, and one is on ", step.device());
  }
  // with a scale the kernels write the scaled gradients back, side by side
  bool scaled = false;
  for (size_t i = 0; i < schema.size(); ++i) {
    if (schema[i].name() == "grad_scale") scaled = !(*stack)[first + i].isNone();
  }
  std::set<const void*> seen;
  for (const Tensor& grad : grads) {
    TORCH_CHECK(!scaled || grad.numel() == 0 || seen.insert(grad.const_data_ptr()).second, "emulated GPU: two gradients of ",
                op.operator_name(), " share memory, and are scaled in place");
  }
  on_cpu(op, stack);
}

}  // namespace emulated_gpu
