// log|det| of a few small matrices, the sum for every sample of a batch; src/ops/log_det has the equations.
//
// forward:  log_det_sum (one block; a row of its threads owns a matrix)
// backward: log_det_backward (the same block: it inverts again, and writes the gradients)
//
// Floor: order steps of four barriers each; the matrices are in shared memory, in double precision whatever the type.
// A sum's order depends on the sizes alone: results are bit-identical from run to run.
#include "log_det.cuh"

namespace {

// One row of threads, and what it has of shared memory.
template <typename T>
struct LogDetTeam {
  const LogDetMatrix& matrix;
  const T* u;
  const T* v;
  int order;
  double* inverse;  // [order, order]: the matrix, and in the end its inverse
  double* sums;     // one for each thread
  double* shared_sums;
  int* pivots;  // [order]

  __device__ explicit LogDetTeam(const LogDetParams& params)
      : matrix(params.matrices[threadIdx.y]),
        u(reinterpret_cast<const T*>(matrix.u)),
        v(reinterpret_cast<const T*>(matrix.v)),
        order(matrix.order) {
    double* shared = reinterpret_cast<double*>(dynamic_shared());
    inverse = shared + matrix.first;
    shared_sums = shared + params.elements;
    sums = shared_sums + threadIdx.y * blockDim.x;
    // an order is at most the number of a matrix's elements, so the rows' pivots do not overlap
    pivots = reinterpret_cast<int*>(shared_sums + params.count * blockDim.x) + matrix.first;
  }

  // The matrix from global memory.
  __device__ void load() {
    for (int i = threadIdx.x; i < order * order; i += blockDim.x) {
      const int row = i / order;
      const int column = i % order;
      double entry = v == nullptr ? static_cast<double>(u[i]) : (row == column ? 1.0 : 0.0);
      if (v != nullptr) {
        for (long long p = 0; p < matrix.length; ++p) {
          entry += static_cast<double>(v[row * matrix.length + p]) * u[p * order + column];
        }
      }
      inverse[i] = entry;
    }
    __syncthreads();
  }

  // Inverts in place by Gauss and Jordan's elimination with row pivots; returns log|det|, on thread 0. All threads of the block call it:
  // they take `steps` steps, whatever the order of their own matrix is.
  __device__ double invert(int steps) {
    double log_det = 0;
    for (int k = 0; k < steps; ++k) {
      const bool mine = k < order;
      if (mine && threadIdx.x == 0) {
        int pivot = k;
        for (int i = k + 1; i < order; ++i) {
          if (fabs(inverse[i * order + k]) > fabs(inverse[pivot * order + k])) {
            pivot = i;
          }
        }
        pivots[k] = pivot;
      }
      __syncthreads();
      // rows k and pivot change places, and row k is divided by the pivot, whose place gets its reciprocal
      const int pivot_row = mine ? pivots[k] : 0;
      const double pivot = mine ? inverse[pivot_row * order + k] : 1.0;
      __syncthreads();
      if (threadIdx.x == 0) {
        log_det += log(fabs(pivot));
      }
      for (int j = threadIdx.x; mine && j < order; j += blockDim.x) {
        const double above = inverse[k * order + j];
        const double found = inverse[pivot_row * order + j];
        inverse[pivot_row * order + j] = above;
        inverse[k * order + j] = j == k ? 1.0 / pivot : found / pivot;
      }
      __syncthreads();
      for (int i = threadIdx.x; mine && i < order * order; i += blockDim.x) {
        const int row = i / order;
        const int column = i % order;
        if (row != k && column != k) {
          inverse[i] -= inverse[row * order + k] * inverse[k * order + column];
        }
      }
      __syncthreads();
      for (int i = threadIdx.x; mine && i < order; i += blockDim.x) {
        if (i != k) {
          inverse[i * order + k] *= -inverse[k * order + k];
        }
      }
      __syncthreads();
    }
    // the rows' exchanges, undone in the columns
    for (int k = order - 1; k >= 0; --k) {
      const int other = pivots[k];
      for (int i = threadIdx.x; other != k && i < order; i += blockDim.x) {
        const double kept = inverse[i * order + k];
        inverse[i * order + k] = inverse[i * order + other];
        inverse[i * order + other] = kept;
      }
    }
    __syncthreads();
    return log_det;
  }

  // The sum of the threads' values of this row, on all of them.
  __device__ double sum(double value) {
    const int thread = threadIdx.x;
    sums[thread] = value;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
      if (thread < half) {
        sums[thread] += sums[thread + half];
      }
      __syncthreads();
    }
    return sums[0];
  }
};

__device__ int log_det_steps(const LogDetParams& params) {
  int steps = 0;
  for (int i = 0; i < params.count; ++i) {
    steps = max(steps, params.matrices[i].order);
  }
  return steps;
}

template <typename T>
__device__ void log_det_sum(const LogDetParams& params) {
  LogDetTeam<T> team(params);
  team.load();
  const double log_det = team.invert(log_det_steps(params));
  if (threadIdx.x == 0) {
    team.sums[0] = team.matrix.copies * log_det;
  }
  __syncthreads();
  double total = 0;
  for (int i = 0; i < params.count; ++i) {
    total += team.shared_sums[i * blockDim.x];
  }
  const long long thread = threadIdx.y * blockDim.x + threadIdx.x;
  for (long long n = thread; n < params.samples; n += blockDim.x * blockDim.y) {
    reinterpret_cast<T*>(params.log_det)[n] = static_cast<T>(total);
  }
}

template <typename T>
__device__ void log_det_backward(const LogDetParams& params) {
  LogDetTeam<T> team(params);
  const LogDetMatrix& matrix = team.matrix;
  const int order = team.order;
  team.load();
  team.invert(log_det_steps(params));
  double mine = 0;
  for (long long n = threadIdx.x; n < params.samples; n += blockDim.x) {
    mine += reinterpret_cast<const T*>(params.log_det_grad)[n];
  }
  const double grad = matrix.copies * team.sum(mine);
  T* u_grad = reinterpret_cast<T*>(matrix.u_grad);
  if (team.v == nullptr) {
    for (int i = threadIdx.x; i < order * order; i += blockDim.x) {
      u_grad[i] = static_cast<T>(grad * team.inverse[i % order * order + i / order]);
    }
    return;
  }
  T* v_grad = reinterpret_cast<T*>(matrix.v_grad);
  for (long long i = threadIdx.x; i < matrix.length * order; i += blockDim.x) {
    const long long p = i / order;
    const int column = static_cast<int>(i % order);
    double of_u = 0;
    double of_v = 0;
    for (int j = 0; j < order; ++j) {
      of_u += team.inverse[column * order + j] * static_cast<double>(team.v[j * matrix.length + p]);
      of_v += static_cast<double>(team.u[p * order + j]) * team.inverse[j * order + column];
    }
    u_grad[i] = static_cast<T>(grad * of_u);
    v_grad[column * matrix.length + p] = static_cast<T>(grad * of_v);
  }
}

}  // namespace

#define LOG_DET_KERNEL(stage, T, name)                                            \
  extern "C" __global__ void __launch_bounds__(kLogDetThreads * kLogDetMatrices) \
      name(const __grid_constant__ LogDetParams params) {                         \
    stage<T>(params);                                                             \
  }

LOG_DET_KERNEL(log_det_sum, float, log_det_sum_f32)
LOG_DET_KERNEL(log_det_sum, double, log_det_sum_f64)
LOG_DET_KERNEL(log_det_backward, float, log_det_backward_f32)
LOG_DET_KERNEL(log_det_backward, double, log_det_backward_f64)
