// Parameters of the kernel that makes training batches.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block. Twin: THREADS in src/cuda/batch.rs.
constexpr int kBatchThreads = 128;
// 32-bit words of a block of ChaCha, and so elements of a thread. Twin: WORDS in src/cuda/batch.rs.
constexpr int kChaChaWords = 16;

// Which image, and how it is changed before it is shown. Twin: a row of Picks in src/cuda/batch.rs.
struct Pick {
  int image;
  int flip;  // 1: columns from right to left
  int rows;  // a pixel takes the value of so many rows below it
  int columns;
};
static_assert(sizeof(Pick) == 16, "twin: Picks in src/cuda/batch.rs");

// Twin: BatchParams in src/cuda/batch.rs.
struct BatchParams {
  const unsigned char* images;  // [images, channels, height, width]
  const Pick* picks;            // [batch]
  float* x;                     // [batch, channels, height, width]
  float* noise;                 // as x
  long long elements;           // of x
  int channels;
  int height;
  int width;
  int reflect;          // pixels beyond the border: 1 mirrored, 0 the border's own
  unsigned int key[8];  // of the noise's stream
};
static_assert(sizeof(BatchParams) == 88, "twin: BatchParams in src/cuda/batch.rs");
static_assert(offsetof(BatchParams, elements) == 32, "twin: BatchParams in src/cuda/batch.rs");
static_assert(offsetof(BatchParams, key) == 56, "twin: BatchParams in src/cuda/batch.rs");
