// Parameters of the kernels of ActNorm and of scaled convolutions.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block: a power of two, for tree sums. Twin: THREADS in src/cuda/actnorm.rs.
constexpr int kActNormThreads = 256;

// Twin: ActNormParams in src/cuda/actnorm.rs. Element types are those of the kernel but for the partial sums, which are
// doubles; a launch reads and writes only what its stage needs.
struct ActNormParams {
  const void* x;             // [samples, channels, pixels]
  const void* loc;           // [channels]
  const void* log_scale;     // [channels]
  void* value;               // [samples, channels, pixels]
  void* log_det;             // [samples], or null where nobody asks for it
  const void* value_grad;    // [samples, channels, pixels]
  const void* log_det_grad;  // [samples], null without log-det
  void* x_grad;              // [samples, channels, pixels]
  void* partials;            // [channels, chunks, 2], double; none for one chunk
  void* loc_grad;            // [channels]
  void* log_scale_grad;      // [channels]
  long long samples;
  long long channels;
  long long pixels;
  long long elements_per_block;  // forward: elements of a block
  long long elements_per_chunk;  // backward: elements of a block, all of one channel
  double log_factor;             // the scale is exp(log_factor log_scale)
  int chunks;                    // backward: blocks that share a channel
  int loc_before;                // what loc is multiplied by where it is added before the scale is applied: -1, 0 or 1
  int loc_after;                 // where it is added after it; one of the two is 0
  int unused;
};
static_assert(sizeof(ActNormParams) == 152, "twin: ActNormParams in src/cuda/actnorm.rs");
static_assert(offsetof(ActNormParams, samples) == 88, "twin: ActNormParams in src/cuda/actnorm.rs");
static_assert(offsetof(ActNormParams, loc_after) == 144, "twin: ActNormParams in src/cuda/actnorm.rs");
