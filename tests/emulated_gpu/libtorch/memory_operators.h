// The operators that make tensors, copy between devices, and put a tensor over other memory.
#pragma once

#include <ATen/EmptyTensor.h>
#include <ATen/native/TensorFactories.h>

#include "call.h"
#include "guard.h"

namespace emulated_gpu {

constexpr c10::DispatchKeySet kCuda{c10::DispatchKey::CUDA};

inline void check_options(std::optional<at::Layout> layout, std::optional<bool> pin) {
  TORCH_CHECK(layout.value_or(at::kStrided) == at::kStrided, "emulated GPU: only strided tensors");
  TORCH_CHECK(!pin.value_or(false), "Only dense CPU tensors can be pinned");
}

inline Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout> layout,
                    std::optional<at::Device> device, std::optional<bool> pin, std::optional<at::MemoryFormat> format) {
  check_options(layout, pin);
  const c10::DeviceGuard guard(device.value_or(current_device()));
  return at::detail::empty_generic(size, &allocator(), kCuda, c10::dtype_or_default(dtype), format);
}

inline Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                            std::optional<at::Layout> layout, std::optional<at::Device> device, std::optional<bool> pin) {
  check_options(layout, pin);
  const c10::DeviceGuard guard(device.value_or(current_device()));
  return at::detail::empty_strided_generic(size, stride, &allocator(), kCuda, c10::dtype_or_default(dtype));
}

// Zeros without memory: second derivatives of abs and others end in them. They are given memory where they are read.
inline Tensor efficient_zeros(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout> layout,
                              std::optional<at::Device> device, std::optional<bool> pin) {
  check_options(layout, pin);
  at::native::ZeroTensorAllocator nowhere(device.value_or(current_device()));
  return at::detail::empty_generic(size, &nowhere, kCuda | c10::DispatchKeySet(c10::DispatchKey::ZeroTensor),
                                   c10::dtype_or_default(dtype), std::nullopt);
}

// Counts a copy between devices as a kernel, as it may convert and permute; others by their direction. The host waits
// unless it asked not to and its memory is pinned.
inline void count_copy(const Tensor& to, const Tensor& from, bool non_blocking) {
  if (to.numel() == 0) return;
  if (to.is_cuda() && from.is_cuda()) return emulated_gpu_count_operator("aten::copy_");
  const Tensor& host = to.is_cuda() ? from : to;
  to.is_cuda() ? emulated_gpu_count_upload() : emulated_gpu_count_download();
  if (!non_blocking || emulated_gpu_is_pinned(host.const_data_ptr()) == 0) emulated_gpu_count_wait();
}

inline Tensor& copy_(Tensor& to, const Tensor& from, bool non_blocking) {
  const c10::OptionalDeviceGuard guard(to.is_cuda() ? to.device() : from.device());
  emulated_gpu_set_device(emulated_gpu_current_device());
  Call call;
  const at::AutoDispatchBelowADInplaceOrView below;
  call.host(to).copy_(call.host(from));
  count_copy(to, from, non_blocking);
  return to;
}

inline Tensor& set_storage(Tensor& self, at::Storage source, int64_t offset, at::IntArrayRef size, at::IntArrayRef stride) {
  TORCH_CHECK(source.device() == self.device(), "Attempted to set the storage of a tensor on device \"", self.device(),
              "\" to a storage on different device \"", source.device(), "\".");
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  impl->set_storage_offset(offset);
  if (stride.empty() && !size.empty()) {
    impl->set_sizes_contiguous(size);
  } else {
    impl->set_sizes_and_strides(size, stride);
  }
  return self;
}

inline Tensor& set_tensor(Tensor& self, const Tensor& source) {
  return set_storage(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}

}  // namespace emulated_gpu
