// One butterfly factor with its log-det; src/ops/butterfly.rs has the equations.
//
// forward:  butterfly_apply (a block owns a run of pairs; the first one writes the log-det, which all samples share)
// backward: butterfly_backward (a block owns 32 pairs of all samples: their gradient, and the sums for their four numbers)
//
// Floor: forward reads and writes every element once, backward reads two and writes one; a factor is read from the cache.
// A sum's order depends on the sizes alone: results are bit-identical from run to run.
#include "block_sum.cuh"
#include "butterfly.cuh"

namespace {

// The 2 x 2 matrix of a pair: y0 = a x0 + b x1, y1 = c x0 + d x1.
template <typename T>
struct ButterflyPair {
  T a;
  T b;
  T c;
  T d;

  // `first` is the place of a in the factor.
  __device__ ButterflyPair(const T* factor, long long first, long long pairs)
      : a(factor[first]), b(factor[first + 2 * pairs]), c(factor[first + pairs]), d(factor[first + 3 * pairs]) {}

  __device__ double determinant() const { return static_cast<double>(a) * d - static_cast<double>(b) * c; }
};

// The place of a of pair `q` of the factor.
__device__ __forceinline__ long long butterfly_place(long long q, long long pairs) {
  return q / pairs * 4 * pairs + q % pairs;
}

template <typename T>
__device__ void butterfly_apply(const ButterflyParams& params) {
  const T* factor = reinterpret_cast<const T*>(params.factor);
  const long long pairs = params.pairs;
  if (blockIdx.x == 0) {
    double sum[1] = {0};
    for (long long q = threadIdx.x; q < params.blocks * pairs; q += blockDim.x) {
      sum[0] += log(fabs(ButterflyPair<T>(factor, butterfly_place(q, pairs), pairs).determinant()));
    }
    sum_over_block(sum, reinterpret_cast<double*>(dynamic_shared()));
    for (long long n = threadIdx.x; n < params.samples; n += blockDim.x) {
      reinterpret_cast<T*>(params.log_det)[n] = static_cast<T>(sum[0]);
    }
  }
  const T* x = reinterpret_cast<const T*>(params.x);
  T* value = reinterpret_cast<T*>(params.value);
  const long long all = params.samples * params.blocks * pairs;
  const long long first = static_cast<long long>(blockIdx.x) * params.pairs_per_block;
  const long long count = min(params.pairs_per_block, all - first);
  BlockWalk at(first + threadIdx.x, pairs);  // through the blocks of all samples
  for (long long i = threadIdx.x; i < count; i += blockDim.x, at.step()) {
    const ButterflyPair<T> pair(factor, at.row % params.blocks * 4 * pairs + at.column, pairs);
    const long long place = at.row * 2 * pairs + at.column;
    const T x0 = x[place];
    const T x1 = x[place + pairs];
    value[place] = pair.a * x0 + pair.b * x1;
    value[place + pairs] = pair.c * x0 + pair.d * x1;
  }
}

template <typename T>
__device__ void butterfly_backward(const ButterflyParams& params) {
  double* shared = reinterpret_cast<double*>(dynamic_shared());
  const T* x = reinterpret_cast<const T*>(params.x);
  const T* grad = reinterpret_cast<const T*>(params.value_grad);
  T* x_grad = reinterpret_cast<T*>(params.x_grad);
  const long long pairs = params.pairs;
  double log_dets[1] = {0};
  for (long long n = threadIdx.x; n < params.samples; n += blockDim.x) {
    log_dets[0] += reinterpret_cast<const T*>(params.log_det_grad)[n];
  }
  sum_over_block(log_dets, shared);
  __syncthreads();  // the sums of the pairs take their place
  const int lane = threadIdx.x % kButterflyLanes;
  const int row = threadIdx.x / kButterflyLanes;
  constexpr int kRows = kButterflyThreads / kButterflyLanes;
  const long long q = static_cast<long long>(blockIdx.x) * kButterflyLanes + lane;
  const bool mine = q < params.blocks * pairs;
  const long long place = mine ? butterfly_place(q, pairs) : 0;
  const ButterflyPair<T> pair(reinterpret_cast<const T*>(params.factor), place, pairs);
  double sums[4] = {0, 0, 0, 0};  // for a, c, b, d: the order in the factor
  for (long long n = row; mine && n < params.samples; n += kRows) {
    const long long i = n * params.blocks * 2 * pairs + q / pairs * 2 * pairs + q % pairs;
    const T x0 = x[i];
    const T x1 = x[i + pairs];
    const T g0 = grad[i];
    const T g1 = grad[i + pairs];
    x_grad[i] = pair.a * g0 + pair.c * g1;
    x_grad[i + pairs] = pair.b * g0 + pair.d * g1;
    sums[0] += static_cast<double>(g0) * x0;
    sums[1] += static_cast<double>(g1) * x0;
    sums[2] += static_cast<double>(g0) * x1;
    sums[3] += static_cast<double>(g1) * x1;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    shared[(i * kRows + row) * kButterflyLanes + lane] = sums[i];
  }
  __syncthreads();
  // the first four rows add one number each up
  if (!mine || row >= 4) {
    return;
  }
  double sum = 0;
  for (int other = 0; other < kRows; ++other) {
    sum += shared[(row * kRows + other) * kButterflyLanes + lane];
  }
  const double across[4] = {static_cast<double>(pair.d), -static_cast<double>(pair.b), -static_cast<double>(pair.c),
                            static_cast<double>(pair.a)};
  double opposite = across[0];
#pragma unroll
  for (int i = 1; i < 4; ++i) {
    opposite = row == i ? across[i] : opposite;
  }
  reinterpret_cast<T*>(params.factor_grad)[place + row * pairs] =
      static_cast<T>(sum + log_dets[0] * opposite / pair.determinant());
}

}  // namespace

// One block a multiprocessor is enough for the bounds: asked to guess, ptxas saves registers and spills.
#define BUTTERFLY_KERNEL(stage, T, name)                             \
  extern "C" __global__ void __launch_bounds__(kButterflyThreads, 1) \
      name(const __grid_constant__ ButterflyParams params) {         \
    stage<T>(params);                                                \
  }

BUTTERFLY_KERNEL(butterfly_apply, float, butterfly_apply_f32)
BUTTERFLY_KERNEL(butterfly_apply, double, butterfly_apply_f64)
BUTTERFLY_KERNEL(butterfly_backward, float, butterfly_backward_f32)
BUTTERFLY_KERNEL(butterfly_backward, double, butterfly_backward_f64)
