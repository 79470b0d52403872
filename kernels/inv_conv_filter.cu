// The effective filters of inverse convolutions, those of all layers of a model in one launch; src/ops/filter has the
// equations, src/flows/inv_conv.rs what they are for.
//
// forward:  inv_conv_filter (a block owns the taps of one output of one layer; one block more a layer, where its diagonal
//           is learnable, adds the logarithms of the diagonal up)
// backward: inv_conv_filter_backward (the same blocks, without the last)
//
// A sum's order depends on the sizes alone: results are bit-identical from run to run.
#include "block_sum.cuh"
#include "inv_conv_filter.cuh"

namespace {

// The layer of this block.
__device__ __forceinline__ const FilterLayer& layer_of_block(const FilterParams& params) {
  int index = 0;
  while (index + 1 < params.count && static_cast<int>(blockIdx.x) >= params.layers[index + 1].first_block) {
    ++index;
  }
  return params.layers[index];
}

// The taps of one output: those before it in the order in which channels are solved, and at the anchor those alone.
template <typename T>
struct FilterRow {
  const FilterLayer& layer;
  const T* theta;
  long long first;  // element of the layer
  int elements;
  int own;  // element of the diagonal
  int channel, anchor;

  __device__ __forceinline__ FilterRow(const FilterLayer& layer, int output)
      : layer(layer),
        elements(layer.inputs * layer.taps),
        own(layer.diagonal[output]),
        channel(own / layer.taps),
        anchor(own % layer.taps) {
    first = static_cast<long long>(output) * elements;
    theta = static_cast<const T*>(layer.theta) + first;
  }

  // Whether element e is a free tap: else it is the diagonal or always zero.
  __device__ __forceinline__ bool free(int e) const { return e % layer.taps != anchor || e / layer.taps < channel; }

  __device__ __forceinline__ T diagonal() const { return layer.learnable != 0 ? exp(theta[own]) : T(1); }
};

// What the bound divides the taps of an output by, sqrt(1 + ratio^2), where `total` is their sum in absolute value.
template <typename T>
struct FilterScale {
  T ratio, divisor;

  __device__ __forceinline__ FilterScale(const FilterLayer& layer, T diagonal, double total)
      : ratio(static_cast<T>(total) / (diagonal * static_cast<T>(layer.bound))), divisor(hypot(T(1), ratio)) {}
};

template <typename T>
__device__ void inv_conv_filter(const FilterParams& params) {
  const FilterLayer& layer = layer_of_block(params);
  const int output = static_cast<int>(blockIdx.x) - layer.first_block;
  double* shared = reinterpret_cast<double*>(dynamic_shared());
  double sums[1] = {0};
  if (output == layer.channels) {
    for (int c = threadIdx.x; c < layer.channels; c += blockDim.x) {
      const FilterRow<T> row(layer, c);
      sums[0] += row.theta[row.own];
    }
    sum_over_block(sums, shared);
    if (threadIdx.x == 0) {
      *static_cast<T*>(layer.log_diagonal) = static_cast<T>(sums[0]);
    }
    return;
  }
  const FilterRow<T> row(layer, output);
  const T diagonal = row.diagonal();
  T divisor = 1;
  if (layer.bound > 0) {
    for (int e = threadIdx.x; e < row.elements; e += blockDim.x) {
      sums[0] += row.free(e) ? fabs(row.theta[e]) : T(0);
    }
    sum_over_block(sums, shared);
    divisor = FilterScale<T>(layer, diagonal, sums[0]).divisor;
  }
  T* weight = static_cast<T*>(layer.weight) + row.first;
  for (int e = threadIdx.x; e < row.elements; e += blockDim.x) {
    weight[e] = row.free(e) ? row.theta[e] / divisor : e == row.own ? diagonal : T(0);
  }
}

// With r the sum of |t| over the free taps t, d the diagonal, q = r / (b d), s = sqrt(1 + q^2), A = sum of g t for the
// incoming gradient g: dL/dt = g / s - A q / (s^3 b d) sign(t), and dL/dlog d has A q^2 / s^3 beside g d.
template <typename T>
__device__ void inv_conv_filter_backward(const FilterParams& params) {
  const FilterLayer& layer = layer_of_block(params);
  const FilterRow<T> row(layer, static_cast<int>(blockIdx.x) - layer.first_block);
  const T* weight_grad = static_cast<const T*>(layer.weight_grad);
  const auto incoming = [&](int e) { return weight_grad == nullptr ? T(0) : weight_grad[row.first + e]; };
  const T diagonal = row.diagonal();
  T divisor = 1, of_sign = 0, of_log = 0;
  if (layer.bound > 0) {
    double sums[2] = {0, 0};
    for (int e = threadIdx.x; e < row.elements; e += blockDim.x) {
      if (row.free(e)) {
        sums[0] += fabs(row.theta[e]);
        sums[1] += incoming(e) * row.theta[e];
      }
    }
    sum_over_block(sums, reinterpret_cast<double*>(dynamic_shared()));
    const FilterScale<T> scale(layer, diagonal, sums[0]);
    divisor = scale.divisor;
    const T along = static_cast<T>(sums[1]) / divisor / divisor * (scale.ratio / divisor);
    of_sign = along / (diagonal * static_cast<T>(layer.bound));
    of_log = along * scale.ratio;
  }
  if (layer.log_diagonal_grad != nullptr) {
    of_log += *static_cast<const T*>(layer.log_diagonal_grad);
  }
  T* theta_grad = static_cast<T*>(layer.theta_grad) + row.first;
  for (int e = threadIdx.x; e < row.elements; e += blockDim.x) {
    T grad = 0;
    if (row.free(e)) {
      const T tap = row.theta[e];
      grad = incoming(e) / divisor - (tap > 0 ? of_sign : tap < 0 ? -of_sign : T(0));
    } else if (e == row.own && layer.learnable != 0) {
      grad = incoming(e) * diagonal + of_log;
    }
    theta_grad[e] = grad;
  }
}

}  // namespace

#define FILTER_KERNEL(stage, T, name)                                                                              \
  extern "C" __global__ void __launch_bounds__(kFilterThreads) name(const __grid_constant__ FilterParams params) { \
    stage<T>(params);                                                                                              \
  }

FILTER_KERNEL(inv_conv_filter, float, inv_conv_filter_f32)
FILTER_KERNEL(inv_conv_filter, double, inv_conv_filter_f64)
FILTER_KERNEL(inv_conv_filter_backward, float, inv_conv_filter_backward_f32)
FILTER_KERNEL(inv_conv_filter_backward, double, inv_conv_filter_backward_f64)
