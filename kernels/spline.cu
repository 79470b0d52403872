// Monotone rational-quadratic spline with identity tails, element by element; src/ops/spline explains the letters.
//
// forward:  spline_knots (one thread a set), then spline_apply (one block a sample: value, and the log-det as a tree sum)
// backward: spline_knots, spline_backward (a thread owns a column of elements and that column's sums per bin, so that no
//           two threads ever add to the same number), spline_sum (the columns and chunks of one sum, as a tree),
//           spline_raw_grad (one thread a set)
//
// A sum's order depends on the sizes alone: results are bit-identical from run to run.
#include "spline.cuh"

namespace {

constexpr int kBinFields = 6;  // x0, width, y0, height, P, Q
constexpr int kSums = 7;       // g, g rise, l, G_u, u G_u, G_P, G_Q
constexpr double kMin = 1e-3;  // twin: MIN in src/ops/spline/mod.rs

// Knots of one axis into every second pair of fields: starts to table[0], lengths to table[1].
template <typename T>
__device__ void knots_of_axis(const T* raw, int bins, double tail, T* table) {
  double largest = raw[0];
  for (int j = 1; j < bins; ++j) {
    largest = max(largest, static_cast<double>(raw[j]));
  }
  double total = 0;
  for (int j = 0; j < bins; ++j) {
    total += exp(static_cast<double>(raw[j]) - largest);
  }
  double at = 0;
  double start = -tail;
  for (int j = 0; j < bins; ++j) {
    at += kMin + (1 - kMin * bins) * (exp(static_cast<double>(raw[j]) - largest) / total);
    // the last knot is set, not summed up, so that the spline meets its tail exactly
    const double end = j + 1 < bins ? 2 * tail * at - tail : tail;
    table[j * kBinFields] = static_cast<T>(start);
    table[j * kBinFields + 1] = static_cast<T>(end - start);
    start = end;
  }
}

__device__ double softplus(double raw) { return max(raw, 0.0) + log1p(exp(-fabs(raw))); }

__device__ double sigmoid(double raw) {
  const double decay = exp(-fabs(raw));
  return (raw >= 0 ? 1.0 : decay) / (1 + decay);
}

// The table [P][bins][6] of set `set`.
template <typename T>
__device__ void spline_knots(const SplineParams& params) {
  const int bins = params.bins;
  for (long long set = blockIdx.x * blockDim.x + threadIdx.x; set < params.sets; set += gridDim.x * blockDim.x) {
    T* table = reinterpret_cast<T*>(params.table) + set * bins * kBinFields;
#pragma unroll 1  // the two axes in one piece of code
    for (int axis = 0; axis < 2; ++axis) {
      const T* raw = reinterpret_cast<const T*>(axis == 0 ? params.widths : params.heights) + set * bins;
      knots_of_axis(raw, bins, params.tail, table + 2 * axis);
    }
    const T* raw = reinterpret_cast<const T*>(params.derivatives) + set * (bins - 1);
    double before = 1;
    for (int j = 0; j < bins; ++j) {
      const double after = j + 1 < bins ? kMin + softplus(static_cast<double>(raw[j]) + params.offset) : 1.0;
      T* bin = table + j * kBinFields;
      const double slope_inverse = static_cast<double>(bin[1]) / static_cast<double>(bin[3]);
      bin[4] = static_cast<T>(before * slope_inverse);
      bin[5] = static_cast<T>(after * slope_inverse);
      before = after;
    }
  }
}

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

// The sum of every thread's `value`, on thread 0; all threads of the block call it.
template <typename T>
__device__ T block_sum(T value, T* shared) {
  const int thread = threadIdx.x;
  shared[thread] = value;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {  // blockDim.x is a power of two
    if (thread < half) {
      shared[thread] += shared[thread + half];
    }
    __syncthreads();
  }
  return shared[0];
}

template <typename T>
__device__ void spline_apply(const SplineParams& params) {
  T* shared = reinterpret_cast<T*>(dynamic_shared());
  const long long sample = blockIdx.x;
  const T* x = reinterpret_cast<const T*>(params.x) + sample * params.elements;
  T* value = reinterpret_cast<T*>(params.value) + sample * params.elements;
  const T* tables = reinterpret_cast<const T*>(params.table);
  const long long per_element = params.sets == 1 ? 0 : params.bins * kBinFields;
  T log_slope = 0;
  for (long long e = threadIdx.x; e < params.elements; e += blockDim.x) {
    const T* table = tables + e * per_element;
    value[e] = apply_one(params, table, x[e], &log_slope);
  }
  const T total = block_sum(log_slope, shared);
  if (threadIdx.x == 0) {
    reinterpret_cast<T*>(params.log_det)[sample] = params.inverse != 0 ? -total : total;
  }
}

// The gradient of one element; adds its terms to the sums of its bin, which are `stride` apart.
template <typename T>
__device__ __forceinline__ T gradient_of_one(const SplineParams& params, const T* table, T x, T grad, T log_det_grad,
                                             T* sums, long long stride) {
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

// Partial sums [chunk][bins * 7][columns]; column c takes the elements c, c + columns, ... of the chunk's samples.
template <typename T>
__device__ void spline_backward(const SplineParams& params) {
  const long long column = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const long long columns = params.columns;
  if (column >= columns) {
    return;
  }
  const long long rows = static_cast<long long>(params.bins) * kSums;
  T* sums = reinterpret_cast<T*>(params.partials) + blockIdx.y * rows * columns + column;
  for (long long row = 0; row < rows; ++row) {
    sums[row * columns] = 0;
  }
  const T* tables = reinterpret_cast<const T*>(params.table);
  const long long per_element = params.sets == 1 ? 0 : params.bins * kBinFields;
  const long long first = static_cast<long long>(blockIdx.y) * params.samples_per_chunk;
  const long long last = min(first + params.samples_per_chunk, static_cast<long long>(params.samples));
  for (long long sample = first; sample < last; ++sample) {
    const T log_det_grad = reinterpret_cast<const T*>(params.log_det_grad)[sample];
    for (long long e = column; e < params.elements; e += columns) {
      const long long at = sample * params.elements + e;
      const T* table = tables + e * per_element;
      reinterpret_cast<T*>(params.x_grad)[at] =
          gradient_of_one(params, table, reinterpret_cast<const T*>(params.x)[at],
                          reinterpret_cast<const T*>(params.value_grad)[at], log_det_grad, sums, columns);
    }
  }
}

// Sums [sets][bins * 7]: one block adds the columns and chunks of one of them up. Sets of their own have a column each,
// and one thread each.
template <typename T>
__device__ void spline_sum(const SplineParams& params) {
  double* shared = reinterpret_cast<double*>(dynamic_shared());
  const T* partials = reinterpret_cast<const T*>(params.partials);
  double* sums = reinterpret_cast<double*>(params.sums);
  const long long rows = static_cast<long long>(params.bins) * kSums;
  const long long row = blockIdx.x;
  if (params.sets == 1) {
    double sum = 0;
    const long long parts = params.columns * params.chunks;
    for (long long part = threadIdx.x; part < parts; part += blockDim.x) {
      sum += partials[(part / params.columns * rows + row) * params.columns + part % params.columns];
    }
    const double total = block_sum(sum, shared);
    if (threadIdx.x == 0) {
      sums[row] = total;
    }
    return;
  }
  for (long long set = threadIdx.x; set < params.sets; set += blockDim.x) {
    double sum = 0;
    for (long long chunk = 0; chunk < params.chunks; ++chunk) {
      sum += partials[(chunk * rows + row) * params.columns + set];
    }
    sums[set * rows + row] = sum;
  }
}

// The gradient of one axis' raw lengths from that of its knots: an inner knot is 2 tail times the fractions before it.
// `knots` holds bins + 1 numbers and is used up.
template <typename T>
__device__ void axis_gradient(const T* raw, int bins, double tail, double* knots, T* grad) {
  double largest = raw[0];
  for (int j = 1; j < bins; ++j) {
    largest = max(largest, static_cast<double>(raw[j]));
  }
  double total = 0;
  for (int j = 0; j < bins; ++j) {
    total += exp(static_cast<double>(raw[j]) - largest);
  }
  double mean = 0;
  double fraction = 0;
  for (int j = bins - 1; j >= 0; --j) {
    // from the derivative of knot j + 1 to that of fraction j, in place
    fraction += j + 1 < bins ? 2 * tail * knots[j + 1] : 0.0;
    knots[j + 1] = fraction;
    mean += fraction * (exp(static_cast<double>(raw[j]) - largest) / total);
  }
  for (int j = 0; j < bins; ++j) {
    const double softmax = exp(static_cast<double>(raw[j]) - largest) / total;
    grad[j] = static_cast<T>((1 - kMin * bins) * softmax * (knots[j + 1] - mean));
  }
}

template <typename T>
__device__ void spline_raw_grad(const SplineParams& params) {
  const int bins = params.bins;
  for (long long set = blockIdx.x * blockDim.x + threadIdx.x; set < params.sets; set += gridDim.x * blockDim.x) {
    const T* table = reinterpret_cast<const T*>(params.table) + set * bins * kBinFields;
    const double* sums = reinterpret_cast<const double*>(params.sums) + set * bins * kSums;
    double* x = reinterpret_cast<double*>(params.knot_grads) + set * 2 * (bins + 1);
    double* y = x + bins + 1;
    const T* raw = reinterpret_cast<const T*>(params.derivatives) + set * (bins - 1);
    T* grad = reinterpret_cast<T*>(params.derivatives_grad) + set * (bins - 1);
    // what the bin before this one says about the knot and the derivative that they share; the last knot has no gradient
    double x_before = 0, y_before = 0, before = 0;
    for (int j = 0; j < bins; ++j) {
      const T* bin = table + j * kBinFields;
      const double* sum = sums + j * kSums;
      const double width = bin[1], height = bin[3], p = bin[4], q = bin[5];
      const double ends = p * sum[5] + q * sum[6] - sum[2];
      const double x_length = (ends - sum[4]) / width;
      const double y_length = sum[1] - ends / height;
      x[j] = x_before + (-sum[3] / width - x_length);
      y[j] = y_before + (sum[0] - y_length);
      x_before = x_length;
      y_before = y_length;
      if (j > 0) {
        const double slope = sigmoid(static_cast<double>(raw[j - 1]) + params.offset);
        grad[j - 1] = static_cast<T>((before + sum[5] * width / height) * slope);
      }
      before = sum[6] * width / height;
    }
#pragma unroll 1
    for (int axis = 0; axis < 2; ++axis) {
      const T* lengths = reinterpret_cast<const T*>(axis == 0 ? params.widths : params.heights) + set * bins;
      T* lengths_grad = reinterpret_cast<T*>(axis == 0 ? params.widths_grad : params.heights_grad) + set * bins;
      axis_gradient(lengths, bins, params.tail, axis == 0 ? x : y, lengths_grad);
    }
  }
}

}  // namespace

#define SPLINE_KERNEL(stage, T, name)                                             \
  extern "C" __global__ void __launch_bounds__(kSplineThreads, kSplineBlocks)     \
      name(const __grid_constant__ SplineParams params) {                         \
    stage<T>(params);                                                             \
  }

SPLINE_KERNEL(spline_knots, float, spline_knots_f32)
SPLINE_KERNEL(spline_knots, double, spline_knots_f64)
SPLINE_KERNEL(spline_apply, float, spline_apply_f32)
SPLINE_KERNEL(spline_apply, double, spline_apply_f64)
SPLINE_KERNEL(spline_backward, float, spline_backward_f32)
SPLINE_KERNEL(spline_backward, double, spline_backward_f64)
SPLINE_KERNEL(spline_sum, float, spline_sum_f32)
SPLINE_KERNEL(spline_sum, double, spline_sum_f64)
SPLINE_KERNEL(spline_raw_grad, float, spline_raw_grad_f32)
SPLINE_KERNEL(spline_raw_grad, double, spline_raw_grad_f64)
