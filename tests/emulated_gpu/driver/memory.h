// Device memory: memory of the host under tagged addresses, with guards on both sides.
//
// New memory is filled with ones, and guards with a pattern that also reads as NaN in float32 and float64: what reads
// before it writes, or outside of its allocation, gets NaN. A guard that has changed is a write outside. Under
// AddressSanitizer guards are poisoned, which names the access itself.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulated_gpu {

struct Allocation {
  std::uint64_t host;  // of the first byte
  std::size_t bytes;
  int device;
};

// Null where the device has no more.
void* allocate(int device, std::size_t bytes);
void release(void* address);

// Finds the live allocation of `device` that holds all of [address, address + bytes).
bool find(int device, const void* address, std::size_t bytes, Allocation* found);

// Whether nobody has written outside of the allocation.
bool intact(const Allocation& allocation);

bool is_pinned(const void* host);

}  // namespace emulated_gpu
