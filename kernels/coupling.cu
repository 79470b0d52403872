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

// What the net says about one element: the logarithm of its scale, the factor exp(log_scale) or its reciprocal in the
// inverse direction, and d log_scale / ds.
template <typename T>
struct CouplingScale {
  T log_scale;
  T factor;
  T slope;

  __device__ CouplingScale(int form, bool inverse, T s) {
    if (form == kCouplingSigmoid) {
      // log(sigmoid) would underflow where this does not, and nothing here overflows
      const T a = s + 2;
      const T small = exp(-fabs(a));
      const bool positive = a >= 0;
      log_scale = (positive ? T(0) : a) - log1p(small);
      factor = exp(inverse ? -log_scale : log_scale);
      slope = (positive ? small : T(1)) / (1 + small);
    } else {
      const T half = form == kCouplingBounded ? tanh(s / 2) : T(0);
      log_scale = form == kCouplingBounded ? 2 * half : -s;
      factor = exp(inverse ? -log_scale : log_scale);
      slope = form == kCouplingBounded ? 1 - half * half : T(-1);
    }
  }
};

// Where an element of the moved channels is in x, and the two numbers that the net says about it.
struct CouplingPlace {
  long long moved;
  long long scale;
  long long shift;
};

// The elements of this block: a run of the moved channels of one sample, and a run of the kept ones.
struct CouplingChunk {
  long long sample;
  long long first;
  long long count;
  long long first_kept;
  long long kept_count;

  __device__ explicit CouplingChunk(const CouplingParams& params)
      : sample(blockIdx.x / params.chunks),
        first(blockIdx.x % params.chunks * params.elements_per_chunk),
        count(min(params.elements_per_chunk, params.moved * params.pixels - first)),
        first_kept(blockIdx.x % params.chunks * params.kept_per_chunk),
        kept_count(min(params.kept_per_chunk, params.kept * params.pixels - first_kept)) {
    first_kept += sample * (params.kept + params.moved) * params.pixels;
  }

  __device__ CouplingPlace place(const CouplingParams& params, const BlockWalk& at) const {
    const long long moved = (sample + 1) * params.kept + sample * params.moved + at.row;
    const long long said = 2 * sample * params.moved + at.row * params.channel_step;
    return {moved * params.pixels + at.column, (said + params.scale_channel) * params.pixels + at.column,
            (said + params.shift_channel) * params.pixels + at.column};
  }

  template <typename T>
  __device__ void copy_kept(const void* from, void* to) const {
    for (long long i = threadIdx.x; i < kept_count; i += blockDim.x) {
      reinterpret_cast<T*>(to)[first_kept + i] = reinterpret_cast<const T*>(from)[first_kept + i];
    }
  }
};

template <typename T>
__device__ void coupling_apply(const CouplingParams& params) {
  const CouplingChunk chunk(params);
  const T* x = reinterpret_cast<const T*>(params.x);
  const T* net = reinterpret_cast<const T*>(params.net);
  T* value = reinterpret_cast<T*>(params.value);
  const bool inverse = params.inverse != 0;
  chunk.copy_kept<T>(params.x, params.value);
  double log_det[1] = {0};
  BlockWalk at(chunk.first + threadIdx.x, params.pixels);
  for (long long walked = threadIdx.x; walked < chunk.count; walked += blockDim.x, at.step()) {
    const CouplingPlace place = chunk.place(params, at);
    const CouplingScale<T> scale(params.log_scale, inverse, net[place.scale]);
    const T shift = net[place.shift];
    value[place.moved] = (x[place.moved] + params.shift_before * shift) * scale.factor + params.shift_after * shift;
    log_det[0] += scale.log_scale;
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
  chunk.copy_kept<T>(params.value_grad, params.x_grad);
  BlockWalk at(chunk.first + threadIdx.x, params.pixels);
  for (long long walked = threadIdx.x; walked < chunk.count; walked += blockDim.x, at.step()) {
    const CouplingPlace place = chunk.place(params, at);
    const CouplingScale<T> scale(params.log_scale, inverse, net[place.scale]);
    const T grad = value_grad[place.moved];
    const T through = grad * scale.factor;
    const T of_log_scale = through * (x[place.moved] + params.shift_before * net[place.shift]) + log_det_grad;
    x_grad[place.moved] = through;
    net_grad[place.scale] = (inverse ? -of_log_scale : of_log_scale) * scale.slope;
    net_grad[place.shift] = params.shift_before * through + params.shift_after * grad;
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
