// libtorch's allocators for the emulated devices: memory of the driver's half, with the counts that libtorch keeps.
#pragma once

#include <c10/core/CachingDeviceAllocator.h>

#include <mutex>

#include "../protocol.h"

namespace emulated_gpu {

inline c10::Device device_of(int index) { return {c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)}; }

// Memory of the current device, as libtorch's own allocator gives it.
class Allocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const int device = emulated_gpu_current_device();
    emulated_gpu_set_device(device);  // the first memory makes the context, as on a card
    if (bytes == 0) return {nullptr, device_of(device)};
    void* memory = emulated_gpu_allocate(bytes);
    TORCH_CHECK_WITH(OutOfMemoryError, memory != nullptr, "CUDA out of memory. Tried to allocate ", bytes,
                     " bytes on the emulated cuda:", device);
    const size_t rounded = (bytes + 511) / 512 * 512;  // as the real one does
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stats_[device].allocated_bytes[0].increase(rounded);
      emulated_gpu_count_memory(stats_[device].allocated_bytes[0].current);
    }
    return {memory, new Block{this, device, memory, rounded}, &release, device_of(device)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to_host(to), to_host(from), bytes); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}

  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stats_[device];
  }
  void resetAccumulatedStats(c10::DeviceIndex device) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_[device].allocated_bytes[0].reset_accumulated();
  }
  void resetPeakStats(c10::DeviceIndex device) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_[device].allocated_bytes[0].reset_peak();
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override {
    size_t total, free;
    emulated_gpu_memory(device, &total, &free);
    return {free, total};
  }

 private:
  struct Block {
    Allocator* owner;
    int device;
    void* memory;
    size_t rounded;
  };

  static void release(void* context) {
    const auto* block = static_cast<Block*>(context);
    emulated_gpu_free(block->memory);
    {
      const std::lock_guard<std::mutex> lock(block->owner->mutex_);
      block->owner->stats_[block->device].allocated_bytes[0].decrease(block->rounded);
    }
    delete block;
  }

  std::mutex mutex_;
  c10::CachingDeviceAllocator::DeviceStats stats_[kDevices];
};

// Never destroyed: tensors of other libraries' globals outlive this one's.
inline Allocator& allocator() {
  static auto* allocator = new Allocator;
  return *allocator;
}

// Memory of the host that copies to and from a device need not wait for.
class PinnedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* memory = bytes == 0 ? nullptr : emulated_gpu_allocate_pinned(bytes);
    TORCH_CHECK(bytes == 0 || memory != nullptr, "no pinned memory for ", bytes, " bytes");
    return {memory, memory, &emulated_gpu_free_pinned, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &emulated_gpu_free_pinned; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

inline PinnedAllocator& pinned_allocator() {
  static auto* allocator = new PinnedAllocator;
  return *allocator;
}

// above libtorch's own, which is what a process gets that has the real half too
const int set_allocator = (c10::SetAllocator(c10::DeviceType::CUDA, &allocator(), 255), 0);

}  // namespace emulated_gpu
