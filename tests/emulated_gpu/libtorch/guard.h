// Devices, streams and events as libtorch asks for them. The current device is that of the driver's current context, as
// with CUDA's runtime; current streams are libtorch's own affair, and each thread's.
#pragma once

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <atomic>

#include "allocator.h"

// functions of the driver's half
extern "C" {
int cuEventCreate(void** event, unsigned int flags);
int cuEventDestroy_v2(void* event);
int cuEventRecord(void* event, void* stream);
int cuEventQuery(void* event);
int cuEventSynchronize(void* event);
int cuEventElapsedTime_v2(float* milliseconds, void* begin, void* end);
int cuStreamWaitEvent(void* stream, void* event, unsigned int flags);
int cuStreamSynchronize(void* stream);
int cuGetErrorName(int code, const char** text);
}

namespace emulated_gpu {

inline void check(int code) {
  const char* name = nullptr;
  if (code != 0) cuGetErrorName(code, &name);
  TORCH_CHECK(code == 0, "CUDA error: ", name == nullptr ? "unknown" : name, " (emulated GPU)");
}

inline c10::Device current_device() { return device_of(emulated_gpu_current_device()); }

inline void set_current_device(c10::Device device) {
  TORCH_CHECK(device.is_cuda(), "expected a CUDA device, got ", device);
  if (!device.has_index()) return;
  TORCH_CHECK(device.index() < kDevices, "CUDA error: invalid device ordinal ", device);
  check(emulated_gpu_set_device(device.index()));
}

// Numbers of streams: 0 is the default, and these are handed out in turns.
constexpr int kPool = 32;

inline c10::StreamId& current_stream_of(c10::Device device) {
  static thread_local c10::StreamId streams[kDevices] = {};
  return streams[device.has_index() ? device.index() : current_device().index()];
}

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return c10::DeviceType::CUDA; }
  c10::Device getDevice() const override { return current_device(); }
  void setDevice(c10::Device device) const override { set_current_device(device); }
  void uncheckedSetDevice(c10::Device device) const noexcept override { emulated_gpu_set_device(device.index()); }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = current_device();
    // a thread without a context gets none by a guard that changes nothing
    if (before != device) set_current_device(device);
    return before;
  }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }

  c10::Stream getStream(c10::Device device) const override { return stream(device, current_stream_of(device)); }
  c10::Stream getDefaultStream(c10::Device device) const override { return stream(device, 0); }
  c10::Stream getNewStream(c10::Device device, int) const override { return getStreamFromGlobalPool(device, false); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool high_priority) const override {
    static std::atomic<int> next{0};
    return stream(device, 1 + next++ % kPool + (high_priority ? kPool : 0));
  }
  c10::Stream exchangeStream(c10::Stream with) const override {
    auto& current = current_stream_of(with.device());
    const c10::Stream before = stream(with.device(), current);
    current = with.id();
    return before;
  }
  void* getStreamNativeHandle(const c10::Stream of) const override { return handle(of); }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream& of) const override {
    const c10::DeviceGuard guard(of.device());
    check(cuStreamSynchronize(handle(of)));
  }
  void synchronizeDevice(const c10::DeviceIndex) const override { emulated_gpu_count_wait(); }

  void record(void** event, const c10::Stream& on, const c10::DeviceIndex device, const c10::EventFlag) const override {
    TORCH_CHECK(device == -1 || device == on.device_index(), "Event device index ", static_cast<int>(device),
                " does not match recording stream's device index ", static_cast<int>(on.device_index()), ".");
    const c10::DeviceGuard guard(on.device());
    emulated_gpu_set_device(on.device_index());
    if (*event == nullptr) check(cuEventCreate(event, 0));
    check(cuEventRecord(*event, handle(on)));
  }
  void block(void* event, const c10::Stream& waits) const override {
    if (event == nullptr) return;
    const c10::DeviceGuard guard(waits.device());
    emulated_gpu_set_device(waits.device_index());
    check(cuStreamWaitEvent(handle(waits), event, 0));
  }
  bool queryEvent(void* event) const override {
    if (event != nullptr) check(cuEventQuery(event));
    return true;
  }
  void synchronizeEvent(void* event) const override {
    if (event != nullptr) check(cuEventSynchronize(event));
  }
  double elapsedTime(void* begin, void* end, const c10::DeviceIndex) const override {
    float milliseconds = 0;
    check(cuEventElapsedTime_v2(&milliseconds, begin, end));
    return milliseconds;
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    if (event != nullptr) cuEventDestroy_v2(event);
  }

 private:
  static c10::Stream stream(c10::Device device, c10::StreamId id) {
    return c10::Stream(c10::Stream::UNSAFE, device.has_index() ? device : current_device(), id);
  }
  static void* handle(const c10::Stream& of) { return emulated_gpu_stream(of.device_index(), of.id()); }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

}  // namespace emulated_gpu
