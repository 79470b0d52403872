// Filters in the form of length and direction, several of them in one launch; src/ops/weight_norm has the equations.
//
// forward:  weight_norm_apply (a block owns the taps of one output channel)
// backward: weight_norm_backward (the same blocks)
//
// Floor: forward reads every tap once and writes it, backward reads two and writes one; a row is read again from the cache.
// A sum's order depends on the sizes alone: results are bit-identical from run to run.
#include "block_sum.cuh"
#include "weight_norm.cuh"

namespace {

// The row of this block, and the filter that it belongs to.
struct WeightNormRow {
  const WeightNormFilter* filter;
  long long row;
  long long first;  // element

  __device__ explicit WeightNormRow(const WeightNormParams& params) {
    const long long block = blockIdx.x;
    long long before = 0;
    int number = 0;
#pragma unroll
    for (int i = 0; i + 1 < kWeightNormFilters; ++i) {
      if (block >= params.filters[i].end) {
        before = params.filters[i].end;
        number = i + 1;
      }
    }
    filter = &params.filters[number];
    row = block - before;
    first = row * filter->columns;
  }
};

template <typename T>
__device__ void weight_norm_apply(const WeightNormParams& params) {
  const WeightNormRow at(params);
  const T* direction = reinterpret_cast<const T*>(at.filter->direction) + at.first;
  T* weight = reinterpret_cast<T*>(at.filter->weight) + at.first;
  double squares[1] = {0};
  for (long long i = threadIdx.x; i < at.filter->columns; i += blockDim.x) {
    squares[0] += static_cast<double>(direction[i]) * direction[i];
  }
  sum_over_block(squares, reinterpret_cast<double*>(dynamic_shared()));
  const double gain = reinterpret_cast<const T*>(at.filter->gain)[at.row];
  const T scale = static_cast<T>(gain / sqrt(squares[0]));
  for (long long i = threadIdx.x; i < at.filter->columns; i += blockDim.x) {
    weight[i] = direction[i] * scale;
  }
}

template <typename T>
__device__ void weight_norm_backward(const WeightNormParams& params) {
  const WeightNormRow at(params);
  const T* direction = reinterpret_cast<const T*>(at.filter->direction) + at.first;
  const T* grad = reinterpret_cast<const T*>(at.filter->weight_grad) + at.first;
  T* direction_grad = reinterpret_cast<T*>(at.filter->direction_grad) + at.first;
  double sums[2] = {0, 0};
  for (long long i = threadIdx.x; i < at.filter->columns; i += blockDim.x) {
    sums[0] += static_cast<double>(direction[i]) * direction[i];
    sums[1] += static_cast<double>(direction[i]) * grad[i];
  }
  sum_over_block(sums, reinterpret_cast<double*>(dynamic_shared()));
  const double norm = sqrt(sums[0]);
  const double gain = reinterpret_cast<const T*>(at.filter->gain)[at.row];
  const T scale = static_cast<T>(gain / norm);
  const T along = static_cast<T>(sums[1] / sums[0]);
  for (long long i = threadIdx.x; i < at.filter->columns; i += blockDim.x) {
    direction_grad[i] = scale * (grad[i] - along * direction[i]);
  }
  if (threadIdx.x == 0) {
    reinterpret_cast<T*>(at.filter->gain_grad)[at.row] = static_cast<T>(sums[1] / norm);
  }
}

}  // namespace

#define WEIGHT_NORM_KERNEL(stage, T, name)                       \
  extern "C" __global__ void __launch_bounds__(kWeightNormThreads) \
      name(const __grid_constant__ WeightNormParams params) {    \
    stage<T>(params);                                            \
  }

WEIGHT_NORM_KERNEL(weight_norm_apply, float, weight_norm_apply_f32)
WEIGHT_NORM_KERNEL(weight_norm_apply, double, weight_norm_apply_f64)
WEIGHT_NORM_KERNEL(weight_norm_backward, float, weight_norm_backward_f32)
WEIGHT_NORM_KERNEL(weight_norm_backward, double, weight_norm_backward_f64)
