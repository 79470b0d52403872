// The products of a solve: a few rows of the tap matrices times the channels of earlier pixels.
//
// A solve needs one n x n matrix for every tap (see inv_conv_solve.cu): the nearest ones, D^-1 and -D^-1 W for the two
// neighbours, and -W for the far ones. The lanes of a warp form teams of S neighbours that own P output channels of the
// same pixel; lane s multiplies input slice s for all P of them, and the team sums over its slices by shuffles. So a
// value of x that was loaded is used P times, and each lane ends with one output.
//
//   RegisterProduct   every matrix entry that a lane needs stays in a register: k, n and the slices are template
//                     arguments, and shared memory is read for x alone
//   SharedProduct     entries come from shared memory, where a lane's 16-byte vectors lie 16 bytes from its neighbour's,
//                     and each is used for J rows of pixels; taps that do not fit come from global memory. Where there
//                     are many far taps, `tap_teams` sets of threads share them and leave a part of r each
//   SideProduct       (inv_conv_side_product.cuh) the same for up to 16 channels and a side that is a template argument:
//                     places of taps and entries are constants, and several taps are in flight
#pragma once

#include "inv_conv_band.cuh"

// D^-1, -D^-1 W[0,1] and -D^-1 W[1,0], by all threads of the block: entry(m, out, in) is an entry of matrix m (0: D^-1,
// 1: left, 2: above), zero before. Needs a barrier before and after it.
//
// The inverse of a lower triangular [A, 0; B, C] is [A^-1, 0; -C^-1 B A^-1, C^-1]. So blocks of one channel, of two, of
// four, ... are inverted in place, in log2(n) rounds of two products of at most n/2 terms, where substitution would be a
// chain of n^2 / 2. Matrix 1 holds -B A^-1 until its own entries are made.
template <typename T, typename Entry>
__device__ __forceinline__ void nearest_matrices(const InvConvGroup& group, const T* __restrict__ weight,
                                                 bool has_left, bool has_above, Entry entry) {
  const int n = group.channels;
  for (int i = threadIdx.x; i < n * n; i += blockDim.x) {
    const int out = i / n, in = i % n;
    if (in <= out) {
      const T tap = weight[group.anchor_entry(out, in)];
      entry(0, out, in) = in == out ? 1 / tap : tap;
    }
  }
  for (int side = 1; side < n; side *= 2) {
    __syncthreads();  // the blocks of `side` channels are inverted
    const int items = round_up(n, 2 * side) / 2 * side;  // of all B: row by row, `side` columns each
    for (int i = threadIdx.x; i < items; i += blockDim.x) {
      const int block = i / side / side * 2 * side, out = block + side + i / side % side, in = block + i % side;
      if (out < n) {
        T sum = 0;
        for (int q = in; q < block + side; ++q) {
          sum -= entry(0, out, q) * entry(0, q, in);
        }
        entry(1, out, in) = sum;
      }
    }
    __syncthreads();  // -B A^-1 is complete
    for (int i = threadIdx.x; i < items; i += blockDim.x) {
      const int block = i / side / side * 2 * side, out = block + side + i / side % side, in = block + i % side;
      if (out < n) {
        T sum = 0;
        for (int q = block + side; q <= out; ++q) {
          sum += entry(0, out, q) * entry(1, q, in);
        }
        entry(0, out, in) = sum;
      }
    }
  }
  __syncthreads();  // D^-1 is complete
  for (int i = threadIdx.x; i < 2 * n * n; i += blockDim.x) {
    const int m = i < n * n ? 1 : 2, out = i / n % n, in = i % n;
    if (m == 1 ? has_left : has_above) {
      const T* tap = weight + group.anchor_entry(0, in) + (m == 1 ? group.tap_column_stride : group.tap_row_stride);
      T sum = 0;
      for (int q = 0; q <= out; ++q) {
        sum -= entry(0, out, q) * tap[q * group.out_stride];
      }
      entry(m, out, in) = sum;
    }
  }
}

template <typename T, int K, int Q, int S, int P>
struct RegisterProduct {
  static constexpr int kSlice = Q, kSlices = S, kOutputs = P, kRows = 1;
  static constexpr int kPlaces = 2 * K - 1;  // of the diagonals that taps reach
  static constexpr int kChannels = Q * S, kPaddedSlice = round_up(Q, kVector<T>), kPixelStride = S * kPaddedSlice;
  using Sums = T[1][P];

  static __device__ __forceinline__ int tap_teams(const InvConvSolveParams&) { return 1; }

  T entries[K * K][P][Q];  // D^-1, left, above, then the far taps row by row

  // Elements of shared memory that it takes.
  static __device__ __forceinline__ int matrix_elements(const InvConvSolveParams&) {
    return 3 * kChannels * kChannels;
  }

  // Fills the nearest matrices in and reads all entries of this lane; `first` is the first output of its team.
  __device__ __forceinline__ RegisterProduct(const InvConvSolveParams&, const InvConvBand<T>& band,
                                             const T* __restrict__ weight, T* matrices, int first, int s) {
    const InvConvGroup& group = band.group;
    nearest_matrices(group, weight, true, true, [=](int m, int out, int in) -> T& {
      return matrices[(m * kChannels + out) * kChannels + in];
    });
    __syncthreads();  // the nearest matrices are complete
#pragma unroll
    for (int i = 0; i < P; ++i) {
#pragma unroll
      for (int j = 0; j < Q; ++j) {
        const int out = first + i, in = s * Q + j;
        const bool inside = out < group.channels && in < group.channels;
        int m = 3;
#pragma unroll
        for (int a = 0; a < K; ++a) {
#pragma unroll
          for (int b = 0; b < K; ++b) {
            if (a + b < 2) {
              const int nearest = 2 * a + b;  // (0,0), (0,1), (1,0)
              entries[nearest][i][j] = matrices[(nearest * kChannels + out) * kChannels + in];
            } else {
              const int tap = a * group.tap_row_stride + b * group.tap_column_stride;
              entries[m++][i][j] = inside ? -weight[group.anchor_entry(out, in) + tap] : T(0);
            }
          }
        }
      }
    }
  }

  __device__ __forceinline__ void add(Sums& sums, int m, const T* channels) const {
    T value[kPaddedSlice];
#pragma unroll
    for (int j = 0; j < kPaddedSlice; j += kVector<T>) {
      const Vector<T> loaded = load_vector(channels + j);
#pragma unroll
      for (int v = 0; v < kVector<T>; ++v) {
        value[j + v] = loaded.value[v];
      }
    }
#pragma unroll
    for (int j = 0; j < Q; ++j) {
#pragma unroll
      for (int i = 0; i < P; ++i) {
        sums[0][i] += entries[m][i][j] * value[j];
      }
    }
  }

  // D^-1 r - D^-1 W (the pixels to the left and above): `rest`, `left` and `above` point at slice s of this row.
  __device__ __forceinline__ void add_near(Sums& sums, const T* rest, int, const T* left, const T*) const {
    add(sums, 0, rest);
    add(sums, 1, left);
    add(sums, 2, left - kPixelStride);
  }

  // - W (the pixels of taps a + b >= 2): `row` points at slice s of this row in the ring's first slot.
  __device__ __forceinline__ void add_far(Sums& sums, int, const T* row, const RingPlaces<kPlaces>& places) const {
    int m = 3;
#pragma unroll
    for (int a = 0; a < K; ++a) {
#pragma unroll
      for (int b = 0; b < K; ++b) {
        if (a + b >= 2) {
          add(sums, m++, beyond(row, places.at[a + b]) - a * kPixelStride);
        }
      }
    }
  }
};

template <typename T, int S, int J>
struct SharedProduct {
  static constexpr int kSlices = S, kOutputs = S, kRows = J;
  static constexpr int kSlice = 0;   // taken at run time
  static constexpr int kPlaces = 3;  // of the diagonals d + 1, d and d - 1
  using Sums = T[J][S];

  static __device__ __forceinline__ int tap_teams(const InvConvSolveParams& params) { return params.tap_teams; }

  const InvConvGroup& group;
  const T* __restrict__ weight;
  const T* matrices;
  int rows, columns;   // of taps
  int vectors;         // of a slice
  int row_threads;     // channel positions, padded: slices x slice
  int matrix_stride;   // elements from one matrix to the next
  int above_matrix;    // number of the matrix of tap (1, 0); far tap (a, b) is number a * columns + b
  bool far_in_shared;
  int teams;           // that share the far taps
  int lane;            // position of this lane among the row's
  int slice_channels, pixel_stride;

  // vector [v], for lane [lane], for output [o] of its team, of vector [c] of its slice: lanes innermost
  static __device__ __forceinline__ int stride_of(const InvConvSolveParams& params) {
    const int vectors = div_up(params.slice, kVector<T>);
    return vectors * S * (S * params.slice) * kVector<T> + kVector<T>;  // one vector more, to change banks
  }

  static __device__ __forceinline__ int matrix_elements(const InvConvSolveParams& params) {
    return (params.far_in_shared ? max(3, params.tap_rows * params.tap_columns) : 3) * stride_of(params);
  }

  // Index of the entry [out][in] of a matrix.
  __device__ __forceinline__ int entry_index(int out, int in) const {
    const int s = in / slice_channels, within = in % slice_channels;
    return ((within / kVector<T> * S + out % S) * row_threads + out / S * S + s) * kVector<T> + within % kVector<T>;
  }

  __device__ __forceinline__ SharedProduct(const InvConvSolveParams& params, const InvConvBand<T>& band,
                                           const T* __restrict__ weight, T* memory, int first, int s)
      : group(band.group),
        weight(weight),
        matrices(memory),
        rows(params.tap_rows),
        columns(params.tap_columns),
        vectors(div_up(params.slice, kVector<T>)),
        row_threads(S * params.slice),
        matrix_stride(stride_of(params)),
        above_matrix(params.far_in_shared ? params.tap_columns : 2),
        far_in_shared(params.far_in_shared != 0),
        teams(params.tap_teams),
        lane(first + s),
        slice_channels(params.slice),
        pixel_stride(band.pixel_stride) {
    nearest_matrices(group, weight, columns > 1, rows > 1, [this, memory](int m, int out, int in) -> T& {
      return memory[(m == 2 ? above_matrix : m) * matrix_stride + entry_index(out, in)];
    });
    if (far_in_shared) {
      // a warp takes the taps of one pair of channels, which lie side by side in memory
      const int n = group.channels, warps = blockDim.x / 32;
      for (int tap = threadIdx.x % 32; tap < rows * columns; tap += 32) {
        const int a = tap / columns, b = tap % columns;
        for (int pair = threadIdx.x / 32; pair < n * n; pair += warps) {
          const int out = pair / n, in = pair % n;
          if (a + b >= 2) {
            memory[tap * matrix_stride + entry_index(out, in)] =
                -weight[group.anchor_entry(out, in) + a * group.tap_row_stride + b * group.tap_column_stride];
          }
        }
      }
    }
    __syncthreads();  // the matrices are complete
  }

  // `channels` and `parts - 1` more vectors that lie part_stride apart are added first.
  __device__ __forceinline__ void multiply(Sums& sums, const Vector<T> (&entries)[S], const T* channels, int parts = 1,
                                           int part_stride = 0) const {
#pragma unroll
    for (int j = 0; j < J; ++j) {
      Vector<T> value = load_vector(channels + j * pixel_stride);
#pragma unroll 1
      for (int part = 1; part < parts; ++part) {
        const Vector<T> more = load_vector(channels + j * pixel_stride + part * part_stride);
#pragma unroll
        for (int v = 0; v < kVector<T>; ++v) {
          value.value[v] += more.value[v];
        }
      }
#pragma unroll
      for (int v = 0; v < kVector<T>; ++v) {
#pragma unroll
        for (int i = 0; i < S; ++i) {
          sums[j][i] += entries[i].value[v] * value.value[v];
        }
      }
    }
  }

  __device__ __forceinline__ void add(Sums& sums, int m, const T* channels, int parts = 1, int part_stride = 0) const {
    const T* from = matrices + m * matrix_stride + lane * kVector<T>;
#pragma unroll 1
    for (int c = 0; c < vectors; ++c) {
      Vector<T> entries[S];
#pragma unroll
      for (int i = 0; i < S; ++i) {
        entries[i] = load_vector(from);
        from += row_threads * kVector<T>;
      }
      multiply(sums, entries, channels + c * kVector<T>, parts, part_stride);
    }
  }

  // The same for a far tap whose matrix is not in shared memory.
  __device__ __forceinline__ void add_from_global(Sums& sums, int a, int b, const T* channels) const {
    const T* tap = weight + group.anchor + a * group.tap_row_stride + b * group.tap_column_stride;
    const int first = lane / S * S, slice_start = lane % S * slice_channels;
#pragma unroll 1
    for (int c = 0; c < vectors; ++c) {
      Vector<T> entries[S];
#pragma unroll
      for (int i = 0; i < S; ++i) {
#pragma unroll
        for (int v = 0; v < kVector<T>; ++v) {
          const int out = first + i, within = c * kVector<T> + v, in = slice_start + within;
          const bool inside = out < group.channels && within < slice_channels && in < group.channels;
          entries[i].value[v] = inside ? -tap[out * group.out_stride + in * group.in_stride] : T(0);
        }
      }
      multiply(sums, entries, channels + c * kVector<T>);
    }
  }

  __device__ __forceinline__ void add_near(Sums& sums, const T* rest, int part_stride, const T* left,
                                           const T* above) const {
    add(sums, 0, rest, teams, part_stride);
    if (columns > 1) {
      add(sums, 1, left);
    }
    if (rows > 1) {
      add(sums, above_matrix, above);
    }
  }

  // The far taps of team `team`: every teams-th.
  __device__ __forceinline__ void add_far(Sums& sums, int team, const T* row, const RingPlaces<kPlaces>& places) const {
    int skipped = team;  // taps that the other teams take before this one's next
#pragma unroll 1  // a tap is work enough; several at once would spill
    for (int a = 0; a < rows; ++a) {
      // an image of one column has no far taps in the first row
      int b = min(columns, max(0, 2 - a)) + skipped;
#pragma unroll 1
      for (; b < columns; b += teams) {
        const T* channels = beyond(row, places.back(a + b)) - a * pixel_stride;
        if (far_in_shared) {
          add(sums, a * columns + b, channels);
        } else {
          add_from_global(sums, a, b, channels);
        }
      }
      skipped = b - columns;
    }
  }
};
