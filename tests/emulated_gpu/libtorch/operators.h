// Every operator that has no kernel of its own here: libtorch's kernel for the CPU, over the same memory.
#pragma once

#include <torch/library.h>

#include <optional>

#include "call.h"
#include "generator.h"
#include "guard.h"
#include "kinds.h"

namespace emulated_gpu {

// The arguments of a call on the stack, mapped to the CPU. Refuses what a card refuses.
class Arguments {
 public:
  Arguments(const c10::OperatorHandle& op, torch::jit::Stack* stack) : op_(op) {
    const auto& schema = op.schema().arguments();
    first_ = stack->size() - schema.size();
    for (size_t i = 0; i < schema.size(); ++i) find_device((*stack)[first_ + i]);
    if (!device_.has_value()) device_ = current_device();
    guard_.reset_device(*device_);
    emulated_gpu_set_device(device_->index());
    for (size_t i = 0; i < schema.size(); ++i) map((*stack)[first_ + i], schema[i]);
  }

  Call& call() { return call_; }
  // Masks among the indices: their number of elements is only known when the device has counted them.
  bool has_mask() const { return has_mask_; }
  bool has_cpu_indices() const { return has_cpu_indices_; }

 private:
  void found(const Tensor& t) {
    if (t.defined() && t.is_cuda() && !device_.has_value()) device_ = t.device();
  }

  void find_device(const c10::IValue& value) {
    if (value.isTensor()) {
      found(value.toTensor());
    } else if (value.isTensorList()) {
      for (const Tensor& t : value.toTensorVector()) found(t);
    } else if (value.isOptionalTensorList()) {
      for (const std::optional<Tensor>& t : value.toOptionalTensorVector()) found(t.value_or(Tensor()));
    } else if (value.isDevice() && !device_.has_value() && value.toDevice().is_cuda() && value.toDevice().has_index()) {
      device_ = value.toDevice();
    }
  }

  Tensor map(const Tensor& t, const std::string& argument) {
    if (!t.defined()) return t;
    const bool indices = takes_cpu_tensor(op_, argument);
    if (t.is_cpu()) {
      const bool number = t.dim() == 0 && (t.unsafeGetTensorImpl()->is_wrapped_number() || takes_cpu_scalar(op_));
      if (!indices && !number) mixed(t, argument);
      has_cpu_indices_ |= indices;
    } else if (t.device() != *device_) {
      mixed(t, argument);
    }
    has_mask_ |= indices && (t.scalar_type() == at::kBool || t.scalar_type() == at::kByte);
    return call_.host(t);
  }

  void map(c10::IValue& value, const c10::Argument& argument) {
    if (value.isTensor()) {
      value = map(value.toTensor(), argument.name());
    } else if (value.isTensorList()) {
      std::vector<Tensor> list;
      for (const Tensor& t : value.toTensorVector()) list.push_back(map(t, argument.name()));
      value = c10::IValue(list);
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (const std::optional<Tensor>& t : value.toOptionalTensorVector()) {
        list.push_back(t.has_value() ? std::optional<Tensor>(map(*t, argument.name())) : t);
      }
      value = c10::IValue(list);
    } else if (value.isDevice()) {
      value = c10::IValue(c10::Device(c10::kCPU));
    } else if (value.isGenerator()) {
      value = c10::IValue(twin_of(value.toGenerator(), *device_));
    } else if (value.isNone() && argument.type()->str() == "Generator?") {
      value = c10::IValue(twin_of(default_generator(device_->index()), *device_));
    } else {
      TORCH_CHECK(!value.isStorage(), "emulated GPU: ", op_.operator_name(), " takes a storage, and has no kernel here");
    }
  }

  [[noreturn]] void mixed(const Tensor& t, const std::string& argument) const {
    TORCH_CHECK(false, "Expected all tensors to be on the same device, but found at least two devices, ", *device_, " and ",
                t.device(), "! (emulated GPU: argument ", argument, " of size ", t.sizes(), " in a call of ", op_.operator_name(), ")");
  }

  const c10::OperatorHandle& op_;
  size_t first_;
  std::optional<c10::Device> device_;
  c10::OptionalDeviceGuard guard_;
  Call call_;
  bool has_mask_ = false, has_cpu_indices_ = false;
};

inline void count(const c10::OperatorHandle& op, Arguments& arguments) {
  if (base_name(op) == "aten::_local_scalar_dense") {
    emulated_gpu_count_download();
    emulated_gpu_count_wait();
    return;
  }
  if (is_metadata(op) || arguments.call().nothing_to_do()) return;
  emulated_gpu_count_operator(full_name(op).c_str());
  // what is read by masks, or by indices of the CPU, has had them made into indices of the device by operators of their own
  const bool prepared = base_name(op) == "aten::index";
  if (is_awaited(op) || (arguments.has_mask() && !prepared)) emulated_gpu_count_wait();
  if (arguments.has_cpu_indices() && !prepared) {
    emulated_gpu_count_upload();
    emulated_gpu_count_wait();
  }
}

// A boxed kernel that runs the CPU's.
inline void on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  Arguments arguments(op, stack);
  if (emulated_gpu_verbose()) std::fprintf(stderr, "emulated GPU: %s: %s\n", current_device().str().c_str(), full_name(op).c_str());
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  arguments.call().finish();
  count(op, arguments);
  for (size_t i = stack->size() - op.schema().returns().size(); i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = arguments.call().device(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<Tensor> list;
      for (const Tensor& t : value.toTensorVector()) list.push_back(arguments.call().device(t));
      value = c10::IValue(list);
    }
  }
}

// What every operator without a kernel of its own here runs.
inline void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  TORCH_CHECK_NOT_IMPLEMENTED(has_cuda_kernel(op), "Could not run '", op.operator_name(),
                              "' with arguments from the 'CUDA' backend (emulated GPU: libtorch has no kernel for it)");
  on_cpu(op, stack);
}

}  // namespace emulated_gpu
