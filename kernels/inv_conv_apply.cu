// Corner-padded convolution: y = A(W) x, or A(W)^T x, in one launch and in the exact arithmetic of the element type.
//
//   y[p,h,w] = sum_{q,a,b} W[p,q,a,b] x[q,h-a,w-b],   anchor (a, b) = (0, 0) only for q <= p
//
// in the walk coordinates of inv_conv.cuh, which cover the four corners and the adjoint. Entries of the anchor above
// its diagonal are never read.
//
// Order. All outputs are independent. blockIdx.x is one group of one image; the blocks of one blockIdx.x (along y) and
// their threads share its items, an item being one pixel of kApplyChannels consecutive positions p, pixels fastest: the
// lanes of a warp read consecutive pixels of x and the same weights, and a value of x that was loaded is used
// kApplyChannels times from a register. Weights and the k^2-fold reuse of x come out of L1. No barrier.
//
// Floor per call: bytes 2 B C H W plus the weights; multiply-adds B H W C (n k^2). Loads from L1 per multiply-add:
// (kApplyChannels + 1) / kApplyChannels, of which the weights are broadcasts.

#include "inv_conv.cuh"

constexpr int kApplyThreads = 256;  // twin: APPLY_THREADS in src/cuda/launch.rs
constexpr int kApplyChannels = 4;   // twin: APPLY_CHANNELS in src/cuda/launch.rs

template <typename T, int K>
__device__ __forceinline__ void inv_conv_apply(const InvConvApplyParams& params) {
  using Acc = typename Accumulator<T>::type;
  const InvConvShape& shape = params.shape;
  const int image = blockIdx.x / shape.groups;
  const int group_index = blockIdx.x % shape.groups;
  const InvConvGroup group(shape, group_index, params.adjoint != 0);
  const int n = group.channels, plane = shape.height * shape.width;
  const T* __restrict__ weight = static_cast<const T*>(params.weight);
  const T* __restrict__ x = static_cast<const T*>(params.x) + group_offset(shape, image, group_index);
  T* __restrict__ y = static_cast<T*>(params.y) + group_offset(shape, image, group_index);

  const int items = div_up(n, kApplyChannels) * plane;
  for (int item = blockIdx.y * blockDim.x + threadIdx.x; item < items; item += gridDim.y * blockDim.x) {
    const int p = item / plane * kApplyChannels;
    const int h = item % plane / shape.width, w = item % plane % shape.width;
    const int row_end = K > 0 ? K : min(shape.kernel, h + 1);
    const int column_end = K > 0 ? K : min(shape.kernel, w + 1);

    // the last item may have fewer positions than kApplyChannels: it repeats the last one and drops the copies
    const T* taps[kApplyChannels];
    Acc sum[kApplyChannels];
#pragma unroll
    for (int r = 0; r < kApplyChannels; ++r) {
      taps[r] = weight + group.anchor_entry(min(p + r, n - 1), 0);
      sum[r] = 0;
    }
    const T* pixel = x + group.pixel(h, w);
    for (int q = 0; q < n; ++q) {
#pragma unroll 1  // a row of taps is enough to unroll; whole filters would spill
      for (int a = 0; a < row_end; ++a) {
#pragma unroll
        for (int b = 0; b < column_end; ++b) {
          if (a <= h && b <= w) {
            const Acc value = static_cast<Acc>(pixel[-a * group.row_stride - b * group.column_stride]);
            const int tap = a * group.tap_row_stride + b * group.tap_column_stride;
#pragma unroll
            for (int r = 0; r < kApplyChannels; ++r) {
              if (a + b > 0 || q <= p + r) {
                sum[r] += static_cast<Acc>(taps[r][tap]) * value;
              }
            }
          }
        }
      }
      pixel += group.channel_stride;
#pragma unroll
      for (int r = 0; r < kApplyChannels; ++r) {
        taps[r] += group.in_stride;
      }
    }
    T* out = y + group.pixel(h, w);
#pragma unroll
    for (int r = 0; r < kApplyChannels; ++r) {
      if (p + r < n) {
        out[(p + r) * group.channel_stride] = static_cast<T>(sum[r]);
      }
    }
  }
}

// element, filter side (0: any, taken at run time), name; the names are built in src/cuda/launch.rs
#define INV_CONV_APPLY(T, K, name)                              \
  extern "C" __global__ void __launch_bounds__(kApplyThreads)   \
      name(const __grid_constant__ InvConvApplyParams params) { \
    inv_conv_apply<T, K>(params);                               \
  }

INV_CONV_APPLY(float, 1, inv_conv_apply_f32_k1)
INV_CONV_APPLY(float, 2, inv_conv_apply_f32_k2)
INV_CONV_APPLY(float, 3, inv_conv_apply_f32_k3)
INV_CONV_APPLY(float, 5, inv_conv_apply_f32_k5)
INV_CONV_APPLY(float, 7, inv_conv_apply_f32_k7)
INV_CONV_APPLY(float, 0, inv_conv_apply_f32)
INV_CONV_APPLY(double, 1, inv_conv_apply_f64_k1)
INV_CONV_APPLY(double, 2, inv_conv_apply_f64_k2)
INV_CONV_APPLY(double, 3, inv_conv_apply_f64_k3)
INV_CONV_APPLY(double, 5, inv_conv_apply_f64_k5)
INV_CONV_APPLY(double, 7, inv_conv_apply_f64_k7)
INV_CONV_APPLY(double, 0, inv_conv_apply_f64)
