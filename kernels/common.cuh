// What every kernel needs: the accumulator of an element type, ceiling division, dynamic shared memory.
//
// The kernels keep to plain C++17 and __syncthreads: no warp intrinsics, no inline PTX, no fast-math. So the same
// source also runs, block by block, on a machine without a GPU (tests/host_cuda).
#pragma once

// Type in which sums of products of T are carried.
template <typename T>
struct Accumulator;
template <>
struct Accumulator<float> {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};

__device__ __forceinline__ int div_up(int value, int divisor) { return (value + divisor - 1) / divisor; }

// The block's dynamic shared memory. The launch decides its size, src/cuda/launch.rs with the same formulas.
__device__ __forceinline__ unsigned char* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
  return dynamic_shared_bytes;
}
