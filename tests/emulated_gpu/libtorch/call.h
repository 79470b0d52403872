// One operator's call: CPU tensors over the memory of its device tensors, and back.
#pragma once

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>

#include <vector>

#include "allocator.h"

namespace emulated_gpu {

using at::Tensor;

class Call {
 public:
  // A CPU tensor over the same memory. Views of one device storage share one CPU storage, so that libtorch sees overlaps.
  Tensor host(const Tensor& t) {
    if (!t.defined() || !t.is_cuda()) return t;
    for (const Mapped& known : mapped_) {
      if (known.device.unsafeGetTensorImpl() == t.unsafeGetTensorImpl()) return known.cpu;
    }
    Tensor cpu = at::detail::make_tensor<c10::TensorImpl>(host_storage(t.storage()), c10::DispatchKeySet(c10::DispatchKey::CPU), t.dtype());
    auto* impl = cpu.unsafeGetTensorImpl();
    impl->set_storage_offset(t.storage_offset());
    impl->set_sizes_and_strides(t.sizes(), t.strides());
    if (t.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
    mapped_.push_back({t, cpu});
    return cpu;
  }

  // What the CPU's kernel did to the shape and the memory of an argument (`out` tensors, resize_).
  void finish() {
    for (const Mapped& m : mapped_) {
      c10::StorageImpl* storage = m.device.storage().unsafeGetStorageImpl();
      const c10::Storage& cpu = m.cpu.storage();
      if (cpu.data() != to_host(storage->data())) {
        c10::DataPtr fresh = allocator().allocate(cpu.nbytes());
        if (cpu.nbytes() > 0) std::memcpy(to_host(fresh.get()), cpu.data(), cpu.nbytes());
        storage->set_data_ptr_noswap(std::move(fresh));
        storage->set_nbytes(cpu.nbytes());
      }
      if (m.device.sizes() != m.cpu.sizes() || m.device.strides() != m.cpu.strides()) {
        m.device.unsafeGetTensorImpl()->set_sizes_and_strides(m.cpu.sizes(), m.cpu.strides());
      }
    }
  }

  // A result of the CPU's kernel as a device tensor: an argument, a view of one, or a new tensor.
  Tensor device(const Tensor& cpu) {
    if (!cpu.defined() || cpu.is_cuda()) return cpu;
    for (const Mapped& m : mapped_) {
      if (m.cpu.unsafeGetTensorImpl() == cpu.unsafeGetTensorImpl()) return m.device;
    }
    for (const Mapped& m : mapped_) {
      if (cpu.has_storage() && m.cpu.storage().unsafeGetStorageImpl() == cpu.storage().unsafeGetStorageImpl()) {
        return view(m.device, cpu);
      }
    }
    return upload(cpu);
  }

  // Whether there are tensors, and all of them are empty: nothing is launched for them.
  bool nothing_to_do() const {
    for (const Mapped& m : mapped_) {
      if (m.device.numel() > 0) return false;
    }
    return !mapped_.empty();
  }

 private:
  struct Mapped {
    Tensor device, cpu;
  };

  c10::Storage host_storage(const c10::Storage& device) {
    for (const auto& [known, cpu] : storages_) {
      if (known == device.unsafeGetStorageImpl()) return cpu;
    }
    c10::Storage cpu(c10::Storage::use_byte_size_t(), device.nbytes(),
                     c10::DataPtr(to_host(device.mutable_data()), c10::Device(c10::kCPU)), c10::GetAllocator(c10::kCPU), true);
    storages_.emplace_back(device.unsafeGetStorageImpl(), cpu);
    return cpu;
  }

  static Tensor view(const Tensor& of, const Tensor& cpu) {
    Tensor view = at::detail::make_tensor<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(of.storage()), of.key_set(), cpu.dtype());
    view.unsafeGetTensorImpl()->set_storage_offset(cpu.storage_offset());
    view.unsafeGetTensorImpl()->set_sizes_and_strides(cpu.sizes(), cpu.strides());
    return view;
  }

  // On the current device.
  static Tensor upload(const Tensor& cpu) {
    Tensor t = at::detail::empty_strided_generic(cpu.sizes(), cpu.strides(), &allocator(),
                                                 c10::DispatchKeySet(c10::DispatchKey::CUDA), cpu.scalar_type());
    if (cpu.numel() > 0) {
      const size_t bytes = at::detail::computeStorageNbytes(cpu.sizes(), cpu.strides(), cpu.element_size());
      std::memcpy(to_host(t.mutable_data_ptr()), cpu.const_data_ptr(), bytes);
    }
    return t;
  }

  std::vector<Mapped> mapped_;
  std::vector<std::pair<c10::StorageImpl*, c10::Storage>> storages_;
};

}  // namespace emulated_gpu
