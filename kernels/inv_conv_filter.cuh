// Parameters of the kernels that make effective filters.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block: a power of two, for tree sums. Twin: THREADS in src/cuda/filter.rs.
constexpr int kFilterThreads = 128;

// Layers of one launch: as many as fit into the 4 KiB of parameters that every card takes. Twin: MAX_LAYERS there.
constexpr int kFilterLayers = 42;

// One layer. Twin: FilterLayer in src/cuda/filter.rs. Element types are those of the kernel; a launch reads and writes only
// what its pass needs.
struct FilterLayer {
  const void* theta;              // [C, n, taps]
  const int* diagonal;            // [C]: which of its n x taps elements is a channel's own
  void* weight;                   // as theta
  void* log_diagonal;             // []; null for a diagonal of ones
  const void* weight_grad;        // as theta; null for zeros
  const void* log_diagonal_grad;  // []; null for zero
  void* theta_grad;               // as theta
  double bound;                   // on the other taps of an output, as a part of its diagonal; 0 for none
  int first_block;                // of this layer: a block for each channel, and one for the log-determinant of the diagonal
  int channels;                   // C
  int inputs;                     // n, of a group
  int taps;                       // k x k
  int learnable;                  // the diagonal is exp(theta), else 1
  int reserved;
};
static_assert(sizeof(FilterLayer) == 88, "twin: FilterLayer in src/cuda/filter.rs");
static_assert(offsetof(FilterLayer, bound) == 56, "twin: FilterLayer in src/cuda/filter.rs");
static_assert(offsetof(FilterLayer, learnable) == 80, "twin: FilterLayer in src/cuda/filter.rs");

// Twin: FilterParams in src/cuda/filter.rs.
struct FilterParams {
  FilterLayer layers[kFilterLayers];
  int count;  // of layers
  int reserved;
};
static_assert(sizeof(FilterParams) == 3704, "twin: FilterParams in src/cuda/filter.rs");
static_assert(offsetof(FilterParams, count) == 3696, "twin: FilterParams in src/cuda/filter.rs");
