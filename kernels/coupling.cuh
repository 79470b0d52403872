// Parameters of the kernels of the affine coupling.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block: a power of two, for tree sums. Twin: THREADS in src/cuda/coupling.rs.
constexpr int kCouplingThreads = 256;

// Twin: CouplingParams in src/cuda/coupling.rs. Element types are those of the kernel but for the partial sums, which are
// doubles; a launch reads and writes only what its stage needs.
struct CouplingParams {
  const void* x;             // [samples, 2, half, pixels]: kept, moved
  const void* net;           // [samples, half, 2, pixels]: raw scale, shift
  void* value;               // as x
  void* log_det;             // [samples]
  void* partials;            // [samples, chunks], double; none for one chunk
  const void* value_grad;    // as x
  const void* log_det_grad;  // [samples]
  void* x_grad;              // as x
  void* net_grad;            // as net
  long long samples;
  long long half;  // channels that are moved
  long long pixels;
  long long elements_per_chunk;  // moved elements of a block, all of one sample
  int chunks;                    // blocks that share a sample
  int inverse;
};
static_assert(sizeof(CouplingParams) == 112, "twin: CouplingParams in src/cuda/coupling.rs");
static_assert(offsetof(CouplingParams, samples) == 72, "twin: CouplingParams in src/cuda/coupling.rs");
static_assert(offsetof(CouplingParams, inverse) == 108, "twin: CouplingParams in src/cuda/coupling.rs");
