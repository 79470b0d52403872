// Monotone rational-quadratic spline with identity tails, element by element; src/ops/spline explains the letters.
//
// forward:  spline_apply (one block a sample: value, and the log-det as a tree sum). Where all elements share one set, each
//           block makes its table itself, in shared memory, and the first one keeps it for backward; sets of their own
//           need a launch before it, spline_knots (one warp a set).
// backward: spline_backward (a thread owns a column of elements and that column's sums per bin, so that no two threads ever
//           add to the same number; where the set is shared, the block adds its columns up), spline_raw_grad (a block adds
//           up the parts of a few sets, and makes the gradients of their raw numbers, an axis of a set by one warp)
//
// A sum's order depends on the sizes alone: results are bit-identical from run to run.
#include "block_sum.cuh"
#include "spline_knots.cuh"

namespace {

constexpr int kSums = 7;  // g, g rise, l, G_u, u G_u, G_P, G_Q

// The last bin that begins at or before `at`; field 0 is the axis x, 2 the axis y. A NaN is in the first one.
template <typename T>
__device__ __forceinline__ int find_bin(const T* table, int bins, int field, T at) {
  int low = 0;
  int high = bins;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (at >= table[middle * kBinFields + field]) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// A NaN is in no tail, so that it stays visible.
template <typename T>
__device__ __forceinline__ bool in_a_tail(T at, double tail) {
  return at < static_cast<T>(-tail) || at >= static_cast<T>(tail);
}

// Value at one element; adds log|d value / d element| of the forward direction to *log_slope.
template <typename T>
__device__ __forceinline__ T apply_one(const SplineParams& params, const T* table, T at, T* log_slope) {
  if (in_a_tail(at, params.tail)) {
    return at;
  }
  const bool inverse = params.inverse != 0;
  const T* bin = table + find_bin(table, params.bins, inverse ? 2 : 0, at) * kBinFields;
  const T x0 = bin[0], width = bin[1], y0 = bin[2], height = bin[3], p = bin[4], q = bin[5];
  const T bend = p + q - 2;
  T u;
  if (inverse) {
    const T t = (at - y0) / height;
    const T g = p - 1 - t * bend;
    const T b = 1 + g;
    const T square = b * b - 4 * g * t;
    const T root = sqrt(square < 0 ? T(0) : square);
    u = b >= 0 ? 2 * t / (b + root) : (b - root) / (2 * g);
  } else {
    u = (at - x0) / width;
  }
  const T rest = 1 - u;
  const T v = u * rest;
  const T over = 1 / (1 + bend * v);
  const T steepness = p * rest * rest + 2 * v + q * u * u;
  *log_slope += log(height / width * steepness * over * over);
  return inverse ? x0 + width * u : y0 + height * (u * u + p * v) * over;
}

template <typename T>
__device__ void spline_apply(const SplineParams& params) {
  double* shared = reinterpret_cast<double*>(dynamic_shared());
  T* table_here = reinterpret_cast<T*>(shared + blockDim.x);
  const bool one_set = params.sets == 1;
  if (one_set) {
    shared_knots(params, table_here);
  }
  const long long sample = blockIdx.x;
  const T* x = reinterpret_cast<const T*>(params.x) + sample * params.elements;
  T* value = reinterpret_cast<T*>(params.value) + sample * params.elements;
  const T* tables = one_set ? table_here : reinterpret_cast<const T*>(params.table);
  const long long per_element = one_set ? 0 : params.bins * kBinFields;
  T log_slope = 0;
  for (long long e = threadIdx.x; e < params.elements; e += blockDim.x) {
    value[e] = apply_one(params, tables + e * per_element, x[e], &log_slope);
  }
  double log_det[1] = {static_cast<double>(log_slope)};
  sum_over_block(log_det, shared);
  if (threadIdx.x == 0) {
    reinterpret_cast<T*>(params.log_det)[sample] = static_cast<T>(params.inverse != 0 ? -log_det[0] : log_det[0]);
  }
}

// The gradient of one element; adds its terms to the sums of its bin, which are `stride` apart.
template <typename T>
__device__ __forceinline__ T gradient_of_one(const SplineParams& params, const T* table, T x, T grad, T log_det_grad,
                                             T* sums, int stride) {
  if (in_a_tail(x, params.tail)) {
    return grad;
  }
  const bool inverse = params.inverse != 0;
  const int index = find_bin(table, params.bins, 0, x);
  const T* bin = table + index * kBinFields;
  const T height = bin[3], p = bin[4], q = bin[5];
  const T scale = 1 / bin[1];
  const T u = (x - bin[0]) * scale;
  const T rest = 1 - u;
  const T v = u * rest;
  const T turn = rest - u;
  const T bend = p + q - 2;
  const T over = 1 / (1 + bend * v);
  const T rise = (u * u + p * v) * over;
  const T steepness = p * rest * rest + 2 * v + q * u * u;
  const T log_slope_u = (2 * (q * u - p * rest) + 2 * turn) / steepness - 2 * bend * turn * over;
  const T value_u = height * steepness * over * over;
  const T l = inverse ? -log_det_grad : log_det_grad;
  const T along = grad * (inverse ? T(1) : value_u * scale) + l * log_slope_u * scale;
  const T through = along / (value_u * scale);
  const T g = inverse ? -through : grad;
  const T of_fraction = g * height * over;
  const T of_bend = (-of_fraction * rise - 2 * l * over) * v;
  const T of_steepness = l / steepness;
  const T of_u = g * value_u + l * log_slope_u;
  T* sum = sums + index * kSums * stride;
  sum[0] += g;
  sum[stride] += g * rise;
  sum[2 * stride] += l;
  sum[3 * stride] += of_u;
  sum[4 * stride] += of_u * u;
  sum[5 * stride] += of_fraction * v + of_bend + of_steepness * rest * rest;
  sum[6 * stride] += of_bend + of_steepness * u * u;
  return inverse ? through : along;
}

constexpr int kRowsAtOnce = 8;  // that a warp sums over its lanes together

// Sums `rows` rows of `columns` numbers, `stride` apart, by the warps of the block, and gives store(row, sum).
template <typename T, typename Store>
__device__ __forceinline__ void sum_rows(const T* from, int rows, long long columns, long long stride, Store store) {
  const int lane = lane_of_warp();
  for (int first = threadIdx.x / kWarp * kRowsAtOnce; first < rows; first += blockDim.x / kWarp * kRowsAtOnce) {
    double sums[kRowsAtOnce] = {};
    for (long long column = lane; column < columns; column += kWarp) {
#pragma unroll
      for (int i = 0; i < kRowsAtOnce; ++i) {
        sums[i] += first + i < rows ? from[(first + i) * stride + column] : T(0);
      }
    }
    const double sum = sum_over_lanes<kWarp, kRowsAtOnce>(sums, lane);
    if (lane < kRowsAtOnce && first + lane < rows) {
      store(first + lane, sum);
    }
  }
}

// Gradient of the elements, and partial sums [bins * 7][parts][sets]. Column c takes the elements c, c + columns, ... of its
// chunk's samples; while it does, its sums are in shared memory, or in `scratch` where they do not fit.
template <typename T>
__device__ void spline_backward(const SplineParams& params) {
  const int threads = blockDim.x;
  const int rows = params.bins * kSums;
  const int table_elements = params.bins * kBinFields;
  const bool one_set = params.sets == 1;
  const long long columns = params.columns;
  const long long column = static_cast<long long>(blockIdx.x) * threads + threadIdx.x;
  const long long block = static_cast<long long>(blockIdx.y) * gridDim.x + blockIdx.x;
  T* memory = reinterpret_cast<T*>(dynamic_shared());
  const T* tables = reinterpret_cast<const T*>(params.table);
  if (one_set) {
    for (int i = threadIdx.x; i < table_elements; i += threads) {
      memory[i] = tables[i];
    }
    tables = memory;
    memory += table_elements;
  }
  T* block_sums = params.scratch == nullptr ? memory : reinterpret_cast<T*>(params.scratch) + block * rows * threads;
  T* sums = block_sums + threadIdx.x;
  for (int row = 0; row < rows; ++row) {
    sums[row * threads] = 0;
  }
  __syncthreads();  // the table is there
  const long long per_element = one_set ? 0 : table_elements;
  const long long first = static_cast<long long>(blockIdx.y) * params.samples_per_chunk;
  const long long last = min(first + params.samples_per_chunk, static_cast<long long>(params.samples));
  for (long long sample = first; sample < last; ++sample) {
    const T log_det_grad = reinterpret_cast<const T*>(params.log_det_grad)[sample];
    // of a block's last columns some may be too many: they have no element
    for (long long e = column < columns ? column : params.elements; e < params.elements; e += columns) {
      const long long at = sample * params.elements + e;
      const T* table = tables + e * per_element;
      reinterpret_cast<T*>(params.x_grad)[at] =
          gradient_of_one(params, table, reinterpret_cast<const T*>(params.x)[at],
                          reinterpret_cast<const T*>(params.value_grad)[at], log_det_grad, sums, threads);
    }
  }
  T* partials = reinterpret_cast<T*>(params.partials);
  if (one_set) {
    __syncthreads();  // the sums of all columns are complete
    sum_rows(block_sums, rows, threads, threads,
             [&](int row, double sum) { partials[row * params.parts + block] = static_cast<T>(sum); });
  } else if (column < columns) {
    for (int row = 0; row < rows; ++row) {
      partials[(row * params.parts + blockIdx.y) * columns + column] = sums[row * threads];
    }
  }
}

// What the sums of a bin say about its lengths along the axes and the derivatives at its ends.
template <typename T>
struct BinGradient {
  double start[2];   // of the bin, along x and y, its end being fixed ...
  double length[2];  // ... and of its length
  double before;     // of the derivative at its start, and at its end
  double after;

  __device__ __forceinline__ BinGradient(const SplineParams& params, long long set, int j) {
    const T* bin = reinterpret_cast<const T*>(params.table) + (set * params.bins + j) * kBinFields;
    const double* sum = reinterpret_cast<const double*>(params.sums) + (set * params.bins + j) * kSums;
    const double width = bin[1], height = bin[3], p = bin[4], q = bin[5];
    const double ends = p * sum[5] + q * sum[6] - sum[2];
    start[0] = -sum[3] / width;
    start[1] = sum[0];
    length[0] = (ends - sum[4]) / width;
    length[1] = sum[1] - ends / height;
    before = sum[5] * width / height;
    after = sum[6] * width / height;
  }
};

// The gradient of a set's raw lengths along one axis, by a warp: an inner knot is 2 tail times the fractions before it.
template <typename T>
__device__ void axis_gradient(const SplineParams& params, long long set, int axis) {
  const int bins = params.bins;
  const Softmax<T> softmax(raw_lengths<T>(params, axis, set), bins);
  T* grad = reinterpret_cast<T*>(axis == 0 ? params.widths_grad : params.heights_grad) + set * bins;
  double* fractions = reinterpret_cast<double*>(params.fractions) + (2 * set + axis) * bins;
  double mean = 0;
  double passed = 0;
  for (int first = 0; first < bins; first += kWarp) {
    const int j = bins - 1 - (first + lane_of_warp());  // from the last: a fraction moves the knots after it
    double knot = 0;                                    // j + 1, which the bins j and j + 1 share; the last one is fixed
    if (j >= 0 && j + 1 < bins) {
      const BinGradient<T> here(params, set, j), next(params, set, j + 1);
      knot = 2 * params.tail * (axis == 0 ? here.length[0] + (next.start[0] - next.length[0])
                                          : here.length[1] + (next.start[1] - next.length[1]));
    }
    const WarpPrefix prefix(knot);
    if (j >= 0) {
      fractions[j] = passed + prefix.before + knot;
      mean += fractions[j] * softmax[j];
    }
    passed += prefix.all;
  }
  mean = sum_over_warp(mean);
  for (int first = 0; first < bins; first += kWarp) {
    const int j = bins - 1 - (first + lane_of_warp());  // the ones that this lane has written
    if (j >= 0) {
      grad[j] = static_cast<T>((1 - kMin * bins) * softmax[j] * (fractions[j] - mean));
    }
  }
}

// The gradient of a set's raw derivatives, by a warp that takes every second run of lanes.
template <typename T>
__device__ void derivative_gradient(const SplineParams& params, long long set, int half) {
  const T* raw = raw_derivatives<T>(params, set);
  T* grad = reinterpret_cast<T*>(params.derivatives_grad) + set * (params.bins - 1);
  for (int j = half * kWarp + lane_of_warp(); j + 1 < params.bins; j += 2 * kWarp) {
    const BinGradient<T> here(params, set, j), next(params, set, j + 1);
    const double slope = sigmoid(static_cast<double>(raw[j]) + params.offset);
    grad[j] = static_cast<T>((here.after + next.before) * slope);
  }
}

// Sums [sets][bins * 7] of kSplineSets sets, and the gradients of their raw numbers.
template <typename T>
__device__ void spline_raw_grad(const SplineParams& params) {
  const T* partials = reinterpret_cast<const T*>(params.partials);
  double* sums = reinterpret_cast<double*>(params.sums);
  const int rows = params.bins * kSums;
  const int warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const long long first = static_cast<long long>(blockIdx.x) * kSplineSets;
  if (params.sets == 1) {
    sum_rows(partials, rows, params.parts, params.parts, [&](int row, double sum) { sums[row] = sum; });
  } else {
    // neighbouring lanes take neighbouring sets, and the lanes that have the same one share its parts
    const long long set = first + lane_of_warp() % kSplineSets;
    for (int row = warp; row < rows; row += warps) {
      double sum = 0;
      if (set < params.sets) {
        for (long long part = lane_of_warp() / kSplineSets; part < params.parts; part += kWarp / kSplineSets) {
          sum += partials[(row * params.parts + part) * params.sets + set];
        }
      }
#pragma unroll
      for (int step = kSplineSets; step < kWarp; step *= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, step);
      }
      if (lane_of_warp() < kSplineSets && set < params.sets) {
        sums[set * rows + row] = sum;
      }
    }
  }
  __syncthreads();  // the sums of these sets are complete
  const long long sets = min(static_cast<long long>(kSplineSets), params.sets - first);
  for (int item = warp; item < 2 * sets; item += warps) {
    axis_gradient<T>(params, first + item / 2, item % 2);
    derivative_gradient<T>(params, first + item / 2, item % 2);
  }
}

}  // namespace

#define SPLINE_KERNEL(stage, T, name, threads, blocks)                                                            \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ SplineParams params) { \
    stage<T>(params);                                                                                               \
  }

SPLINE_KERNEL(spline_knots, float, spline_knots_f32, kSplineThreads, kSplineBlocks)
SPLINE_KERNEL(spline_knots, double, spline_knots_f64, kSplineThreads, kSplineBlocks)
SPLINE_KERNEL(spline_apply, float, spline_apply_f32, kSplineThreads, kSplineBlocks)
SPLINE_KERNEL(spline_apply, double, spline_apply_f64, kSplineThreads, kSplineBlocks)
SPLINE_KERNEL(spline_backward, float, spline_backward_f32, kSplineThreads, kSplineBlocks)
SPLINE_KERNEL(spline_backward, double, spline_backward_f64, kSplineThreads, kSplineBlocks)
SPLINE_KERNEL(spline_raw_grad, float, spline_raw_grad_f32, kSplineGradThreads, 1)
SPLINE_KERNEL(spline_raw_grad, double, spline_raw_grad_f64, kSplineGradThreads, 1)
