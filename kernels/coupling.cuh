// Parameters of the kernels of the affine coupling.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block: a power of two, for tree sums. Twin: THREADS in src/cuda/coupling.rs.
constexpr int kCouplingThreads = 256;

// What the logarithm of a scale is made of s, the number that the net says; twin: log_scale_number in src/cuda/coupling.rs.
enum CouplingLogScale : int {
  kCouplingBounded = 0,   // 2 tanh(s / 2)
  kCouplingSigmoid = 1,   // log sigmoid(s + 2)
  kCouplingNegative = 2,  // -s
};

// Twin: CouplingParams in src/cuda/coupling.rs. Element types are those of the kernel but for the partial sums, which are
// doubles; a launch reads and writes only what its stage needs.
struct CouplingParams {
  const void* x;             // [samples, kept + moved, pixels]
  const void* net;           // [samples, 2 moved, pixels]
  void* value;               // as x
  void* log_det;             // [samples]
  void* partials;            // [samples, chunks], double; none for one chunk
  const void* value_grad;    // as x
  const void* log_det_grad;  // [samples]
  void* x_grad;              // as x
  void* net_grad;            // as net
  long long samples;
  long long kept;   // channels that stay as they are, the first ones
  long long moved;  // channels that are scaled and shifted
  long long pixels;
  long long elements_per_chunk;  // moved elements of a block, all of one sample
  long long kept_per_chunk;      // kept elements of a block
  long long scale_channel;       // of the net: what it says about the scale of moved channel m is in scale_channel + m step
  long long shift_channel;       // likewise
  long long channel_step;
  int chunks;  // blocks that share a sample
  int inverse;
  int log_scale;       // a CouplingLogScale
  int shift_before;    // what the shift is multiplied by where it is added before the factor: -1, 0 or 1
  int shift_after;     // where it is added after it; one of the two is 0
  int unused;
};
static_assert(sizeof(CouplingParams) == 168, "twin: CouplingParams in src/cuda/coupling.rs");
static_assert(offsetof(CouplingParams, samples) == 72, "twin: CouplingParams in src/cuda/coupling.rs");
static_assert(offsetof(CouplingParams, shift_after) == 160, "twin: CouplingParams in src/cuda/coupling.rs");
