// Parameters of the spline's kernels.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block at most, and of the forward pass: a power of two, for tree sums. Twin: THREADS in
// src/cuda/spline/plan.rs.
constexpr int kSplineThreads = 128;

// Threads of a block of the last stage, and sets that it takes: 32 bytes of neighbours, and an axis of each for every warp.
// Twins: GRAD_THREADS and GRAD_SETS there.
constexpr int kSplineGradThreads = 512;
constexpr int kSplineSets = 8;

// Blocks that fit onto a multiprocessor at least. Backward has no more of them on a large device (BLOCKS in
// src/cuda/spline/plan.rs). Left to itself ptxas aims at more blocks than there are, and spills registers for them.
constexpr int kSplineBlocks = 4;

// Twin: SplineParams in src/cuda/spline/plan.rs. Element types are those of the kernel but for the sums, which are doubles;
// a launch reads and writes only what its stage needs.
struct SplineParams {
  const void* x;                   // [samples, elements]: input; backward of the inverse: output
  const void* widths;              // [sets, bins]
  const void* heights;             // [sets, bins]
  const void* derivatives;         // [sets, bins - 1]
  void* table;                     // [sets, bins, 6]: made forward, kept for backward
  void* value;                     // [samples, elements]
  void* log_det;                   // [samples]
  const void* value_grad;          // [samples, elements]
  const void* log_det_grad;        // [samples]
  void* scratch;                   // [blocks, bins * 7, threads]: sums of columns; null where shared memory has them
  void* partials;                  // [bins * 7, parts, sets]
  void* sums;                      // [sets, bins * 7], double
  void* fractions;                 // [sets, 2, bins], double
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
  long long samples_per_chunk;     // a chunk is a run of samples with sums of its own
  long long parts;                 // of a sum: chunks, or for a shared set blocks
  int bins;
  int inverse;
};
static_assert(sizeof(SplineParams) == 208, "twin: SplineParams in src/cuda/spline/plan.rs");
static_assert(offsetof(SplineParams, tail) == 136, "twin: SplineParams in src/cuda/spline/plan.rs");
static_assert(offsetof(SplineParams, bins) == 200, "twin: SplineParams in src/cuda/spline/plan.rs");
