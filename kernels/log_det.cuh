// Parameters of the kernels of log-determinants of small matrices.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a matrix: a power of two, for tree sums. Twin: THREADS in src/cuda/log_det.rs.
constexpr int kLogDetThreads = 128;
// Matrices of a launch. Twin: MATRICES in src/cuda/log_det.rs.
constexpr int kLogDetMatrices = 4;

// One matrix; element types are those of the kernel.
struct LogDetMatrix {
  const void* u;  // [length, order] of I + v u; the matrix itself [order, order] without v
  const void* v;  // [order, length], or null
  void* u_grad;   // backward, as u
  void* v_grad;   // backward, as v
  double copies;  // how often its log-determinant is counted
  long long length;
  int order;
  int first;  // its first element in shared memory, after those of the matrices before it
};

// Twin: LogDetParams in src/cuda/log_det.rs.
struct LogDetParams {
  LogDetMatrix matrices[kLogDetMatrices];
  void* log_det;             // [samples]; forward
  const void* log_det_grad;  // [samples]; backward
  long long samples;
  int count;     // matrices: as many as the block has rows of threads
  int elements;  // of all matrices
};
static_assert(sizeof(LogDetMatrix) == 56, "twin: LogDetMatrix in src/cuda/log_det.rs");
static_assert(offsetof(LogDetMatrix, first) == 52, "twin: LogDetMatrix in src/cuda/log_det.rs");
static_assert(sizeof(LogDetParams) == 256, "twin: LogDetParams in src/cuda/log_det.rs");
static_assert(offsetof(LogDetParams, elements) == 252, "twin: LogDetParams in src/cuda/log_det.rs");
