#include "memory.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "../protocol.h"
#include "results.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(from, bytes) __asan_poison_memory_region(from, bytes)
#define UNPOISON(from, bytes) __asan_unpoison_memory_region(from, bytes)
#else
#define POISON(from, bytes) ((void)0)
#define UNPOISON(from, bytes) ((void)0)
#endif

namespace emulated_gpu {
namespace {

constexpr std::size_t kGuard = 512;                    // also the alignment that CUDA's allocator gives
constexpr std::size_t kMemory = std::size_t{16} << 30;  // of a device
constexpr unsigned char kUnwritten = 0xff;
// as float32 and twice as float64 a NaN, but none that arithmetic makes
constexpr unsigned char kGuardPattern[4] = {0xa5, 0x5a, 0xf5, 0xff};

struct Memory {
  std::mutex mutex;
  std::map<std::uint64_t, Allocation> live;  // by the host's address
  std::size_t used[kDevices] = {};
  std::map<std::uint64_t, std::size_t> pinned;
};

// never destroyed: tensors of other libraries' globals are freed after main
Memory& memory() {
  static auto* memory = new Memory;
  return *memory;
}

void fill_guard(unsigned char* guard, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) guard[i] = kGuardPattern[i % 4];
}

// reads what is poisoned for everybody else
__attribute__((no_sanitize("address"))) bool holds_pattern(const unsigned char* guard, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    if (guard[i] != kGuardPattern[i % 4]) return false;
  }
  return true;
}

// The guards of an allocation end and begin with it; the last one reaches to the end of what the host gave.
struct Guards {
  unsigned char *before, *after;
  std::size_t after_bytes;
};
Guards guards_of(std::uint64_t host, std::size_t bytes) {
  auto* first = reinterpret_cast<unsigned char*>(host);
  const std::size_t rounded = (bytes + kGuard - 1) / kGuard * kGuard;
  return {first - kGuard, first + bytes, rounded - bytes + kGuard};
}

}  // namespace

void* allocate(int device, std::size_t bytes) {
  const Guards sizes = guards_of(kGuard, bytes);
  Memory& all = memory();
  {
    const std::lock_guard<std::mutex> lock(all.mutex);
    if (bytes > kMemory - all.used[device]) return nullptr;
    all.used[device] += bytes;
  }
  auto* raw = static_cast<unsigned char*>(std::aligned_alloc(kGuard, kGuard + bytes + sizes.after_bytes));
  if (raw == nullptr) die("the host has no memory for %zu bytes of cuda:%d", bytes, device);
  const std::uint64_t host = bits(raw + kGuard);
  const Guards guards = guards_of(host, bytes);
  fill_guard(guards.before, kGuard);
  fill_guard(guards.after, guards.after_bytes);
  std::memset(raw + kGuard, kUnwritten, bytes);
  POISON(guards.before, kGuard);
  POISON(guards.after, guards.after_bytes);
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.live[host] = {host, bytes, device};
  return reinterpret_cast<void*>(host | (kTag + device) << kTagShift);
}

void release(void* address) {
  if (address == nullptr) return;
  Memory& all = memory();
  Allocation allocation;
  {
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.live.find(bits(address) & kHostMask);
    if (!is_device(address) || found == all.live.end()) die("%p is freed, and is no device memory that is allocated", address);
    allocation = found->second;
    all.live.erase(found);
    all.used[allocation.device] -= allocation.bytes;
  }
  if (!intact(allocation)) {
    die("somebody wrote outside of an allocation of %zu bytes on cuda:%d, which is seen when it is freed", allocation.bytes,
        allocation.device);
  }
  const Guards guards = guards_of(allocation.host, allocation.bytes);
  UNPOISON(guards.before, kGuard);
  UNPOISON(guards.after, guards.after_bytes);
  std::free(guards.before);
}

bool find(int device, const void* address, std::size_t bytes, Allocation* found) {
  if (bits(address) >> kTagShift != kTag + device) return false;
  const std::uint64_t host = bits(address) & kHostMask;
  Memory& all = memory();
  const std::lock_guard<std::mutex> lock(all.mutex);
  auto next = all.live.upper_bound(host);
  if (next == all.live.begin()) return false;
  *found = std::prev(next)->second;
  return found->device == device && host + bytes <= found->host + found->bytes;
}

bool intact(const Allocation& allocation) {
  const Guards guards = guards_of(allocation.host, allocation.bytes);
  return holds_pattern(guards.before, kGuard) && holds_pattern(guards.after, guards.after_bytes);
}

bool is_pinned(const void* host) {
  Memory& all = memory();
  const std::lock_guard<std::mutex> lock(all.mutex);
  auto next = all.pinned.upper_bound(bits(host));
  if (next == all.pinned.begin()) return false;
  const auto& [first, bytes] = *std::prev(next);
  return bits(host) < first + bytes;
}

}  // namespace emulated_gpu

using namespace emulated_gpu;

EMULATED_GPU_API void* emulated_gpu_allocate(std::size_t bytes) {
  return allocate(emulated_gpu_current_device(), bytes);
}
EMULATED_GPU_API void emulated_gpu_free(void* device) { release(device); }

EMULATED_GPU_API void* emulated_gpu_allocate_pinned(std::size_t bytes) {
  void* host = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (host != nullptr) {
    const std::lock_guard<std::mutex> lock(memory().mutex);
    memory().pinned[bits(host)] = bytes;
  }
  return host;
}
EMULATED_GPU_API void emulated_gpu_free_pinned(void* host) {
  {
    const std::lock_guard<std::mutex> lock(memory().mutex);
    memory().pinned.erase(bits(host));
  }
  std::free(host);
}
EMULATED_GPU_API int emulated_gpu_is_pinned(const void* host) { return is_pinned(host) ? 1 : 0; }

EMULATED_GPU_API void emulated_gpu_memory(int device, std::size_t* total, std::size_t* free) {
  const std::lock_guard<std::mutex> lock(memory().mutex);
  *total = kMemory;
  *free = kMemory - memory().used[device];
}

EMULATED_GPU_API int emulated_gpu_device_of(const void* address) {
  return is_device(address) ? static_cast<int>((bits(address) >> kTagShift) - kTag) : -1;
}
