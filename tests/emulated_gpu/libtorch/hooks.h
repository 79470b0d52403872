// What libtorch asks its CUDA half about itself.
#pragma once

#include <ATen/detail/CUDAHooksInterface.h>

#include "generator.h"
#include "guard.h"

namespace at {

// libtorch looks for a class of this name
class CUDAHooks final : public CUDAHooksInterface {
 public:
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  long versionCUDART() const override { return 13000; }
  std::string showConfig() const override { return "emulated GPU\n"; }

  DeviceIndex deviceCount() const override { return emulated_gpu::kDevices; }
  int getNumGPUs() const override { return emulated_gpu::kDevices; }
  bool hasPrimaryContext(DeviceIndex device) const override { return emulated_gpu_has_context(device) != 0; }
  DeviceIndex current_device() const override { return getCurrentDevice(); }
  DeviceIndex getCurrentDevice() const override { return emulated_gpu::current_device().index(); }
  void setCurrentDevice(DeviceIndex device) const override { emulated_gpu::set_current_device(emulated_gpu::device_of(device)); }
  DeviceIndex exchangeDevice(DeviceIndex device) const override {
    const DeviceIndex before = getCurrentDevice();
    if (device >= 0) setCurrentDevice(device);
    return before;
  }
  DeviceIndex maybeExchangeDevice(DeviceIndex device) const override { return exchangeDevice(device); }
  void deviceSynchronize(DeviceIndex) const override { emulated_gpu_count_wait(); }

  const Generator& getDefaultGenerator(DeviceIndex device) const override {
    return emulated_gpu::default_generator(device < 0 ? getCurrentDevice() : device);
  }
  Generator getNewGenerator(DeviceIndex device) const override {
    return make_generator<emulated_gpu::Generator>(device < 0 ? getCurrentDevice() : device);
  }
  Allocator* getCUDADeviceAllocator() const override { return &emulated_gpu::allocator(); }
  Allocator* getPinnedMemoryAllocator() const override { return &emulated_gpu::pinned_allocator(); }
  bool isPinnedPtr(const void* data) const override { return emulated_gpu_is_pinned(data) != 0; }
  Device getDeviceFromPtr(void* data) const override {
    const int device = emulated_gpu_device_of(data);
    TORCH_CHECK(device >= 0, "The specified pointer resides on host memory and is not registered with any CUDA device.");
    return emulated_gpu::device_of(device);
  }
};

REGISTER_CUDA_HOOKS(CUDAHooks)

}  // namespace at
