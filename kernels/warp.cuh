// Sums over the lanes of a warp. All lanes call these together; the order of a sum is fixed.
#pragma once

#include "common.cuh"

constexpr int kWarp = 32;

__device__ __forceinline__ int lane_of_warp() { return threadIdx.x % kWarp; }

// The sum, the same to the bit in all lanes.
__device__ __forceinline__ double sum_over_warp(double value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, step);
  }
  return value;
}

// The largest, in all lanes.
__device__ __forceinline__ double max_over_warp(double value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = max(value, __shfl_xor_sync(0xffffffffu, value, step));
  }
  return value;
}

// What the lanes before this one hold together, and all of them.
struct WarpPrefix {
  double before;
  double all;

  __device__ __forceinline__ explicit WarpPrefix(double value) : before(0), all(value) {
    const int lane = lane_of_warp();
#pragma unroll
    for (int step = 1; step < kWarp; step *= 2) {
      const double partner = __shfl_xor_sync(0xffffffffu, all, step);
      if ((lane & step) != 0) {
        before += partner;
      }
      all += partner;
    }
  }
};
