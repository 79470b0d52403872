// Parameters of the kernels of butterfly factors.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block: a power of two, for tree sums. Twin: THREADS in src/cuda/butterfly.rs.
constexpr int kButterflyThreads = 256;
// Pairs of a block of the backward pass; the other threads share the samples. Twin: LANES in src/cuda/butterfly.rs.
constexpr int kButterflyLanes = 32;

// Twin: ButterflyParams in src/cuda/butterfly.rs. Element types are those of the kernel.
struct ButterflyParams {
  const void* x;             // [samples, blocks, 2, pairs]
  const void* factor;        // [blocks, 2 (input half), 2 (output half), pairs]
  void* value;               // as x; forward
  void* log_det;             // [samples]; forward
  const void* value_grad;    // as x; backward
  const void* log_det_grad;  // [samples]; backward
  void* x_grad;              // as x; backward
  void* factor_grad;         // as factor; backward
  long long samples;
  long long blocks;
  long long pairs;            // of a block of the factor
  long long pairs_per_block;  // forward: pairs of all samples that a block of threads takes
};
static_assert(sizeof(ButterflyParams) == 96, "twin: ButterflyParams in src/cuda/butterfly.rs");
static_assert(offsetof(ButterflyParams, samples) == 64, "twin: ButterflyParams in src/cuda/butterfly.rs");
