// From raw numbers to the table of a spline's bins.
#pragma once

#include "spline.cuh"
#include "warp.cuh"

namespace {

constexpr int kBinFields = 6;  // x0, width, y0, height, P, Q
constexpr double kMin = 1e-3;  // twin: MIN in src/ops/spline/mod.rs

// exp(raw - largest) of a set's raw lengths, and their sum; made by a warp.
template <typename T>
struct Softmax {
  const T* raw;
  double largest;
  double total;

  __device__ __forceinline__ Softmax(const T* raw, int bins) : raw(raw), largest(raw[0]), total(0) {
    for (int j = lane_of_warp(); j < bins; j += kWarp) {
      largest = max(largest, static_cast<double>(raw[j]));
    }
    largest = max_over_warp(largest);
    for (int j = lane_of_warp(); j < bins; j += kWarp) {
      total += exp(static_cast<double>(raw[j]) - largest);
    }
    total = sum_over_warp(total);
  }

  __device__ __forceinline__ double operator[](int j) const {
    return exp(static_cast<double>(raw[j]) - largest) / total;
  }
};

// Knots of one axis, made by a warp into every second pair of fields: starts to table[0], lengths to table[1]. Lane j owns
// the bins j, j + 32, ...
template <typename T>
__device__ void knots_of_axis(const T* raw, int bins, double tail, T* table) {
  const Softmax<T> softmax(raw, bins);
  double passed = 0;
  for (int first = 0; first < bins; first += kWarp) {
    const int j = first + lane_of_warp();
    const double length = j < bins ? kMin + (1 - kMin * bins) * softmax[j] : 0.0;
    const WarpPrefix prefix(length);
    if (j < bins) {
      const double at = passed + prefix.before;
      const double start = 2 * tail * at - tail;
      // the last knot is set, not summed up, so that the spline meets its tail exactly
      const double end = j + 1 < bins ? 2 * tail * (at + length) - tail : tail;
      table[j * kBinFields] = static_cast<T>(start);
      table[j * kBinFields + 1] = static_cast<T>(end - start);
    }
    passed += prefix.all;
  }
}

__device__ double softplus(double raw) { return max(raw, 0.0) + log1p(exp(-fabs(raw))); }

__device__ double sigmoid(double raw) {
  const double decay = exp(-fabs(raw));
  return (raw >= 0 ? 1.0 : decay) / (1 + decay);
}

// The last two fields of bin j, from its lengths and a set's raw derivatives.
template <typename T>
__device__ void slopes_of_bin(const SplineParams& params, const T* raw, int j, T* table) {
  const double before = j > 0 ? kMin + softplus(static_cast<double>(raw[j - 1]) + params.offset) : 1.0;
  const double after = j + 1 < params.bins ? kMin + softplus(static_cast<double>(raw[j]) + params.offset) : 1.0;
  T* bin = table + j * kBinFields;
  const double slope_inverse = static_cast<double>(bin[1]) / static_cast<double>(bin[3]);
  bin[4] = static_cast<T>(before * slope_inverse);
  bin[5] = static_cast<T>(after * slope_inverse);
}

// A set's raw lengths along one axis.
template <typename T>
__device__ __forceinline__ const T* raw_lengths(const SplineParams& params, int axis, long long set) {
  return reinterpret_cast<const T*>(axis == 0 ? params.widths : params.heights) + set * params.bins;
}

// A set's raw derivatives.
template <typename T>
__device__ __forceinline__ const T* raw_derivatives(const SplineParams& params, long long set) {
  return reinterpret_cast<const T*>(params.derivatives) + set * (params.bins - 1);
}

// The table [P][bins][6], where each element has a set of its own: a warp makes that of a set, each lane its own bins.
template <typename T>
__device__ void spline_knots(const SplineParams& params) {
  const int warps = blockDim.x / kWarp;
  const long long first = static_cast<long long>(blockIdx.x) * warps + threadIdx.x / kWarp;
  for (long long set = first; set < params.sets; set += static_cast<long long>(gridDim.x) * warps) {
    T* table = reinterpret_cast<T*>(params.table) + set * params.bins * kBinFields;
#pragma unroll 1  // the two axes in one piece of code
    for (int axis = 0; axis < 2; ++axis) {
      knots_of_axis(raw_lengths<T>(params, axis, set), params.bins, params.tail, table + 2 * axis);
    }
    for (int j = lane_of_warp(); j < params.bins; j += kWarp) {
      slopes_of_bin(params, raw_derivatives<T>(params, set), j, table);
    }
  }
}

// The table of the one set, made by all threads of a block in shared memory; the first block keeps it for backward.
template <typename T>
__device__ void shared_knots(const SplineParams& params, T* table) {
  const int warps = blockDim.x / kWarp;
#pragma unroll 1
  for (int axis = threadIdx.x / kWarp; axis < 2; axis += warps) {
    knots_of_axis(raw_lengths<T>(params, axis, 0), params.bins, params.tail, table + 2 * axis);
  }
  __syncthreads();  // the lengths of both axes are complete
  for (int j = threadIdx.x; j < params.bins; j += blockDim.x) {
    slopes_of_bin(params, raw_derivatives<T>(params, 0), j, table);
  }
  __syncthreads();  // the table is complete
  if (blockIdx.x == 0) {
    for (int i = threadIdx.x; i < params.bins * kBinFields; i += blockDim.x) {
      reinterpret_cast<T*>(params.table)[i] = table[i];
    }
  }
}

}  // namespace
