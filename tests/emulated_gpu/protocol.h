// What the two halves of the emulated GPU tell each other, and what a program may ask the driver's half (`dlsym`).
//
// An address of device memory is the host's address with a tag in its upper 16 bits, which no processor accepts: a host
// that follows it dies of SIGSEGV, as with the memory of a real card, and a kernel that gets a host's address is told.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulated_gpu {

constexpr int kDevices = 2;

// 0x0f10 for cuda:0, 0x0f11 for cuda:1: bits 63 to 47 are neither all clear nor all set, nor are bits 63 to 56
constexpr int kTagShift = 48;
constexpr std::uint64_t kTag = 0x0f10;
constexpr std::uint64_t kHostMask = (std::uint64_t{1} << kTagShift) - 1;

inline std::uint64_t bits(const void* address) { return reinterpret_cast<std::uint64_t>(address); }

inline bool is_device(std::uint64_t address) {
  return address >> kTagShift >= kTag && address >> kTagShift < kTag + kDevices;
}
inline bool is_device(const void* address) { return is_device(bits(address)); }

// The host's address of device memory; other addresses as they are.
template <typename T>
T* to_host(T* address) {
  return is_device(address) ? reinterpret_cast<T*>(bits(address) & kHostMask) : address;
}

}  // namespace emulated_gpu

extern "C" {
// Running totals of this process. A program finds the function by dlsym(RTLD_DEFAULT or libcuda.so.1's handle).
struct EmulatedGpuCounts {
  std::uint64_t launches;   // operators, kernels and memsets that start work on a device, once each
  std::uint64_t waits;      // times that the host would have been blocked for the device
  std::uint64_t uploads;    // copies from the host to a device
  std::uint64_t downloads;  // copies from a device to the host
};
void emulated_gpu_counts(EmulatedGpuCounts* counts);

// the rest is for libtorch's half

// `bytes` of the current device: filled with NaN, with guards on both sides; null where it has no more
void* emulated_gpu_allocate(std::size_t bytes);
void emulated_gpu_free(void* device);
// memory of the host that copies need not wait for
void* emulated_gpu_allocate_pinned(std::size_t bytes);
void emulated_gpu_free_pinned(void* host);
int emulated_gpu_is_pinned(const void* host);
// bytes of the device in all, and free
void emulated_gpu_memory(int device, std::size_t* total, std::size_t* free);
// the device of the address, or -1
int emulated_gpu_device_of(const void* address);

// the device of this thread's current context, else 0; makes a device's primary context current
int emulated_gpu_current_device();
int emulated_gpu_set_device(int device);  // a CUresult
int emulated_gpu_has_context(int device);

// the handle of stream `id` of a device, 0 being torch's default stream
void* emulated_gpu_stream(int device, std::int64_t id);

void emulated_gpu_count_operator(const char* name);
void emulated_gpu_count_wait();
void emulated_gpu_count_upload();
void emulated_gpu_count_download();
// bytes in tensors of a device at a time, as torch counts them
void emulated_gpu_count_memory(std::uint64_t bytes);

// prints "emulated GPU: ..." where EMULATED_GPU_VERBOSE is set
int emulated_gpu_verbose();
}
