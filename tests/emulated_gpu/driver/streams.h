// Streams and events. Work is done when it is queued, so that a stream is a name that belongs to a device, and waiting
// for one is counted and no more.
#pragma once

#include <cstdint>

namespace emulated_gpu {

struct Stream {
  int device;
  std::int64_t id;  // libtorch's; 0 is its default stream
};

// The stream behind a handle if work on the current context may be queued there; else null, with the reason told.
Stream* usable_stream(const char* call, void* handle);

}  // namespace emulated_gpu
