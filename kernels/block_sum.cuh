// Sums over the threads of a block, in an order that the number of threads alone decides.
#pragma once

#include "common.cuh"

// The sums of every thread's `values`, on thread 0. All threads of the block call it; their number is a power of two, and
// `shared` has room for N numbers of each.
template <int N>
__device__ void sum_over_block(double (&values)[N], double* shared) {
  const int thread = threadIdx.x;
  const int threads = blockDim.x;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    shared[i * threads + thread] = values[i];
  }
  __syncthreads();
  for (int half = threads / 2; half > 0; half /= 2) {
    if (thread < half) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        shared[i * threads + thread] += shared[i * threads + thread + half];
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < N; ++i) {
    values[i] = shared[i * threads];
  }
}

// An index that a thread takes through [rows][columns] in steps of the block, without a division a step.
struct BlockWalk {
  long long row;
  long long column;
  long long columns;
  long long row_step;
  long long column_step;

  __device__ BlockWalk(long long first, long long columns_of_a_row)
      : row(first / columns_of_a_row),
        column(first % columns_of_a_row),
        columns(columns_of_a_row),
        row_step(blockDim.x / columns_of_a_row),
        column_step(blockDim.x % columns_of_a_row) {}

  __device__ void step() {
    row += row_step;
    column += column_step;
    if (column >= columns) {
      column -= columns;
      ++row;
    }
  }
};
