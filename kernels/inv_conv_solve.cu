// Inverse of a corner-padded convolution: x with A(W) x = y, or A(W)^T x = y, in one launch.
//
//   x[p,h,w] = sum_{q<=p} D^-1[p,q] r[q,h,w],   D[p,q] = W[p,q,0,0]
//   r[q,h,w] = y[q,h,w] - sum_{(a,b) != (0,0)} sum_i W[q,i,a,b] x[i,h-a,w-b]
//
// in the walk coordinates of inv_conv.cuh, which cover the four corners and the adjoint.
//
// Order. Pixel (h, w) needs pixels of smaller h + w only, so the pixels of one anti-diagonal d = h + w are independent
// and a sweep over d = 0 .. H+W-2 is exact. One block owns one group of one image and sweeps alone: no block ever
// waits for another. Its threads share the (pixel, channel) items of a diagonal, pixels fastest, so that the lanes of a
// warp read the same weights and neighbouring diagonals' entries of x that lie row_stride - column_stride apart.
//
//   prologue  D^-1 into shared memory, once per block                                       barrier
//   A         r of every item of the diagonal, from the final x of earlier diagonals        barrier: r is complete
//   B         x = D^-1 r                                                                    barrier: x is final
//
// Where D^-1 does not fit, phase B is forward substitution, in place in x. Where the group's planes fit beside D^-1,
// they are loaded into shared memory once, solved in place there, and stored once; else x lives in the output, whose
// values other threads of the block may read after a barrier.
//
// Shared memory: Accumulator inverse[n][n], residual[n][min(H, W)] (both or neither), T image[n][H][W] (optional).
//
// Floor per call: bytes 2 B C H W (read y, write x once) plus the weights from L2; multiply-adds B H W C (n k^2);
// critical path 2 (H+W-1) barriers plus as many dependent gathers. For B C H W = 100 x 12 x 16 x 16 in float32 that is
// 2.5 MB, 33 M multiply-adds and 62 barriers: the barriers and the latency of the gathers set the pace, not the bytes.
//
// Source: the diagonal-parallel inversion of Kallappa, Nagar & Varma, "FInC Flow" (2023),
// https://arxiv.org/abs/2301.09266, used as a layer by Nagar & Varma, "Inverse-Flow" (2025),
// https://arxiv.org/abs/2410.14634. The adjoint is the same sweep from the opposite corner, because A^T is triangular
// in the opposite order.

#include "inv_conv.cuh"

constexpr int kSolveThreads = 512;  // twin: SOLVE_THREADS in src/cuda/launch.rs

// Solves D z = rhs in place for `columns` right-hand sides; rhs[p][j] is at base[p * row_stride + j * column_stride].
//
// Called by all threads of the block after a barrier; ends with one. Round m divides row m, waits until the whole row
// is final, then takes its multiples from the rows below. One barrier a round is enough: the items of row m+1 come
// first in the update, so the thread that updates an item of that row last is the one that divides it in the next
// round, and the other rows are not touched again before the next barrier.
template <typename T, typename V>
__device__ __forceinline__ void substitute(const InvConvGroup& group, const T* __restrict__ weight, V* base,
                                           int row_stride, int column_stride, int columns) {
  const int n = group.channels;
  for (int m = 0; m < n; ++m) {
    const T pivot = weight[group.anchor_entry(m, m)];
    V* row = base + m * row_stride;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) {
      row[j * column_stride] /= pivot;
    }
    __syncthreads();  // row m is final
    for (int item = threadIdx.x; item < (n - 1 - m) * columns; item += blockDim.x) {
      const int p = m + 1 + item / columns, j = item % columns;
      base[p * row_stride + j * column_stride] -= weight[group.anchor_entry(p, m)] * row[j * column_stride];
    }
  }
}

// sum_{(a,b) != (0,0)} sum_q W[p,q,a,b] x[q,h-a,w-b] over the taps inside the image.
//
// `taps` points at W[p,0,0,0] and `pixel` at x[0,h,w]. K = 0 takes the filter's side at run time.
template <typename T, int K>
__device__ __forceinline__ typename Accumulator<T>::type earlier_pixels(const InvConvGroup& group, int kernel,
                                                                        const T* __restrict__ taps, const T* pixel,
                                                                        int h, int w) {
  using Acc = typename Accumulator<T>::type;
  const int row_end = K > 0 ? K : min(kernel, h + 1);
  const int column_end = K > 0 ? K : min(kernel, w + 1);
  Acc sum = 0;
  for (int q = 0; q < group.channels; ++q) {
#pragma unroll(K > 0 && K <= 3 ? K : 1)  // wider filters unrolled both ways would spill
    for (int a = 0; a < row_end; ++a) {
#pragma unroll
      for (int b = 0; b < column_end; ++b) {
        if (a + b > 0 && a <= h && b <= w) {
          sum += static_cast<Acc>(taps[a * group.tap_row_stride + b * group.tap_column_stride]) *
                 static_cast<Acc>(pixel[-a * group.row_stride - b * group.column_stride]);
        }
      }
    }
    taps += group.in_stride;
    pixel += group.channel_stride;
  }
  return sum;
}

// The sweep over the diagonals. `y` and `x` are the group's planes and may be the same; `inverse` is null where the
// anchor is to be solved by substitution.
template <typename T, int K>
__device__ __forceinline__ void sweep(const InvConvShape& shape, const InvConvGroup& group,
                                      const T* __restrict__ weight, const T* y, T* x,
                                      const typename Accumulator<T>::type* inverse,
                                      typename Accumulator<T>::type* residual) {
  using Acc = typename Accumulator<T>::type;
  const int n = group.channels;
  const int step = group.row_stride - group.column_stride;  // to the diagonal's next pixel
  for (int d = 0; d < shape.height + shape.width - 1; ++d) {
    const int first_row = max(0, d - (shape.width - 1));
    const int length = min(d, shape.height - 1) - first_row + 1;
    const int first = group.pixel(first_row, d - first_row);

    for (int item = threadIdx.x; item < length * n; item += blockDim.x) {
      const int p = item / length, j = item % length;
      const int h = first_row + j, w = d - h;
      const int pixel = first + j * step;
      const int here = pixel + p * group.channel_stride;
      const Acc rest = static_cast<Acc>(y[here]) - earlier_pixels<T, K>(group, shape.kernel,
                                                                        weight + group.anchor_entry(p, 0), x + pixel,
                                                                        h, w);
      if (inverse) {
        residual[item] = rest;
      } else {
        x[here] = static_cast<T>(rest);
      }
    }
    __syncthreads();  // the residuals are complete

    if (inverse) {
      for (int item = threadIdx.x; item < length * n; item += blockDim.x) {
        const int p = item / length, j = item % length;
        Acc sum = 0;
        for (int q = 0; q <= p; ++q) {
          sum += inverse[p * n + q] * residual[q * length + j];
        }
        x[first + j * step + p * group.channel_stride] = static_cast<T>(sum);
      }
      __syncthreads();  // x is final, and nobody reads the residuals any more
    } else {
      substitute(group, weight, x + first, group.channel_stride, step, length);
    }
  }
}

template <typename T, int K>
__device__ __forceinline__ void inv_conv_solve(const InvConvSolveParams& params) {
  using Acc = typename Accumulator<T>::type;
  const InvConvShape& shape = params.shape;
  const int image = blockIdx.x / shape.groups;
  const int group_index = blockIdx.x % shape.groups;
  const InvConvGroup group(shape, group_index, params.adjoint != 0);
  const int n = group.channels;
  const T* __restrict__ weight = static_cast<const T*>(params.weight);
  const T* y = static_cast<const T*>(params.y) + group_offset(shape, image, group_index);
  T* x = static_cast<T*>(params.x) + group_offset(shape, image, group_index);

  Acc* inverse = nullptr;
  Acc* residual = nullptr;
  unsigned char* free = dynamic_shared();
  if (params.inverse_in_shared) {
    inverse = reinterpret_cast<Acc*>(free);
    residual = inverse + n * n;
    free = reinterpret_cast<unsigned char*>(residual + n * min(shape.height, shape.width));
    for (int entry = threadIdx.x; entry < n * n; entry += blockDim.x) {
      inverse[entry] = entry / n == entry % n ? Acc(1) : Acc(0);
    }
    __syncthreads();  // the identity is complete
    substitute(group, weight, inverse, n, 1, n);
  }

  if (params.image_in_shared) {
    T* planes = reinterpret_cast<T*>(free);
    const int size = n * shape.height * shape.width;
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
      planes[i] = y[i];
    }
    __syncthreads();  // the planes are loaded
    sweep<T, K>(shape, group, weight, planes, planes, inverse, residual);
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
      x[i] = planes[i];
    }
  } else {
    sweep<T, K>(shape, group, weight, y, x, inverse, residual);
  }
}

// One block a multiprocessor is enough for the bounds: asked to guess, ptxas saves registers and spills on sm_80.
// element, filter side (0: any, taken at run time), name; the names are built in src/cuda/launch.rs
#define INV_CONV_SOLVE(T, K, name)                               \
  extern "C" __global__ void __launch_bounds__(kSolveThreads, 1) \
      name(const __grid_constant__ InvConvSolveParams params) {  \
    inv_conv_solve<T, K>(params);                                \
  }

INV_CONV_SOLVE(float, 1, inv_conv_solve_f32_k1)
INV_CONV_SOLVE(float, 2, inv_conv_solve_f32_k2)
INV_CONV_SOLVE(float, 3, inv_conv_solve_f32_k3)
INV_CONV_SOLVE(float, 5, inv_conv_solve_f32_k5)
INV_CONV_SOLVE(float, 7, inv_conv_solve_f32_k7)
INV_CONV_SOLVE(float, 0, inv_conv_solve_f32)
INV_CONV_SOLVE(double, 1, inv_conv_solve_f64_k1)
INV_CONV_SOLVE(double, 2, inv_conv_solve_f64_k2)
INV_CONV_SOLVE(double, 3, inv_conv_solve_f64_k3)
INV_CONV_SOLVE(double, 5, inv_conv_solve_f64_k5)
INV_CONV_SOLVE(double, 7, inv_conv_solve_f64_k7)
INV_CONV_SOLVE(double, 0, inv_conv_solve_f64)
