// An affine map per channel, and its log-det where there is one; src/ops/actnorm has the equations.
//
// forward:  actnorm_apply (a block owns a run of elements; the first one writes the log-det, which all samples share)
// backward: actnorm_backward (a block owns a chunk of the elements of one channel: their gradient, and two sums), then,
//           where a channel has several chunks, actnorm_sum (a block adds those of one channel up)
//
// Floor: forward reads and writes every element once, backward reads two and writes one.
// A sum's order depends on the sizes alone: results are bit-identical from run to run.
#include "actnorm.cuh"
#include "block_sum.cuh"

namespace {

// What x is multiplied by.
template <typename T>
__device__ __forceinline__ T actnorm_scale(const ActNormParams& params, long long channel) {
  const double log_scale = reinterpret_cast<const T*>(params.log_scale)[channel];
  return static_cast<T>(exp(params.log_factor * log_scale));
}

// d log-det / d log_scale, for each channel.
__device__ __forceinline__ double actnorm_log_det_factor(const ActNormParams& params) {
  return params.log_factor * static_cast<double>(params.pixels);
}

template <typename T>
__device__ void actnorm_apply(const ActNormParams& params) {
  double* sums = reinterpret_cast<double*>(dynamic_shared());
  if (blockIdx.x == 0 && params.log_det != nullptr) {
    double sum[1] = {0};
    for (long long c = threadIdx.x; c < params.channels; c += blockDim.x) {
      sum[0] += reinterpret_cast<const T*>(params.log_scale)[c];
    }
    sum_over_block(sum, sums);
    for (long long n = threadIdx.x; n < params.samples; n += blockDim.x) {
      reinterpret_cast<T*>(params.log_det)[n] = static_cast<T>(actnorm_log_det_factor(params) * sum[0]);
    }
    __syncthreads();  // the scales take the place of the sums
  }
  const long long elements = params.samples * params.channels * params.pixels;
  const long long first = static_cast<long long>(blockIdx.x) * params.elements_per_block;
  const long long count = min(params.elements_per_block, elements - first);
  const long long first_plane = first / params.pixels;
  const long long planes = (first + count - 1) / params.pixels - first_plane + 1;
  T* locs = reinterpret_cast<T*>(sums);
  T* scales = locs + planes;
  for (long long plane = threadIdx.x; plane < planes; plane += blockDim.x) {
    const long long channel = (first_plane + plane) % params.channels;
    locs[plane] = reinterpret_cast<const T*>(params.loc)[channel];
    scales[plane] = actnorm_scale<T>(params, channel);
  }
  __syncthreads();
  const T* x = reinterpret_cast<const T*>(params.x) + first;
  T* value = reinterpret_cast<T*>(params.value) + first;
  BlockWalk at(first % params.pixels + threadIdx.x, params.pixels);
  for (long long i = threadIdx.x; i < count; i += blockDim.x, at.step()) {
    const T loc = locs[at.row];
    const T scale = scales[at.row];
    value[i] = (x[i] + params.loc_before * loc) * scale + params.loc_after * loc;
  }
}

// The gradients of one channel's numbers from its sums: of the incoming gradient g, of g times what is scaled, and of the
// log-dets' gradients. Called by thread 0.
template <typename T>
__device__ void actnorm_finish(const ActNormParams& params, long long channel, const double (&sums)[3]) {
  const double scale = actnorm_scale<T>(params, channel);
  const double of_loc = (params.loc_before * scale + params.loc_after) * sums[0];
  const double of_log_scale = params.log_factor * scale * sums[1];
  reinterpret_cast<T*>(params.loc_grad)[channel] = static_cast<T>(of_loc);
  reinterpret_cast<T*>(params.log_scale_grad)[channel] =
      static_cast<T>(of_log_scale + actnorm_log_det_factor(params) * sums[2]);
}

// The thread's part of the sum of the log-dets' gradients; 0 without a log-det.
template <typename T>
__device__ double actnorm_log_dets(const ActNormParams& params) {
  double sum = 0;
  const long long samples = params.log_det_grad == nullptr ? 0 : params.samples;
  for (long long n = threadIdx.x; n < samples; n += blockDim.x) {
    sum += reinterpret_cast<const T*>(params.log_det_grad)[n];
  }
  return sum;
}

template <typename T>
__device__ void actnorm_backward(const ActNormParams& params) {
  double* shared = reinterpret_cast<double*>(dynamic_shared());
  const long long channel = blockIdx.x;
  const long long first = static_cast<long long>(blockIdx.y) * params.elements_per_chunk;
  const long long count = min(params.elements_per_chunk, params.samples * params.pixels - first);
  const T scale = actnorm_scale<T>(params, channel);
  const T shift = params.loc_before * reinterpret_cast<const T*>(params.loc)[channel];
  double sums[3] = {0, 0, 0};
  BlockWalk at(first + threadIdx.x, params.pixels);  // through [samples][pixels] of the channel
  for (long long walked = threadIdx.x; walked < count; walked += blockDim.x, at.step()) {
    const long long i = (at.row * params.channels + channel) * params.pixels + at.column;
    const T grad = reinterpret_cast<const T*>(params.value_grad)[i];
    const T x = reinterpret_cast<const T*>(params.x)[i];
    reinterpret_cast<T*>(params.x_grad)[i] = grad * scale;
    sums[0] += grad;
    sums[1] += grad * (x + shift);
  }
  if (params.chunks == 1) {
    sums[2] = actnorm_log_dets<T>(params);
  }
  sum_over_block(sums, shared);
  if (threadIdx.x != 0) {
    return;
  }
  if (params.chunks == 1) {
    actnorm_finish<T>(params, channel, sums);
    return;
  }
  double* partial = reinterpret_cast<double*>(params.partials) + (channel * params.chunks + blockIdx.y) * 2;
  partial[0] = sums[0];
  partial[1] = sums[1];
}

template <typename T>
__device__ void actnorm_sum(const ActNormParams& params) {
  double* shared = reinterpret_cast<double*>(dynamic_shared());
  const long long channel = blockIdx.x;
  const double* partials = reinterpret_cast<const double*>(params.partials) + channel * params.chunks * 2;
  double sums[3] = {0, 0, actnorm_log_dets<T>(params)};
  for (int chunk = threadIdx.x; chunk < params.chunks; chunk += blockDim.x) {
    sums[0] += partials[2 * chunk];
    sums[1] += partials[2 * chunk + 1];
  }
  sum_over_block(sums, shared);
  if (threadIdx.x == 0) {
    actnorm_finish<T>(params, channel, sums);
  }
}

}  // namespace

#define ACTNORM_KERNEL(stage, T, name)                                                                                \
  extern "C" __global__ void __launch_bounds__(kActNormThreads) name(const __grid_constant__ ActNormParams params) { \
    stage<T>(params);                                                                                                 \
  }

ACTNORM_KERNEL(actnorm_apply, float, actnorm_apply_f32)
ACTNORM_KERNEL(actnorm_apply, double, actnorm_apply_f64)
ACTNORM_KERNEL(actnorm_backward, float, actnorm_backward_f32)
ACTNORM_KERNEL(actnorm_backward, double, actnorm_backward_f64)
ACTNORM_KERNEL(actnorm_sum, float, actnorm_sum_f32)
ACTNORM_KERNEL(actnorm_sum, double, actnorm_sum_f64)
