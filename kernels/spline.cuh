// Parameters of the spline's kernels.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block: a power of two, for tree sums. Twin: THREADS in src/cuda/spline/plan.rs.
constexpr int kSplineThreads = 128;

// Blocks that fit onto a multiprocessor at least. Backward has no more of them on a large device (BLOCKS in
// src/cuda/spline/plan.rs), and what works set by set has fewer. Left to itself ptxas aims at more blocks than there are,
// and spills registers for them.
constexpr int kSplineBlocks = 4;

// Twin: SplineParams in src/cuda/spline/plan.rs. Element types are those of the kernel but for the sums, which are doubles;
// a launch reads and writes only what its stage needs.
struct SplineParams {
  const void* x;                   // [samples, elements]: input; backward of the inverse: output
  const void* widths;              // [sets, bins]
  const void* heights;             // [sets, bins]
  const void* derivatives;         // [sets, bins - 1]
  void* table;                     // [sets, bins, 6]
  void* value;                     // [samples, elements]
  void* log_det;                   // [samples]
  const void* value_grad;          // [samples, elements]
  const void* log_det_grad;        // [samples]
  void* partials;                  // [chunks, bins * 7, columns]
  void* sums;                      // [sets, bins * 7], double
  void* knot_grads;                // [sets, 2, bins + 1], double, used up
  void* x_grad;                    // [samples, elements]
  void* widths_grad;               // [sets, bins]
  void* heights_grad;              // [sets, bins]
  void* derivatives_grad;          // [sets, bins - 1]
  double tail;                     // identity outside [-tail, tail)
  double offset;                   // a raw derivative of -offset stands for softplus(0)
  long long samples;
  long long elements;              // of a sample
  long long sets;                  // 1, or one for each element
  long long columns;               // threads with sums of their own: all sets, or for a shared set any number
  long long chunks;                // runs of samples with sums of their own
  long long samples_per_chunk;
  int bins;
  int inverse;
};
static_assert(sizeof(SplineParams) == 200, "twin: SplineParams in src/cuda/spline/plan.rs");
static_assert(offsetof(SplineParams, tail) == 128, "twin: SplineParams in src/cuda/spline/plan.rs");
static_assert(offsetof(SplineParams, bins) == 192, "twin: SplineParams in src/cuda/spline/plan.rs");
