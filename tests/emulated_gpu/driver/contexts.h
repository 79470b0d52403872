// Devices, their primary contexts, and the context that is current on a thread.
#pragma once

namespace emulated_gpu {

struct Context {
  int device;
};

// Null where the thread has none.
Context* current_context();

Context* primary_context(int device);

constexpr int kSharedDefault = 48 * 1024;
constexpr int kSharedOptIn = 227 * 1024;
constexpr int kSharedOfMultiprocessor = 228 * 1024;

}  // namespace emulated_gpu
