// Inverse of a corner-padded convolution for groups of so many channels that not even the matrices of the nearest taps
// fit into shared memory: x with A(W) x = y, or A(W)^T x = y, in one launch, for any size.
//
//   r[q,h,w] = y[q,h,w] - sum_{(a,b) != (0,0)} sum_i W[q,i,a,b] x[i,h-a,w-b]
//   D x[h,w] = r[h,w],   D[p,q] = W[p,q,0,0] lower triangular
//
// in the walk coordinates of inv_conv.cuh. The same sweep over anti-diagonals as inv_conv_solve.cu, without its
// matrices: one block owns one group of one image, x and r live in the output, and D is solved by substitution.
//
//   A   r of every item of the diagonal, from the final x of earlier diagonals       barrier: r is complete
//   B   n rounds of substitution, in place                                           a barrier each
//
// Its work hides its barriers: a diagonal of L pixels takes L n^2 k^2 multiply-adds for n + 1 barriers, and n is 50 at
// the least. Items run pixels fastest, so the lanes of a warp read the same weights.

#include "inv_conv.cuh"

constexpr int kSolveWideThreads = 512;  // twin: WIDE_THREADS in src/cuda/launch/solve.rs

// Solves D z = rhs in place for the `length` pixels of a diagonal; rhs[p][j] is at base[p * row_stride + j * step].
//
// Called by all threads of the block after a barrier; ends with one. Round m divides row m, waits until the whole row
// is final, then takes its multiples from the rows below. One barrier a round is enough: the items of row m+1 come
// first in the update, so the thread that updates an item of that row last is the one that divides it in the next
// round, and the other rows are not touched again before the next barrier.
template <typename T>
__device__ __forceinline__ void substitute(const InvConvGroup& group, const T* __restrict__ weight, T* base,
                                           int row_stride, int step, int length) {
  const int n = group.channels;
  for (int m = 0; m < n; ++m) {
    const T pivot = weight[group.anchor_entry(m, m)];
    T* row = base + m * row_stride;
    for (int j = threadIdx.x; j < length; j += blockDim.x) {
      row[j * step] /= pivot;
    }
    __syncthreads();  // row m is final
    for (int item = threadIdx.x; item < (n - 1 - m) * length; item += blockDim.x) {
      const int p = m + 1 + item / length, j = item % length;
      base[p * row_stride + j * step] -= weight[group.anchor_entry(p, m)] * row[j * step];
    }
  }
}

// sum_{(a,b) != (0,0)} sum_q W[p,q,a,b] x[q,h-a,w-b] over the taps inside the image; `taps` points at W[p,0,0,0] and
// `pixel` at x[0,h,w].
template <typename T>
__device__ __forceinline__ T earlier_pixels(const InvConvGroup& group, int kernel, const T* __restrict__ taps,
                                            const T* pixel, int h, int w) {
  const int row_end = min(kernel, h + 1), column_end = min(kernel, w + 1);
  T sum = 0;
  for (int q = 0; q < group.channels; ++q) {
    for (int a = 0; a < row_end; ++a) {
      for (int b = a == 0 ? 1 : 0; b < column_end; ++b) {
        sum += taps[a * group.tap_row_stride + b * group.tap_column_stride] *
               pixel[-a * group.row_stride - b * group.column_stride];
      }
    }
    taps += group.in_stride;
    pixel += group.channel_stride;
  }
  return sum;
}

template <typename T>
__device__ __forceinline__ void inv_conv_solve_wide(const InvConvSolveParams& params) {
  const InvConvShape& shape = params.shape;
  const int image = blockIdx.x / shape.groups, group_index = blockIdx.x % shape.groups;
  const InvConvGroup group(shape, group_index, params.adjoint != 0);
  const T* __restrict__ weight = static_cast<const T*>(params.weight);
  const T* __restrict__ y = static_cast<const T*>(params.y) + group_offset(shape, image, group_index);
  T* x = static_cast<T*>(params.x) + group_offset(shape, image, group_index);

  if (image == 0) {
    report_zeros(group, weight, params.singular);
  }
  const int step = group.row_stride - group.column_stride;  // to the diagonal's next pixel
  for (int d = 0; d < shape.height + shape.width - 1; ++d) {
    const int first_row = max(0, d - (shape.width - 1));
    const int length = min(d, shape.height - 1) - first_row + 1;
    const int first = group.pixel(first_row, d - first_row);
    for (int item = threadIdx.x; item < length * group.channels; item += blockDim.x) {
      const int p = item / length, j = item % length, h = first_row + j;
      const int pixel = first + j * step, here = pixel + p * group.channel_stride;
      x[here] = y[here] - earlier_pixels(group, shape.kernel, weight + group.anchor_entry(p, 0), x + pixel, h, d - h);
    }
    __syncthreads();  // r is complete
    substitute(group, weight, x + first, group.channel_stride, step, length);
  }
}

#define INV_CONV_SOLVE_WIDE(T, name)                                 \
  extern "C" __global__ void __launch_bounds__(kSolveWideThreads, 1) \
      name(const __grid_constant__ InvConvSolveParams params) {      \
    inv_conv_solve_wide<T>(params);                                  \
  }

INV_CONV_SOLVE_WIDE(float, inv_conv_solve_wide_f32)
INV_CONV_SOLVE_WIDE(double, inv_conv_solve_wide_f64)
