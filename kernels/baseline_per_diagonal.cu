// The published scheme of the inverse, with correct mathematics: one launch for every channel of every diagonal, with a
// device synchronisation after each. For `inverse-flow bench` alone; nothing else calls it.
//
//   x[p,h,w] = (y[p,h,w] - sum_{(a,b) != (0,0)} sum_q W[p,q,a,b] x[q,h-a,w-b] - sum_{q<p} D[p,q] x[q,h,w]) / D[p,p]
//
// in the walk coordinates of inv_conv.cuh. A launch computes channel p on diagonal d = h + w of every image and every
// group: C/g (H+W-1) launches in all. Earlier channels of the pixel, and earlier diagonals, are final because the
// launches that computed them have ended.
//
// Kept of the published code: its decomposition, one thread a pixel and image, everything in global memory, and the
// synchronisation of the whole device between launches. Not kept: its errors (it multiplies W[p,q] by channel p of a
// neighbour where it should take channel q, and mixes quarters of the channels only).
//
// Source: Nagar & Varma, "Inverse-Flow" (2025), https://arxiv.org/abs/2410.14634, and its public code.

#include "inv_conv.cuh"

constexpr int kBaselineThreads = 256;  // twin: THREADS in src/cuda/baseline.rs

// Twin: BaselineParams in src/cuda/baseline.rs.
struct BaselineParams {
  const void* y;       // [B, C, H, W]
  const void* weight;  // [C, C/g, k, k]
  void* x;             // [B, C, H, W], complete on earlier diagonals and in earlier channels of this one
  int* singular;       // as in InvConvSolveParams
  InvConvShape shape;
  int channel;   // p, of every group
  int diagonal;  // d
};
static_assert(sizeof(BaselineParams) == 320, "twin: BaselineParams in src/cuda/baseline.rs");
static_assert(offsetof(BaselineParams, channel) == 312, "twin: BaselineParams in src/cuda/baseline.rs");

template <typename T>
__device__ __forceinline__ void baseline_per_diagonal(const BaselineParams& params) {
  const InvConvShape& shape = params.shape;
  const int d = params.diagonal, p = params.channel;
  const int first_row = max(0, d - (shape.width - 1));
  const int length = min(d, shape.height - 1) - first_row + 1;
  const long long item = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int h = first_row + static_cast<int>(item % length), w = d - h;
  const long long image_group = item / length;
  const int image = static_cast<int>(image_group / shape.groups), group_index = image_group % shape.groups;
  if (image >= shape.batch) {
    return;
  }
  const InvConvGroup group(shape, group_index, false);
  const T* weight = static_cast<const T*>(params.weight) + group.anchor_entry(p, 0);
  const T* y = static_cast<const T*>(params.y) + group_offset(shape, image, group_index) + group.pixel(h, w);
  T* x = static_cast<T*>(params.x) + group_offset(shape, image, group_index) + group.pixel(h, w);
  T sum = y[p * group.channel_stride];
  for (int a = 0; a < min(shape.kernel, h + 1); ++a) {
    for (int b = 0; b < min(shape.kernel, w + 1); ++b) {
      const int channels = a + b == 0 ? p : group.channels;
      for (int q = 0; q < channels; ++q) {
        sum -= weight[q * group.in_stride + a * group.tap_row_stride + b * group.tap_column_stride] *
               x[q * group.channel_stride - a * group.row_stride - b * group.column_stride];
      }
    }
  }
  const T pivot = weight[p * group.in_stride];
  if (pivot == T(0)) {
    atomicMax(params.singular, kZeroAt - group.channel(p));
  }
  x[p * group.channel_stride] = sum / pivot;
}

#define BASELINE_PER_DIAGONAL(T, name)                          \
  extern "C" __global__ void __launch_bounds__(kBaselineThreads) \
      name(const __grid_constant__ BaselineParams params) {     \
    baseline_per_diagonal<T>(params);                           \
  }

BASELINE_PER_DIAGONAL(float, baseline_per_diagonal_f32)
BASELINE_PER_DIAGONAL(double, baseline_per_diagonal_f64)
