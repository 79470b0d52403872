// Corner-padded convolution: y = A(W) x, or A(W)^T x, in one launch and in the exact arithmetic of the element type.
//
//   y[p,h,w] = sum_{q,a,b} W[p,q,a,b] x[q,h-a,w-b],   anchor (a, b) = (0, 0) only for q <= p
//
// in the walk coordinates of inv_conv.cuh, which cover the four corners and the adjoint. Entries of the anchor above
// its diagonal are never read.
//
// Order. All outputs are independent. The pixels of the whole batch are one long row, cut into runs of kApplyPixels x
// blockDim.x; a block owns one run and kApplyChannels consecutive positions p of one group, a thread kApplyPixels pixels
// that lie blockDim.x apart, so that the lanes of a warp read neighbours. The weights of the block's positions go
// through shared memory, a stage of `stage_rows` rows of taps at a time, the positions innermost: one 16-byte load that
// all lanes share feeds kApplyPixels x 4 multiply-adds.
//
//   stage    weights of the next rows (q, a)        barrier: they are complete
//   add      one row of taps after the other        barrier: nobody reads them any more
//
// Loads per multiply-add: (1 + kApplyPixels) / (4 kApplyPixels) in float32. x is read n / kApplyChannels times, from L1
// and L2. Floors: docs/performance-gpu.md.

#include "inv_conv.cuh"

constexpr int kApplyThreads = 128;  // twin: APPLY_THREADS in src/cuda/launch/apply.rs
constexpr int kApplyChannels = 4;   // twin: APPLY_CHANNELS
constexpr int kApplyPixels = 2;     // twin: APPLY_PIXELS

template <typename T, int K>
__device__ __forceinline__ void inv_conv_apply(const InvConvApplyParams& params) {
  const InvConvShape& shape = params.shape;
  const int k = K > 0 ? K : shape.kernel, n = shape.channels / shape.groups;
  const int plane = shape.height * shape.width, tiles = div_up(n, kApplyChannels);
  const T* __restrict__ weight = static_cast<const T*>(params.weight);
  T* weights = reinterpret_cast<T*>(dynamic_shared());  // [stage_rows][k][kApplyChannels]

  // this thread's pixels
  const long long pixels = static_cast<long long>(shape.batch) * plane;
  const long long first = static_cast<long long>(blockIdx.x) * (kApplyPixels * blockDim.x) + threadIdx.x;
  int image[kApplyPixels], h[kApplyPixels], w[kApplyPixels];
#pragma unroll
  for (int j = 0; j < kApplyPixels; ++j) {
    const long long pixel = first + j * static_cast<int>(blockDim.x);
    const int place = static_cast<int>(pixel % plane);
    image[j] = pixel < pixels ? static_cast<int>(pixel / plane) : -1;
    h[j] = image[j] < 0 ? -1 : place / shape.width;  // a row of -1 has no tap inside the image
    w[j] = place % shape.width;
  }

  for (int tile = blockIdx.y; tile < shape.groups * tiles; tile += gridDim.y) {
    const int group_index = tile / tiles, p = tile % tiles * kApplyChannels;
    const InvConvGroup group(shape, group_index, params.adjoint != 0);
    const T* pixel[kApplyPixels];
    T sum[kApplyPixels][kApplyChannels] = {};
#pragma unroll
    for (int j = 0; j < kApplyPixels; ++j) {
      pixel[j] = static_cast<const T*>(params.x) + group_offset(shape, max(image[j], 0), group_index) +
                 group.pixel(max(h[j], 0), w[j]);
    }
    for (int stage = 0; stage < n * k; stage += params.stage_rows) {
      const int rows = min(params.stage_rows, n * k - stage);
      for (int i = threadIdx.x; i < rows * k * kApplyChannels; i += blockDim.x) {
        const int out = p + i % kApplyChannels, b = i / kApplyChannels % k, row = stage + i / kApplyChannels / k;
        const int q = row / k, a = row % k;
        const bool read = out < n && (a + b > 0 || q <= out);
        weights[i] = read ? weight[group.anchor_entry(out, q) + a * group.tap_row_stride + b * group.tap_column_stride]
                          : T(0);
      }
      __syncthreads();  // the weights are complete
      int q = stage / k, a = stage % k;
      const T* row_weights = weights;
      for (int row = 0; row < rows; ++row) {
        const int offset = q * group.channel_stride - a * group.row_stride;
#pragma unroll
        for (int b = 0; b < k; ++b) {
          T entry[kApplyChannels];
#pragma unroll
          for (int i = 0; i < kApplyChannels; i += kVector<T>) {
            const Vector<T> loaded = load_vector(row_weights + i);
#pragma unroll
            for (int v = 0; v < kVector<T>; ++v) {
              entry[i + v] = loaded.value[v];
            }
          }
#pragma unroll
          for (int j = 0; j < kApplyPixels; ++j) {
            const T value = a <= h[j] && b <= w[j] ? pixel[j][offset - b * group.column_stride] : T(0);
#pragma unroll
            for (int i = 0; i < kApplyChannels; ++i) {
              sum[j][i] += entry[i] * value;
            }
          }
          row_weights += kApplyChannels;
        }
        if (++a == k) {
          a = 0;
          ++q;
        }
      }
      __syncthreads();  // nobody reads the weights any more
    }
#pragma unroll
    for (int j = 0; j < kApplyPixels; ++j) {
      if (image[j] >= 0) {
        T* y = static_cast<T*>(params.y) + group_offset(shape, image[j], group_index) + group.pixel(h[j], w[j]);
#pragma unroll
        for (int i = 0; i < kApplyChannels; ++i) {
          if (p + i < n) {
            y[(p + i) * group.channel_stride] = sum[j][i];
          }
        }
      }
    }
  }
}

// One block a multiprocessor is enough for the bounds: asked to guess, ptxas saves registers and spills.
// element, filter side (0: any, taken at run time), name; the names are built in src/cuda/kernels.rs
#define INV_CONV_APPLY(T, K, name)                                \
  extern "C" __global__ void __launch_bounds__(kApplyThreads, 1) \
      name(const __grid_constant__ InvConvApplyParams params) {   \
    inv_conv_apply<T, K>(params);                                 \
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
