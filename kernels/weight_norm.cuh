// Parameters of the kernels of weight-normalised filters.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block: a power of two, for tree sums. Twin: THREADS in src/cuda/weight_norm.rs.
constexpr int kWeightNormThreads = 128;
// Filters of a launch. Twin: FILTERS in src/cuda/weight_norm.rs.
constexpr int kWeightNormFilters = 4;

// One filter; element types are those of the kernel.
struct WeightNormFilter {
  const void* direction;    // [rows, columns]
  const void* gain;         // [rows]
  void* weight;             // [rows, columns]; forward
  const void* weight_grad;  // [rows, columns]; backward, as all below
  void* direction_grad;     // [rows, columns]
  void* gain_grad;          // [rows]
  long long columns;
  long long end;  // rows of this filter and of those before it: a block owns a row
};

// Twin: WeightNormParams in src/cuda/weight_norm.rs.
struct WeightNormParams {
  WeightNormFilter filters[kWeightNormFilters];
};
static_assert(sizeof(WeightNormFilter) == 64, "twin: WeightNormFilter in src/cuda/weight_norm.rs");
static_assert(offsetof(WeightNormFilter, end) == 56, "twin: WeightNormFilter in src/cuda/weight_norm.rs");
static_assert(sizeof(WeightNormParams) == 256, "twin: WeightNormParams in src/cuda/weight_norm.rs");
