// Runs CUDA kernels on the host, for tests: include this first, then the .cu files, and compile with a C++ compiler.
//
// Every thread of a block is a fiber with a stack of its own. A fiber runs until it reaches a point at which CUDA would
// let others go first (__syncthreads, a shuffle, __nanosleep, its end); then the next one runs, in an order that the
// caller chooses and that a shuffle of the order changes from round to round. No fiber passes a barrier before all of
// its block have reached it, nor a shuffle before all of its warp have. So a kernel whose result depends on a missing
// barrier gives different results in different orders, because here "later" really is later. An asynchronous copy
// happens when its thread waits for it and not before, which shows a missing wait.
//
// Blocks run one after the other, or `resident` of them in turns, which is how blocks that wait for each other are run;
// shared memory is swapped in and out.
//
// Beyond results, a launch reports
//   - divergence: threads that wait at a barrier or shuffle which others of the block or warp never reach, or at
//     different ones;
//   - blocks that wait for ever (for a number in global memory that nobody writes);
//   - writes beyond the dynamic shared memory that was asked for (guard bytes);
//   - copies that were started and never waited for.
// Shared memory is filled with NaN before every block, and so are the bytes after it: a read before the first write, or
// beyond the end, spoils the result. Not modelled: the order in which other threads see global writes (__threadfence).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>

#include "grid.h"

#define CUDA_ON_HOST
#define __device__
#define __host__
#define __global__
#define __shared__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __syncthreads() cuda_on_host::wait(cuda_on_host::State::kAtBarrier, __FILE__, __LINE__)
#define __nanosleep(nanoseconds) cuda_on_host::sleep()
#define __threadfence() ((void)0)
#define __shfl_xor_sync(mask, value, lanes) cuda_on_host::shuffle_xor(value, lanes, __FILE__, __LINE__)

using std::max;
using std::min;

template <typename T>
inline T __ldcg(const T* from) {
  return *from;
}

inline int atomicAdd(int* to, int value) {
  const int old = *to;
  *to += value;
  return old;
}

inline int atomicMax(int* to, int value) {
  const int old = *to;
  *to = max(old, value);
  return old;
}

namespace cuda_on_host {

// Runs a grid behind a C interface: 0, or 1 with what is wrong in `message`.
template <typename Params>
int launch(void (*kernel)(Params), const void* params, const Config* config, char* message, std::size_t length) {
  Params copy;
  std::memcpy(&copy, params, sizeof(Params));
  const std::string problem = run_grid(kernel, copy, *config);
  std::snprintf(message, length, "%s", problem.c_str());
  return problem.empty() ? 0 : 1;
}

}  // namespace cuda_on_host
