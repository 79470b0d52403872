// What surrounds the convolutions of a masked residual block; src/ops/masked_residual has the equations.
//
// residual_filters, residual_filters_backward: a thread owns one element of an output
// elu_slope, elu_slope_backward:               a block owns a run of elements
//
// Floor: every element is read once and written once; the filters are small.
// A sum's order depends on the sizes alone: results are bit-identical from run to run.
#include "block_sum.cuh"
#include "masked_residual.cuh"

namespace {

constexpr int kResidualTaps = 9;
constexpr int kResidualCentre = 4;
// Smallest slope of the direct path. Twin: MIN_SLOPE in src/problem/residual.rs.
constexpr double kResidualMinSlope = 1e-12;

template <typename T>
__device__ __forceinline__ T sign_of(T value) {
  return static_cast<T>((value > 0) - (value < 0));
}

// Which output an element belongs to, as a number, and the element's place in it.
struct ResidualPlace {
  int tensor;  // 0 to 2: a filter, 3: the paths, 4: the slope, 5: none
  long long index;

  __device__ explicit ResidualPlace(const ResidualFilterParams& params) {
    const long long hidden = params.multiplicity * params.colours;
    const long long sizes[5] = {kResidualTaps * hidden * params.colours, kResidualTaps * hidden * hidden, kResidualTaps * hidden * params.colours,
                                hidden * params.multiplicity, params.elements};
    index = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    tensor = 0;
#pragma unroll
    for (int i = 0; i < 5; ++i) {
      if (tensor == i && index >= sizes[i]) {
        index -= sizes[i];
        tensor = i + 1;
      }
    }
  }
};

// One tap of a filter: hidden channel a C + i belongs to colour i.
struct ResidualTap {
  long long a;  // of the output, and of the input
  long long b;
  long long i;
  long long j;
  bool seen;
  bool centre;  // on the diagonal of the Jacobian

  __device__ ResidualTap(const ResidualFilterParams& params, int filter, long long index) {
    const long long inputs = filter == 0 ? params.colours : params.multiplicity * params.colours;
    const long long output = index / (inputs * kResidualTaps);
    const long long input = index / kResidualTaps % inputs;
    const int tap = static_cast<int>(index % kResidualTaps);
    a = output / params.colours;
    i = output % params.colours;
    b = input / params.colours;
    j = input % params.colours;
    const long long offset = (j - i) * kResidualTaps + tap - kResidualCentre;
    seen = params.lower != 0 ? offset <= 0 : offset >= 0;
    centre = offset == 0;
  }
};

// The centre taps of one path from a colour i to itself, through hidden channels b and a.
template <typename T>
struct ResidualPath {
  T first;
  T second;
  T third;
  T sign;

  __device__ ResidualPath(const ResidualFilterParams& params, long long i, long long a, long long b) {
    const long long colours = params.colours;
    const long long hidden = params.multiplicity * colours;
    const T* const* weights = reinterpret_cast<const T* const*>(params.weights);
    first = weights[0][((b * colours + i) * colours + i) * kResidualTaps + kResidualCentre];
    second = weights[1][((a * colours + i) * hidden + b * colours + i) * kResidualTaps + kResidualCentre];
    third = weights[2][(i * hidden + a * colours + i) * kResidualTaps + kResidualCentre];
    sign = sign_of(first) * sign_of(third);
  }

  __device__ T positive() const { return sign * fabs(second); }
};

template <typename T>
__device__ void residual_filters(const ResidualFilterParams& params) {
  const ResidualPlace at(params);
  if (at.tensor < 3) {
    const ResidualTap tap(params, at.tensor, at.index);
    const T weight = reinterpret_cast<const T*>(params.weights[at.tensor])[at.index];
    T value = tap.seen ? weight : T(0);
    if (at.tensor == 1 && tap.centre) {
      value = ResidualPath<T>(params, tap.i, tap.a, tap.b).positive();
    }
    reinterpret_cast<T*>(params.filters[at.tensor])[at.index] = value;
  } else if (at.tensor == 3) {
    const long long l = params.multiplicity;
    const ResidualPath<T> path(params, at.index / (l * l), at.index / l % l, at.index % l);
    reinterpret_cast<T*>(params.paths)[at.index] = path.first * path.positive() * path.third;
  } else if (at.tensor == 4) {
    const T slope = fabs(reinterpret_cast<const T*>(params.t)[at.index]);
    reinterpret_cast<T*>(params.slope)[at.index] = max(slope, static_cast<T>(kResidualMinSlope));
  }
}

template <typename T>
__device__ void residual_filters_backward(const ResidualFilterParams& params) {
  const ResidualPlace at(params);
  const long long l = params.multiplicity;
  const T* paths_grad = reinterpret_cast<const T*>(params.paths_grad);
  if (at.tensor < 3) {
    const ResidualTap tap(params, at.tensor, at.index);
    T grad = tap.seen ? reinterpret_cast<const T*>(params.filter_grads[at.tensor])[at.index] : T(0);
    if (tap.centre && at.tensor == 1) {
      const ResidualPath<T> path(params, tap.i, tap.a, tap.b);
      grad += paths_grad[(tap.i * l + tap.a) * l + tap.b] * path.first * path.third;
      grad *= path.sign * sign_of(path.second);
    } else if (tap.centre) {
      double sum = 0;
      for (long long other = 0; other < l; ++other) {
        const long long a = at.tensor == 0 ? other : tap.b;
        const long long b = at.tensor == 0 ? tap.a : other;
        const ResidualPath<T> path(params, tap.i, a, b);
        sum += paths_grad[(tap.i * l + a) * l + b] * path.positive() * (at.tensor == 0 ? path.third : path.first);
      }
      grad += static_cast<T>(sum);
    }
    reinterpret_cast<T*>(params.weight_grads[at.tensor])[at.index] = grad;
  } else if (at.tensor == 3) {
    // the paths are made of the filters: nothing of their own
  } else if (at.tensor == 4) {
    const T t = reinterpret_cast<const T*>(params.t)[at.index];
    const T grad = reinterpret_cast<const T*>(params.slope_grad)[at.index];
    reinterpret_cast<T*>(params.t_grad)[at.index] =
        fabs(t) >= static_cast<T>(kResidualMinSlope) ? grad * sign_of(t) : T(0);
  }
}

// A run of elements of h [samples, l, C, pixels], and where the slope of one is in [C, l, samples, pixels].
template <typename T>
struct EluRun {
  long long first;
  long long count;

  __device__ explicit EluRun(const EluSlopeParams& params)
      : first(static_cast<long long>(blockIdx.x) * params.elements_per_block),
        count(min(params.elements_per_block,
                  params.samples * params.multiplicity * params.colours * params.pixels - first)) {}

  // `plane` counts those of all samples.
  __device__ static long long slope_place(const EluSlopeParams& params, long long plane, long long column) {
    const long long colour = plane % params.colours;
    const long long a = plane / params.colours % params.multiplicity;
    const long long n = plane / params.colours / params.multiplicity;
    return ((colour * params.multiplicity + a) * params.samples + n) * params.pixels + column;
  }
};

template <typename T>
__device__ void elu_slope(const EluSlopeParams& params) {
  const EluRun<T> run(params);
  const T* h = reinterpret_cast<const T*>(params.h) + run.first;
  T* value = reinterpret_cast<T*>(params.value) + run.first;
  BlockWalk at(run.first + threadIdx.x, params.pixels);
  for (long long i = threadIdx.x; i < run.count; i += blockDim.x, at.step()) {
    const T x = h[i];
    value[i] = x > 0 ? x : expm1(x);
    reinterpret_cast<T*>(params.slope)[run.slope_place(params, at.row, at.column)] = x > 0 ? T(1) : exp(x);
  }
}

template <typename T>
__device__ void elu_slope_backward(const EluSlopeParams& params) {
  const EluRun<T> run(params);
  const T* h = reinterpret_cast<const T*>(params.h) + run.first;
  const T* value_grad = reinterpret_cast<const T*>(params.value_grad) + run.first;
  T* h_grad = reinterpret_cast<T*>(params.h_grad) + run.first;
  BlockWalk at(run.first + threadIdx.x, params.pixels);
  for (long long i = threadIdx.x; i < run.count; i += blockDim.x, at.step()) {
    const T x = h[i];
    const T of_slope = reinterpret_cast<const T*>(params.slope_grad)[run.slope_place(params, at.row, at.column)];
    h_grad[i] = x > 0 ? value_grad[i] : (value_grad[i] + of_slope) * exp(x);
  }
}

}  // namespace

// One block a multiprocessor is enough for the bounds: asked to guess, ptxas saves registers and spills.
#define MASKED_RESIDUAL_KERNEL(stage, Params, T, name)                    \
  extern "C" __global__ void __launch_bounds__(kMaskedResidualThreads, 1) \
      name(const __grid_constant__ Params params) {                       \
    stage<T>(params);                                                     \
  }

MASKED_RESIDUAL_KERNEL(residual_filters, ResidualFilterParams, float, residual_filters_f32)
MASKED_RESIDUAL_KERNEL(residual_filters, ResidualFilterParams, double, residual_filters_f64)
MASKED_RESIDUAL_KERNEL(residual_filters_backward, ResidualFilterParams, float, residual_filters_backward_f32)
MASKED_RESIDUAL_KERNEL(residual_filters_backward, ResidualFilterParams, double, residual_filters_backward_f64)
MASKED_RESIDUAL_KERNEL(elu_slope, EluSlopeParams, float, elu_slope_f32)
MASKED_RESIDUAL_KERNEL(elu_slope, EluSlopeParams, double, elu_slope_f64)
MASKED_RESIDUAL_KERNEL(elu_slope_backward, EluSlopeParams, float, elu_slope_backward_f32)
MASKED_RESIDUAL_KERNEL(elu_slope_backward, EluSlopeParams, double, elu_slope_backward_f64)
