// The element-wise half of an affine coupling with its log-det; src/ops/coupling has the equations.
//
// forward:  coupling_apply (a block owns a sample, or a part of it), then, where a sample has several blocks,
//           coupling_sum (a block adds the log-dets of one sample up)
// backward: coupling_backward (the same blocks; nothing is added up)
//
// Floor: forward reads two numbers an element and writes one, backward reads three and writes two.
// A sum's order depends on the sizes alone: results are bit-identical from run to run.
#include "block_sum.cuh"
#include "coupling.cuh"

namespace {

// Where a thread's elements are: those of x in its two halves, and the pair of numbers that the net says about the second.
struct CouplingPlace {
  long long kept;
  long long moved;
  long long raw;
  long long shift;
};

// The elements of this block: a run of the moved half of one sample.
struct CouplingChunk {
  long long sample;
  long long first;
  long long count;

  __device__ explicit CouplingChunk(const CouplingParams& params)
      : sample(blockIdx.x / params.chunks),
        first(blockIdx.x % params.chunks * params.elements_per_chunk),
        count(min(params.elements_per_chunk, params.half * params.pixels - first)) {}

  __device__ CouplingPlace place(const CouplingParams& params, const BlockWalk& at) const {
    const long long plane = sample * params.half + at.row;
    const long long kept = (plane + sample * params.half) * params.pixels + at.column;
    const long long raw = 2 * plane * params.pixels + at.column;
    return {kept, kept + params.half * params.pixels, raw, raw + params.pixels};
  }
};

template <typename T>
__device__ void coupling_apply(const CouplingParams& params) {
  const CouplingChunk chunk(params);
  const T* x = reinterpret_cast<const T*>(params.x);
  const T* net = reinterpret_cast<const T*>(params.net);
  T* value = reinterpret_cast<T*>(params.value);
  const bool inverse = params.inverse != 0;
  double log_det[1] = {0};
  BlockWalk at(chunk.first + threadIdx.x, params.pixels);
  for (long long walked = threadIdx.x; walked < chunk.count; walked += blockDim.x, at.step()) {
    const CouplingPlace place = chunk.place(params, at);
    const T log_scale = 2 * tanh(net[place.raw] / 2);
    const T shift = net[place.shift];
    value[place.kept] = x[place.kept];
    value[place.moved] =
        inverse ? (x[place.moved] - shift) * exp(-log_scale) : x[place.moved] * exp(log_scale) + shift;
    log_det[0] += log_scale;
  }
  sum_over_block(log_det, reinterpret_cast<double*>(dynamic_shared()));
  if (threadIdx.x != 0) {
    return;
  }
  if (params.chunks == 1) {
    reinterpret_cast<T*>(params.log_det)[chunk.sample] = static_cast<T>(inverse ? -log_det[0] : log_det[0]);
  } else {
    reinterpret_cast<double*>(params.partials)[blockIdx.x] = log_det[0];
  }
}

template <typename T>
__device__ void coupling_sum(const CouplingParams& params) {
  const long long sample = blockIdx.x;
  const double* partials = reinterpret_cast<const double*>(params.partials) + sample * params.chunks;
  double log_det[1] = {0};
  for (int chunk = threadIdx.x; chunk < params.chunks; chunk += blockDim.x) {
    log_det[0] += partials[chunk];
  }
  sum_over_block(log_det, reinterpret_cast<double*>(dynamic_shared()));
  if (threadIdx.x == 0) {
    reinterpret_cast<T*>(params.log_det)[sample] = static_cast<T>(params.inverse != 0 ? -log_det[0] : log_det[0]);
  }
}

template <typename T>
__device__ void coupling_backward(const CouplingParams& params) {
  const CouplingChunk chunk(params);
  const T* x = reinterpret_cast<const T*>(params.x);
  const T* net = reinterpret_cast<const T*>(params.net);
  const T* value_grad = reinterpret_cast<const T*>(params.value_grad);
  T* x_grad = reinterpret_cast<T*>(params.x_grad);
  T* net_grad = reinterpret_cast<T*>(params.net_grad);
  const bool inverse = params.inverse != 0;
  const T log_det_grad = reinterpret_cast<const T*>(params.log_det_grad)[chunk.sample];
  BlockWalk at(chunk.first + threadIdx.x, params.pixels);
  for (long long walked = threadIdx.x; walked < chunk.count; walked += blockDim.x, at.step()) {
    const CouplingPlace place = chunk.place(params, at);
    const T half_tanh = tanh(net[place.raw] / 2);
    const T grad = value_grad[place.moved];
    const T through = grad * exp(inverse ? -2 * half_tanh : 2 * half_tanh);
    const T of_log_scale = inverse ? -through * (x[place.moved] - net[place.shift]) - log_det_grad
                                   : through * x[place.moved] + log_det_grad;
    x_grad[place.kept] = value_grad[place.kept];
    x_grad[place.moved] = through;
    net_grad[place.raw] = of_log_scale * (1 - half_tanh * half_tanh);
    net_grad[place.shift] = inverse ? -through : grad;
  }
}

}  // namespace

#define COUPLING_KERNEL(stage, T, name)                                                                                \
  extern "C" __global__ void __launch_bounds__(kCouplingThreads) name(const __grid_constant__ CouplingParams params) { \
    stage<T>(params);                                                                                                  \
  }

COUPLING_KERNEL(coupling_apply, float, coupling_apply_f32)
COUPLING_KERNEL(coupling_apply, double, coupling_apply_f64)
COUPLING_KERNEL(coupling_sum, float, coupling_sum_f32)
COUPLING_KERNEL(coupling_sum, double, coupling_sum_f64)
COUPLING_KERNEL(coupling_backward, float, coupling_backward_f32)
COUPLING_KERNEL(coupling_backward, double, coupling_backward_f64)
