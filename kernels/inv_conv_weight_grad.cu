// Weight gradient of a corner-padded convolution, in two launches and without atomics.
//
//   G[p,q,a,b] = sum_{image,h,w} u[p,h,w] x[q,h-a,w-b],   and 0 for the anchor's entries above its diagonal
//
// in the walk coordinates of inv_conv.cuh.
//
// First launch: partial sums. The batch is cut into chunks of images. A block owns one chunk, one group, a tile of
// tile_channels x tile_channels pairs (p, q) and a block of kRows x kColumns taps: all taps for the filters that have a
// specialisation, rows of 8 taps for the others. It stages tile_rows x tile_columns pixels of u, and the same pixels of
// x with the halo that the taps reach, zero outside the image, so that the inner loop has no bounds to check. A thread
// owns one pair: it reads u once per pixel, x from shared memory, and keeps the sums of all taps in registers. Where
// there are few pairs, `slices` threads share one, each with every slices-th row of the tile, and the block adds their
// sums in the order of the slices.
//
//   stage    x and u tiles                           barrier: the tiles are complete
//   add      u * x into registers                    barrier: nobody reads the tiles any more
//   (after the last tile) sums through shared memory, tap by tap, where slices > 1
//
// Second launch: every entry adds its partial sums in the order of the chunks, or is 0 above the diagonal. The order of
// every sum depends on the sizes alone, so the result is the same to the bit from run to run.
//
// Shared memory: T x[tile_channels][x_plane], u[tile_channels][u_plane], or Accumulator sums[threads] after them in
// time. Planes have an odd number of elements, so that the 16 channels that lanes read at once lie in different banks.
//
// Floor per call: bytes 2 B C H W, read n / tile_channels times; multiply-adds B H W C (n k^2); partial sums
// chunks * C n k^2 written and read once. Loads from shared memory per multiply-add fall towards 1/k as the compiler
// keeps a row's neighbours in registers over the unrolled columns.

#include "inv_conv.cuh"

constexpr int kWeightGradThreads = 256;  // twin: WEIGHT_GRAD_THREADS in src/cuda/launch.rs

template <typename T, int kRows, int kColumns>
__device__ __forceinline__ void inv_conv_weight_grad(const InvConvWeightGradParams& params) {
  using Acc = typename Accumulator<T>::type;
  const InvConvShape& shape = params.shape;
  const int k = shape.kernel, n = shape.channels / shape.groups;

  // what this block owns, from the fastest index to the slowest
  int rest = blockIdx.x;
  const int column_blocks = div_up(k, kColumns), row_blocks = div_up(k, kRows);
  const int channel_tiles = div_up(n, params.tile_channels);
  const int first_b = rest % column_blocks * kColumns;
  rest /= column_blocks;
  const int first_a = rest % row_blocks * kRows;
  rest /= row_blocks;
  const int first_q = rest % channel_tiles * params.tile_channels;
  rest /= channel_tiles;
  const int first_p = rest % channel_tiles * params.tile_channels;
  rest /= channel_tiles;
  const int group_index = rest % shape.groups;
  const int chunk = rest / shape.groups;
  const InvConvGroup group(shape, group_index, false);

  // what this thread owns
  const int pairs = params.tile_channels * params.tile_channels;
  const int slice = threadIdx.x / pairs, pair = threadIdx.x % pairs;
  const int p = pair / params.tile_channels, q = pair % params.tile_channels;

  // x tile: row r, column c is pixel (top - first_a - (kRows-1) + r, left - first_b - (kColumns-1) + c)
  const int x_columns = params.tile_columns + kColumns - 1;
  const int x_rows = params.tile_rows + kRows - 1;
  const int x_plane = (x_rows * x_columns) | 1;
  const int u_plane = (params.tile_rows * params.tile_columns) | 1;
  T* x_tile = reinterpret_cast<T*>(dynamic_shared());
  T* u_tile = x_tile + params.tile_channels * x_plane;

  Acc sum[kRows][kColumns] = {};
  const int first_image = chunk * params.images_per_chunk;
  const int images = min(params.images_per_chunk, shape.batch - first_image);
  for (int image = first_image; image < first_image + images; ++image) {
    const T* __restrict__ x = static_cast<const T*>(params.x) + group_offset(shape, image, group_index);
    const T* __restrict__ u = static_cast<const T*>(params.u) + group_offset(shape, image, group_index);
    for (int top = 0; top < shape.height; top += params.tile_rows) {
      for (int left = 0; left < shape.width; left += params.tile_columns) {
        const int x_top = top - first_a - (kRows - 1), x_left = left - first_b - (kColumns - 1);
        for (int i = threadIdx.x; i < params.tile_channels * x_rows * x_columns; i += blockDim.x) {
          const int channel = i / (x_rows * x_columns), place = i % (x_rows * x_columns);
          const int h = x_top + place / x_columns, w = x_left + place % x_columns;
          const bool inside = first_q + channel < n && h >= 0 && h < shape.height && w >= 0 && w < shape.width;
          x_tile[channel * x_plane + place] =
              inside ? x[group.pixel(h, w) + (first_q + channel) * group.channel_stride] : T(0);
        }
        for (int i = threadIdx.x; i < params.tile_channels * params.tile_rows * params.tile_columns; i += blockDim.x) {
          const int channel = i / (params.tile_rows * params.tile_columns);
          const int place = i % (params.tile_rows * params.tile_columns);
          const int h = top + place / params.tile_columns, w = left + place % params.tile_columns;
          const bool inside = first_p + channel < n && h < shape.height && w < shape.width;
          u_tile[channel * u_plane + place] =
              inside ? u[group.pixel(h, w) + (first_p + channel) * group.channel_stride] : T(0);
        }
        __syncthreads();  // the tiles are complete
        for (int row = slice; row < params.tile_rows; row += params.slices) {
          const T* u_row = u_tile + p * u_plane + row * params.tile_columns;
          const T* x_row = x_tile + q * x_plane + row * x_columns;
#pragma unroll 4
          for (int column = 0; column < params.tile_columns; ++column) {
            const Acc value = static_cast<Acc>(u_row[column]);
#pragma unroll
            for (int a = 0; a < kRows; ++a) {
#pragma unroll
              for (int b = 0; b < kColumns; ++b) {
                sum[a][b] += value * static_cast<Acc>(x_row[(kRows - 1 - a) * x_columns + column + kColumns - 1 - b]);
              }
            }
          }
        }
        __syncthreads();  // nobody reads the tiles any more
      }
    }
  }

  Acc* sums = reinterpret_cast<Acc*>(dynamic_shared());  // [slices][pairs], over the tiles
  Acc* partials = static_cast<Acc*>(params.partials) +
                  static_cast<long long>(chunk) * shape.channels * n * k * k;
  const bool writes = slice == 0 && first_p + p < n && first_q + q < n;
#pragma unroll
  for (int a = 0; a < kRows; ++a) {
#pragma unroll
    for (int b = 0; b < kColumns; ++b) {
      Acc total = sum[a][b];
      if (params.slices > 1) {
        sums[threadIdx.x] = total;
        __syncthreads();  // the slices' sums are complete
        for (int other = 1; slice == 0 && other < params.slices; ++other) {
          total += sums[other * pairs + pair];
        }
        __syncthreads();  // slice 0 has read them
      }
      if (writes && first_a + a < k && first_b + b < k) {
        partials[group.anchor_entry(first_p + p, first_q + q) + (first_a + a) * group.tap_row_stride +
                 (first_b + b) * group.tap_column_stride] = total;
      }
    }
  }
}

// grad[entry] = sum over chunks of partials[chunk][entry], in the order of the chunks; one thread an entry.
template <typename T>
__device__ __forceinline__ void inv_conv_weight_grad_sum(const InvConvWeightGradParams& params) {
  using Acc = typename Accumulator<T>::type;
  const InvConvShape& shape = params.shape;
  const int k = shape.kernel, n = shape.channels / shape.groups;
  const unsigned int entries = static_cast<unsigned int>(shape.channels) * n * k * k;
  const unsigned int entry = blockIdx.x * blockDim.x + threadIdx.x;
  if (entry >= entries) {
    return;
  }
  const int q = entry / (k * k) % n, channel = entry / (k * k) / n;
  const InvConvGroup group(shape, channel / n, false);
  const bool above_diagonal = q > channel % n && static_cast<int>(entry) == group.anchor_entry(channel % n, q);
  const Acc* __restrict__ partial = static_cast<const Acc*>(params.partials) + entry;
  Acc sum = 0;
  for (int chunk = 0; !above_diagonal && chunk < params.chunks; ++chunk) {
    sum += *partial;
    partial += entries;
  }
  static_cast<T*>(params.grad)[entry] = static_cast<T>(sum);
}

// One block a multiprocessor is enough for the bounds: asked to guess, ptxas saves registers and spills on sm_80.
// element, rows and columns of taps that a block owns, name; the names are built in src/cuda/launch.rs
#define INV_CONV_WEIGHT_GRAD(T, ROWS, COLUMNS, name)                                  \
  extern "C" __global__ void __launch_bounds__(kWeightGradThreads, 1)                    \
      name(const __grid_constant__ InvConvWeightGradParams params) {                  \
    inv_conv_weight_grad<T, ROWS, COLUMNS>(params);                                   \
  }

INV_CONV_WEIGHT_GRAD(float, 1, 1, inv_conv_weight_grad_f32_k1)
INV_CONV_WEIGHT_GRAD(float, 2, 2, inv_conv_weight_grad_f32_k2)
INV_CONV_WEIGHT_GRAD(float, 3, 3, inv_conv_weight_grad_f32_k3)
INV_CONV_WEIGHT_GRAD(float, 5, 5, inv_conv_weight_grad_f32_k5)
INV_CONV_WEIGHT_GRAD(float, 7, 7, inv_conv_weight_grad_f32_k7)
INV_CONV_WEIGHT_GRAD(float, 1, 8, inv_conv_weight_grad_f32)
INV_CONV_WEIGHT_GRAD(double, 1, 1, inv_conv_weight_grad_f64_k1)
INV_CONV_WEIGHT_GRAD(double, 2, 2, inv_conv_weight_grad_f64_k2)
INV_CONV_WEIGHT_GRAD(double, 3, 3, inv_conv_weight_grad_f64_k3)
INV_CONV_WEIGHT_GRAD(double, 5, 5, inv_conv_weight_grad_f64_k5)
INV_CONV_WEIGHT_GRAD(double, 7, 7, inv_conv_weight_grad_f64_k7)
INV_CONV_WEIGHT_GRAD(double, 1, 8, inv_conv_weight_grad_f64)

#define INV_CONV_WEIGHT_GRAD_SUM(T, name)                             \
  extern "C" __global__ void __launch_bounds__(kWeightGradThreads, 1)    \
      name(const __grid_constant__ InvConvWeightGradParams params) {  \
    inv_conv_weight_grad_sum<T>(params);                              \
  }

INV_CONV_WEIGHT_GRAD_SUM(float, inv_conv_weight_grad_sum_f32)
INV_CONV_WEIGHT_GRAD_SUM(double, inv_conv_weight_grad_sum_f64)
