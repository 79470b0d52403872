// Memory of the driver's own, memsets and copies.
#include <cstring>

#include "../protocol.h"
#include "contexts.h"
#include "counts.h"
#include "memory.h"
#include "results.h"
#include "streams.h"

namespace emulated_gpu {
namespace {

void* address(std::uint64_t value) { return reinterpret_cast<void*>(value); }

// Whether `bytes` at `address` are memory of the current device; told where they are not.
bool is_ours(const char* call, void* address, std::size_t bytes) {
  if (current_context() == nullptr) {
    refuse(kInvalidContext, "%s: this thread has no context", call);
    return false;
  }
  Allocation found;
  if (bytes > 0 && !find(current_context()->device, address, bytes, &found)) {
    refuse(kInvalidValue, "%s: %zu bytes at %p are not within an allocation of cuda:%d", call, bytes, address, current_context()->device);
    return false;
  }
  return true;
}

bool is_host(const char* call, const void* address) {
  if (is_device(address)) refuse(kInvalidValue, "%s: %p is device memory, where the host's is meant", call, address);
  return !is_device(address);
}

int upload(const char* call, std::uint64_t to, const void* from, std::size_t bytes, bool waits) {
  if (!is_ours(call, address(to), bytes) || !is_host(call, from)) return kInvalidValue;
  std::memcpy(to_host(address(to)), from, bytes);
  emulated_gpu_count_upload();
  if (waits) emulated_gpu_count_wait();
  return kSuccess;
}

int download(const char* call, void* to, std::uint64_t from, std::size_t bytes, bool waits) {
  if (!is_ours(call, address(from), bytes) || !is_host(call, to)) return kInvalidValue;
  std::memcpy(to, to_host(address(from)), bytes);
  emulated_gpu_count_download();
  if (waits) emulated_gpu_count_wait();
  return kSuccess;
}

int set(const char* call, std::uint64_t to, unsigned char value, std::size_t bytes) {
  if (!is_ours(call, address(to), bytes)) return kInvalidValue;
  std::memset(to_host(address(to)), value, bytes);
  count_memset();
  return kSuccess;
}

int copy(const char* call, std::uint64_t to, std::uint64_t from, std::size_t bytes) {
  if (!is_ours(call, address(to), bytes) || !is_ours(call, address(from), bytes)) return kInvalidValue;
  std::memmove(to_host(address(to)), to_host(address(from)), bytes);
  emulated_gpu_count_operator("memcpy");
  return kSuccess;
}

}  // namespace
}  // namespace emulated_gpu

using namespace emulated_gpu;

EMULATED_GPU_API int cuMemAlloc_v2(std::uint64_t* to, std::size_t bytes) {
  if (current_context() == nullptr) return refuse(kInvalidContext, "cuMemAlloc: this thread has no context");
  if (bytes == 0) return kInvalidValue;
  *to = bits(allocate(current_context()->device, bytes));
  return *to == 0 ? kOutOfMemory : kSuccess;
}

EMULATED_GPU_API int cuMemFree_v2(std::uint64_t from) {
  emulated_gpu_count_wait();
  release(address(from));
  return kSuccess;
}

EMULATED_GPU_API int cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  if (current_context() == nullptr) return refuse(kInvalidContext, "cuMemGetInfo: this thread has no context");
  emulated_gpu_memory(current_context()->device, total, free);
  return kSuccess;
}

EMULATED_GPU_API int cuMemsetD8_v2(std::uint64_t to, unsigned char value, std::size_t bytes) { return set("cuMemsetD8", to, value, bytes); }

EMULATED_GPU_API int cuMemsetD8Async(std::uint64_t to, unsigned char value, std::size_t bytes, void* stream) {
  if (usable_stream("cuMemsetD8Async", stream) == nullptr) return kInvalidHandle;
  return set("cuMemsetD8Async", to, value, bytes);
}

EMULATED_GPU_API int cuMemcpyHtoD_v2(std::uint64_t to, const void* from, std::size_t bytes) {
  return upload("cuMemcpyHtoD", to, from, bytes, true);
}

EMULATED_GPU_API int cuMemcpyHtoDAsync_v2(std::uint64_t to, const void* from, std::size_t bytes, void* stream) {
  if (usable_stream("cuMemcpyHtoDAsync", stream) == nullptr) return kInvalidHandle;
  return upload("cuMemcpyHtoDAsync", to, from, bytes, !is_pinned(from));
}

EMULATED_GPU_API int cuMemcpyDtoH_v2(void* to, std::uint64_t from, std::size_t bytes) {
  return download("cuMemcpyDtoH", to, from, bytes, true);
}

EMULATED_GPU_API int cuMemcpyDtoHAsync_v2(void* to, std::uint64_t from, std::size_t bytes, void* stream) {
  if (usable_stream("cuMemcpyDtoHAsync", stream) == nullptr) return kInvalidHandle;
  return download("cuMemcpyDtoHAsync", to, from, bytes, !is_pinned(to));
}

EMULATED_GPU_API int cuMemcpyDtoD_v2(std::uint64_t to, std::uint64_t from, std::size_t bytes) { return copy("cuMemcpyDtoD", to, from, bytes); }

EMULATED_GPU_API int cuMemcpyDtoDAsync_v2(std::uint64_t to, std::uint64_t from, std::size_t bytes, void* stream) {
  if (usable_stream("cuMemcpyDtoDAsync", stream) == nullptr) return kInvalidHandle;
  return copy("cuMemcpyDtoDAsync", to, from, bytes);
}

EMULATED_GPU_API int cuMemAllocHost_v2(void** host, std::size_t bytes) {
  *host = emulated_gpu_allocate_pinned(bytes);
  return *host == nullptr ? kOutOfMemory : kSuccess;
}

EMULATED_GPU_API int cuMemFreeHost(void* host) {
  emulated_gpu_free_pinned(host);
  return kSuccess;
}
