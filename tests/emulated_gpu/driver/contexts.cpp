#include "contexts.h"

#include <atomic>
#include <cstdio>
#include <vector>

#include "../protocol.h"
#include "counts.h"
#include "faults.h"
#include "results.h"

namespace emulated_gpu {
namespace {

std::atomic<bool> initialised{false};
Context primary[kDevices] = {{0}, {1}};
std::atomic<bool> retained[kDevices];
// the last one is current; a pushed null is none
thread_local std::vector<Context*> stack;

bool is_index(int device) { return device >= 0 && device < kDevices; }

bool is_context(const Context* context) {
  for (int device = 0; device < kDevices; ++device) {
    if (context == &primary[device]) return true;
  }
  return false;
}

void make_current(Context* context) {
  if (!stack.empty()) stack.pop_back();
  stack.push_back(context);
}

// CUdevice_attribute of cuda.h, as on a card of compute capability 9.0
int attribute_of(int attribute, int* value) {
  switch (attribute) {
    case 1: *value = 1024; break;                      // threads of a block
    case 2: case 3: *value = 1024; break;              // in x, y
    case 4: *value = 64; break;                        // in z
    case 5: *value = 2147483647; break;                // blocks of a grid in x
    case 6: case 7: *value = 65535; break;             // in y, z
    case 8: *value = kSharedDefault; break;            // shared memory of a block
    case 10: *value = 32; break;                       // threads of a warp
    case 12: *value = 65536; break;                    // registers of a block
    case 16: *value = 4; break;                        // multiprocessors
    case 39: *value = 2048; break;                     // threads of a multiprocessor
    case 75: *value = 9; break;                        // compute capability
    case 76: *value = 0; break;
    case 81: *value = kSharedOfMultiprocessor; break;  // shared memory of a multiprocessor
    case 82: *value = 65536; break;                    // registers of a multiprocessor
    case 97: *value = kSharedOptIn; break;             // shared memory of a block that asks for it
    case 106: *value = 32; break;                      // blocks of a multiprocessor
    case 115: *value = 0; break;                       // memory pools
    default: return refuse(kInvalidValue, "cuDeviceGetAttribute(%d) is not emulated", attribute);
  }
  return kSuccess;
}

}  // namespace

Context* current_context() { return stack.empty() ? nullptr : stack.back(); }

Context* primary_context(int device) { return &primary[device]; }

}  // namespace emulated_gpu

using namespace emulated_gpu;

EMULATED_GPU_API int cuInit(unsigned int flags) {
  if (flags != 0) return refuse(kInvalidValue, "cuInit: flags are %u, and must be 0", flags);
  if (!initialised.exchange(true)) explain_faults();
  return kSuccess;
}

EMULATED_GPU_API int cuDriverGetVersion(int* version) {
  *version = 13000;
  return kSuccess;
}

EMULATED_GPU_API int cuDeviceGetCount(int* count) {
  if (!initialised) return refuse(kNotInitialized, "cuDeviceGetCount before cuInit");
  *count = kDevices;
  return kSuccess;
}

EMULATED_GPU_API int cuDeviceGet(int* device, int index) {
  if (!initialised) return refuse(kNotInitialized, "cuDeviceGet before cuInit");
  if (!is_index(index)) return refuse(kInvalidDevice, "cuDeviceGet(%d): there are %d devices", index, kDevices);
  *device = index;
  return kSuccess;
}

EMULATED_GPU_API int cuDeviceGetName(char* name, int length, int device) {
  if (!is_index(device)) return kInvalidDevice;
  std::snprintf(name, length, "Emulated GPU");
  return kSuccess;
}

EMULATED_GPU_API int cuDeviceTotalMem_v2(std::size_t* bytes, int device) {
  if (!is_index(device)) return kInvalidDevice;
  std::size_t free;
  emulated_gpu_memory(device, bytes, &free);
  return kSuccess;
}

EMULATED_GPU_API int cuDeviceGetAttribute(int* value, int attribute, int device) {
  return is_index(device) ? attribute_of(attribute, value) : kInvalidDevice;
}

EMULATED_GPU_API int cuDevicePrimaryCtxRetain(Context** context, int device) {
  if (!initialised) return refuse(kNotInitialized, "cuDevicePrimaryCtxRetain before cuInit");
  if (!is_index(device)) return kInvalidDevice;
  retained[device] = true;
  *context = primary_context(device);
  return kSuccess;
}

// contexts stay: torch's half uses them as long as the process lives
EMULATED_GPU_API int cuDevicePrimaryCtxRelease_v2(int device) { return is_index(device) ? kSuccess : kInvalidDevice; }

EMULATED_GPU_API int cuDevicePrimaryCtxGetState(int device, unsigned int* flags, int* active) {
  if (!is_index(device)) return kInvalidDevice;
  *flags = 0;
  *active = retained[device] ? 1 : 0;
  return kSuccess;
}

EMULATED_GPU_API int cuCtxGetCurrent(Context** context) {
  *context = current_context();
  return kSuccess;
}

EMULATED_GPU_API int cuCtxSetCurrent(Context* context) {
  if (context != nullptr && !is_context(context)) return refuse(kInvalidContext, "cuCtxSetCurrent: no context at %p", static_cast<void*>(context));
  make_current(context);
  return kSuccess;
}

EMULATED_GPU_API int cuCtxPushCurrent_v2(Context* context) {
  if (!is_context(context)) return refuse(kInvalidContext, "cuCtxPushCurrent: no context at %p", static_cast<void*>(context));
  stack.push_back(context);
  return kSuccess;
}

EMULATED_GPU_API int cuCtxPopCurrent_v2(Context** context) {
  if (stack.empty()) return refuse(kInvalidContext, "cuCtxPopCurrent: this thread has no context");
  if (context != nullptr) *context = stack.back();
  stack.pop_back();
  return kSuccess;
}

EMULATED_GPU_API int cuCtxGetDevice(int* device) {
  if (current_context() == nullptr) return refuse(kInvalidContext, "cuCtxGetDevice: this thread has no context");
  *device = current_context()->device;
  return kSuccess;
}

EMULATED_GPU_API int cuCtxSynchronize() {
  if (current_context() == nullptr) return refuse(kInvalidContext, "cuCtxSynchronize: this thread has no context");
  emulated_gpu_count_wait();
  return kSuccess;
}

EMULATED_GPU_API int emulated_gpu_current_device() {
  return current_context() == nullptr ? 0 : current_context()->device;
}

EMULATED_GPU_API int emulated_gpu_set_device(int device) {
  if (!is_index(device)) return kInvalidDevice;
  cuInit(0);
  retained[device] = true;
  if (current_context() != primary_context(device)) make_current(primary_context(device));
  return kSuccess;
}

EMULATED_GPU_API int emulated_gpu_has_context(int device) { return is_index(device) && retained[device] ? 1 : 0; }
