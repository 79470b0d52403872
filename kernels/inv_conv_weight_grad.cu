// Weight gradient of a corner-padded convolution, in two launches and without atomics.
//
//   G[p,q,a,b] = sum_{image,h,w} u[p,h,w] x[q,h-a,w-b],   and 0 for the anchor's entries above its diagonal
//
// in the walk coordinates of inv_conv.cuh.
//
// First launch: partial sums. The pixels are cut into units of tile_rows rows of an image, and those into chunks, so
// that a batch of few large images fills a device as well as one of many small ones. A block owns one chunk, one group,
// a tile of tile_channels x tile_channels pairs (p, q) and a block of kRows x kColumns taps: all taps for the filters
// that have a specialisation, rows of 8 taps for the others. It stages tile_rows x tile_columns pixels of u, and the
// same pixels of x with the halo that the taps reach, zero outside the image, so that the inner loop has no bounds to
// check. A thread owns kOuts x kIns pairs: it walks along a row with a window of kRows x kColumns values of x for each q
// in registers, of which one column is new at each pixel. `slices` teams of threads share the rows of a tile, and the
// block adds their sums in the order of the slices.
//
//   stage    x and u tiles                           barrier: the tiles are complete
//   add      u * x into registers                    barrier: nobody reads the tiles any more
//   (after the last tile) sums through shared memory, tap by tap
//
// Loads from shared memory per multiply-add: (kOuts + kIns kRows) / (kOuts kIns kRows kColumns), 8 for 36 with k = 3.
//
// Second launch: every entry adds its partial sums, kSumLanes runs of chunks at a time and then those in their order,
// or is 0 above the diagonal. The order of every sum depends on the sizes alone, so the result is the same to the bit
// from run to run.
//
// Shared memory: T x[tile_channels][x_plane], u[tile_channels][u_plane]; after them in time, in the same place,
// T sums[slices][tile_channels][tile_channels]. Planes have an odd number of elements, so that the channels that lanes
// read at once lie in different banks. Floors: docs/performance-gpu.md.

#include "inv_conv.cuh"

constexpr int kWeightGradThreads = 256;  // twin: WEIGHT_GRAD_THREADS in src/cuda/launch/weight_grad.rs
constexpr int kSumEntries = 32;          // entries of a block of the second launch; twin: SUM_ENTRIES
constexpr int kSumLanes = kWeightGradThreads / kSumEntries;

// Copies rows x columns pixels of `channels` planes into shared memory, zero where `source` says -1. `lanes`, a power of
// two that is no more than a warp, take one row together.
template <typename T, typename Source>
__device__ __forceinline__ void stage_tile(T* tile, const T* __restrict__ planes, int channels, int rows, int columns,
                                           int plane, int lanes, Source source) {
  const int lane = threadIdx.x % lanes, teams = blockDim.x / lanes;
  for (int pair = threadIdx.x / lanes; pair < channels * rows; pair += teams) {
    const int channel = pair / rows, row = pair % rows;
    for (int column = lane; column < columns; column += lanes) {
      T* to = tile + channel * plane + row * columns + column;
      const int from = source(channel, row, column);
      if (from >= 0) {
        copy_async(to, planes + from);
      } else {
        *to = T(0);
      }
    }
  }
}

template <typename T, int kRows, int kColumns, int kOuts, int kIns>
__device__ __forceinline__ void inv_conv_weight_grad(const InvConvWeightGradParams& params) {
  const InvConvShape& shape = params.shape;
  const int k = shape.kernel, n = shape.channels / shape.groups, tile_channels = params.tile_channels;

  // what this block owns, from the fastest index to the slowest
  int rest = blockIdx.x;
  const int column_blocks = div_up(k, kColumns), row_blocks = div_up(k, kRows);
  const int channel_tiles = div_up(n, tile_channels);
  const int first_b = rest % column_blocks * kColumns;
  rest /= column_blocks;
  const int first_a = rest % row_blocks * kRows;
  rest /= row_blocks;
  const int first_q = rest % channel_tiles * tile_channels;
  rest /= channel_tiles;
  const int first_p = rest % channel_tiles * tile_channels;
  rest /= channel_tiles;
  const int group_index = rest % shape.groups;
  const int chunk = rest / shape.groups;
  const InvConvGroup group(shape, group_index, false);

  // what this thread owns: p, p + outs, .. and q, q + ins, ..
  const int outs = tile_channels / kOuts, ins = tile_channels / kIns;
  const int slice = threadIdx.x / (outs * ins), p = threadIdx.x / ins % outs, q = threadIdx.x % ins;

  // x tile: row r, column c is pixel (top - first_a - (kRows-1) + r, left - first_b - (kColumns-1) + c)
  const int x_columns = params.tile_columns + kColumns - 1;
  const int x_rows = params.tile_rows + kRows - 1;
  const int x_plane = (x_rows * x_columns) | 1;
  const int u_plane = (params.tile_rows * params.tile_columns) | 1;
  T* x_tile = reinterpret_cast<T*>(dynamic_shared());
  T* u_tile = x_tile + tile_channels * x_plane;

  T sum[kOuts][kIns][kRows][kColumns] = {};
  const int row_tiles = div_up(shape.height, params.tile_rows);
  const long long first_unit = static_cast<long long>(chunk) * params.chunk_units;
  const long long end_unit =
      min(first_unit + params.chunk_units, static_cast<long long>(shape.batch) * row_tiles);
  for (long long unit = first_unit; unit < end_unit; ++unit) {
    const int image = static_cast<int>(unit / row_tiles);
    const int top = static_cast<int>(unit % row_tiles) * params.tile_rows;
    const T* x = static_cast<const T*>(params.x) + group_offset(shape, image, group_index);
    const T* u = static_cast<const T*>(params.u) + group_offset(shape, image, group_index);
    for (int left = 0; left < shape.width; left += params.tile_columns) {
      const auto pixel = [&](int channel, int h, int w) {
        const bool inside = channel < n && h >= 0 && h < shape.height && w >= 0 && w < shape.width;
        return inside ? group.pixel(h, w) + channel * group.channel_stride : -1;
      };
      stage_tile(x_tile, x, tile_channels, x_rows, x_columns, x_plane, params.lanes, [&](int channel, int r, int c) {
        return pixel(first_q + channel, top - first_a - (kRows - 1) + r, left - first_b - (kColumns - 1) + c);
      });
      stage_tile(u_tile, u, tile_channels, params.tile_rows, params.tile_columns, u_plane, params.lanes,
                 [&](int channel, int r, int c) { return pixel(first_p + channel, top + r, left + c); });
      wait_for_copies();
      __syncthreads();  // the tiles are complete
      for (int row = slice < params.slices ? slice : params.tile_rows; row < params.tile_rows; row += params.slices) {
        const T* u_row = u_tile + p * u_plane + row * params.tile_columns;
        const T* x_row = x_tile + q * x_plane + row * x_columns;
        // window[j][a][b] is x of channel j at a rows and b columns before the pixel
        T window[kIns][kRows][kColumns];
#pragma unroll
        for (int j = 0; j < kIns; ++j) {
#pragma unroll
          for (int a = 0; a < kRows; ++a) {
#pragma unroll
            for (int b = 0; b < kColumns - 1; ++b) {
              window[j][a][b] = x_row[j * ins * x_plane + (kRows - 1 - a) * x_columns + kColumns - 2 - b];
            }
          }
        }
#pragma unroll(kColumns <= 3 ? kColumns : 1)
        for (int column = 0; column < params.tile_columns; ++column) {
#pragma unroll
          for (int j = 0; j < kIns; ++j) {
#pragma unroll
            for (int a = 0; a < kRows; ++a) {
#pragma unroll
              for (int b = kColumns - 1; b > 0; --b) {
                window[j][a][b] = window[j][a][b - 1];
              }
              window[j][a][0] = x_row[j * ins * x_plane + (kRows - 1 - a) * x_columns + kColumns - 1 + column];
            }
          }
#pragma unroll
          for (int i = 0; i < kOuts; ++i) {
            const T value = u_row[i * outs * u_plane + column];
#pragma unroll
            for (int j = 0; j < kIns; ++j) {
#pragma unroll
              for (int a = 0; a < kRows; ++a) {
#pragma unroll
                for (int b = 0; b < kColumns; ++b) {
                  sum[i][j][a][b] += value * window[j][a][b];
                }
              }
            }
          }
        }
      }
      __syncthreads();  // nobody reads the tiles any more
    }
  }

  T* sums = reinterpret_cast<T*>(dynamic_shared());
  T* partials = static_cast<T*>(params.partials) + static_cast<long long>(chunk) * shape.channels * n * k * k;
  const int pairs = tile_channels * tile_channels;
#pragma unroll
  for (int a = 0; a < kRows; ++a) {
#pragma unroll
    for (int b = 0; b < kColumns; ++b) {
      if (slice < params.slices) {
#pragma unroll
        for (int i = 0; i < kOuts; ++i) {
#pragma unroll
          for (int j = 0; j < kIns; ++j) {
            sums[slice * pairs + (p + i * outs) * tile_channels + q + j * ins] = sum[i][j][a][b];
          }
        }
      }
      __syncthreads();  // the slices' sums are complete
      for (int pair = threadIdx.x; pair < pairs; pair += blockDim.x) {
        T total = sums[pair];
        for (int other = 1; other < params.slices; ++other) {
          total += sums[other * pairs + pair];
        }
        const int out = first_p + pair / tile_channels, in = first_q + pair % tile_channels;
        if (out < n && in < n && first_a + a < k && first_b + b < k) {
          partials[group.anchor_entry(out, in) + (first_a + a) * group.tap_row_stride +
                   (first_b + b) * group.tap_column_stride] = total;
        }
      }
      __syncthreads();  // they have been read
    }
  }
}

// grad[entry] = ± sum over chunks of partials[chunk][entry]: lane l of an entry adds chunks l, l + kSumLanes, .., then the
// first lane adds the lanes' sums in their order.
template <typename T>
__device__ __forceinline__ void inv_conv_weight_grad_sum(const InvConvWeightGradParams& params) {
  const InvConvShape& shape = params.shape;
  const int k = shape.kernel, n = shape.channels / shape.groups;
  const unsigned int entries = static_cast<unsigned int>(shape.channels) * n * k * k;
  const unsigned int entry = blockIdx.x * kSumEntries + threadIdx.x % kSumEntries;
  const int lane = threadIdx.x / kSumEntries;
  T* sums = reinterpret_cast<T*>(dynamic_shared());
  T sum = 0;
  if (entry < entries) {
    const T* __restrict__ partials = static_cast<const T*>(params.partials) + entry;
#pragma unroll 4
    for (int chunk = lane; chunk < params.chunks; chunk += kSumLanes) {
      sum += partials[static_cast<long long>(chunk) * entries];
    }
  }
  sums[threadIdx.x] = sum;
  __syncthreads();  // the lanes' sums are complete
  if (lane == 0 && entry < entries) {
    for (int other = 1; other < kSumLanes; ++other) {
      sum += sums[other * kSumEntries + threadIdx.x];
    }
    const int q = entry / (k * k) % n, channel = entry / (k * k) / n;
    const InvConvGroup group(shape, channel / n, false);
    const bool above_diagonal = q > channel % n && static_cast<int>(entry) == group.anchor_entry(channel % n, q);
    static_cast<T*>(params.grad)[entry] = above_diagonal ? T(0) : params.negative != 0 ? -sum : sum;
  }
}

// One block a multiprocessor is enough for the bounds: asked to guess, ptxas saves registers and spills.
// element, rows and columns of taps that a block owns, out- and in-channels of a thread, name; the names are built in
// src/cuda/kernels.rs, the channels of a thread are twins of thread_channels in src/cuda/launch/weight_grad.rs
#define INV_CONV_WEIGHT_GRAD(T, ROWS, COLUMNS, OUTS, INS, name)         \
  extern "C" __global__ void __launch_bounds__(kWeightGradThreads, 1)   \
      name(const __grid_constant__ InvConvWeightGradParams params) {    \
    inv_conv_weight_grad<T, ROWS, COLUMNS, OUTS, INS>(params);          \
  }

INV_CONV_WEIGHT_GRAD(float, 1, 1, 2, 2, inv_conv_weight_grad_f32_k1)
INV_CONV_WEIGHT_GRAD(float, 2, 2, 2, 2, inv_conv_weight_grad_f32_k2)
INV_CONV_WEIGHT_GRAD(float, 3, 3, 2, 2, inv_conv_weight_grad_f32_k3)
INV_CONV_WEIGHT_GRAD(float, 5, 5, 2, 1, inv_conv_weight_grad_f32_k5)
INV_CONV_WEIGHT_GRAD(float, 7, 7, 2, 1, inv_conv_weight_grad_f32_k7)
INV_CONV_WEIGHT_GRAD(float, 1, 8, 2, 2, inv_conv_weight_grad_f32)
INV_CONV_WEIGHT_GRAD(double, 1, 1, 2, 2, inv_conv_weight_grad_f64_k1)
INV_CONV_WEIGHT_GRAD(double, 2, 2, 2, 2, inv_conv_weight_grad_f64_k2)
INV_CONV_WEIGHT_GRAD(double, 3, 3, 2, 2, inv_conv_weight_grad_f64_k3)
INV_CONV_WEIGHT_GRAD(double, 5, 5, 2, 1, inv_conv_weight_grad_f64_k5)
INV_CONV_WEIGHT_GRAD(double, 7, 7, 1, 1, inv_conv_weight_grad_f64_k7)
INV_CONV_WEIGHT_GRAD(double, 1, 8, 2, 2, inv_conv_weight_grad_f64)

#define INV_CONV_WEIGHT_GRAD_SUM(T, name)                               \
  extern "C" __global__ void __launch_bounds__(kWeightGradThreads, 1)   \
      name(const __grid_constant__ InvConvWeightGradParams params) {    \
    inv_conv_weight_grad_sum<T>(params);                                \
  }

INV_CONV_WEIGHT_GRAD_SUM(float, inv_conv_weight_grad_sum_f32)
INV_CONV_WEIGHT_GRAD_SUM(double, inv_conv_weight_grad_sum_f64)
