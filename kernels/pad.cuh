// Parameters of the kernel that pads and crops images.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block. Twin: THREADS in src/cuda/pad.rs.
constexpr int kPadThreads = 256;

// Twin: PadParams in src/cuda/pad.rs.
struct PadParams {
  const void* x;  // [planes, height, width]
  void* y;        // [planes, out_height, out_width]
  long long planes;
  long long height;
  long long width;
  long long out_height;
  long long out_width;
  long long top;   // rows of zeros above; where negative, rows that are cut off
  long long left;  // likewise
  long long elements_per_block;
};
static_assert(sizeof(PadParams) == 80, "twin: PadParams in src/cuda/pad.rs");
static_assert(offsetof(PadParams, elements_per_block) == 72, "twin: PadParams in src/cuda/pad.rs");
