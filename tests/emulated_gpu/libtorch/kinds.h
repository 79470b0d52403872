// What an operator would mean for a card: whether it starts work, whether the host waits for it, and which arguments may
// lie on the CPU.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <set>
#include <string>

namespace emulated_gpu {

// "aten::index.Tensor"
inline std::string full_name(const c10::OperatorHandle& op) { return c10::toString(op.operator_name()); }

inline const std::string& base_name(const c10::OperatorHandle& op) { return op.operator_name().name; }

// Operators with a kernel for CUDA in this libtorch, and no other, run on a card. The list is that of libtorch's headers,
// where a function and its in-place form are one.
inline bool has_cuda_kernel(const c10::OperatorHandle& op) {
  static const std::set<std::string> names = {
#include "cuda_operators.inc"
  };
  std::string name = base_name(op).substr(base_name(op).find("::") + 2);
  if (names.count(name) > 0) return true;
  if (!name.empty() && name.back() == '_') name.pop_back();
  return names.count(name) > 0;
}

// Whether it only makes a tensor of what is there: its result is a view of an argument, or has other sizes.
inline bool is_metadata(const c10::OperatorHandle& op) {
  static const std::set<std::string> names = {"aten::resize_", "aten::set_", "aten::is_set_to"};
  const auto& returns = op.schema().returns();
  const auto* alias = returns.empty() ? nullptr : returns[0].alias_info();
  return names.count(base_name(op)) > 0 || (alias != nullptr && !alias->isWrite());
}

// Whether the host has to know a result before it goes on: a number, or the size of a result.
inline bool is_awaited(const c10::OperatorHandle& op) {
  static const std::set<std::string> indexing = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"};
  if (indexing.count(base_name(op)) > 0) return false;  // by masks alone: see `Arguments`
  return op.hasTag(at::Tag::dynamic_output_shape) || op.hasTag(at::Tag::data_dependent_output);
}

// Lists of indices may lie on the CPU.
inline bool takes_cpu_tensor(const c10::OperatorHandle& op, const std::string& argument) {
  static const std::set<std::string> names = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"};
  return argument == "indices" && names.count(base_name(op)) > 0;
}

// A tensor of the CPU without dimensions is passed as a number.
inline bool takes_cpu_scalar(const c10::OperatorHandle& op) {
  static const std::set<std::string> names = {"aten::masked_fill_", "aten::masked_fill", "aten::fill_",       "aten::where",
                                              "aten::lerp",         "aten::_foreach_mul", "aten::_foreach_mul_", "aten::_foreach_div",
                                              "aten::_foreach_div_", "aten::_index_put_impl_", "aten::index_put_", "aten::index_put"};
  return op.hasTag(at::Tag::pointwise) || names.count(base_name(op)) > 0;
}

}  // namespace emulated_gpu
