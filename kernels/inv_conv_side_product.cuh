// The products of a solve where the side of the filter is a template argument; see inv_conv_product.cuh.
#pragma once

#include "inv_conv_product.cuh"

// Tap teams of the kernels for one side; twin: `side_teams` in src/cuda/launch/solve/layout.rs.
__host__ __device__ constexpr int side_teams(int side) { return side < 7 ? 2 : 4; }

template <typename T, int J, int K>
struct SideProduct {
  static constexpr int S = 4;  // slices, of one vector each
  static constexpr int kSlices = S, kOutputs = S, kRows = J;
  static constexpr int kSlice = 0;
  static constexpr int kPlaces = 3;
  static constexpr int kTeams = side_teams(K);
  static constexpr int kLanes = S * kVector<T>, kPixelStride = S * kVector<T>;
  static constexpr int kMatrixStride = (S * kLanes + 1) * kVector<T>;  // one vector more, to change banks
  using Sums = T[J][S];

  static __device__ __forceinline__ int tap_teams(const InvConvSolveParams&) { return kTeams; }

  const T* entries;  // of this lane, in the first matrix: of tap (a, b) in number a * K + b

  static __device__ __forceinline__ int matrix_elements(const InvConvSolveParams&) { return K * K * kMatrixStride; }

  __device__ __forceinline__ SideProduct(const InvConvSolveParams& params, const InvConvBand<T>& band,
                                         const T* __restrict__ weight, T* memory, int first, int s)
      : entries(memory + (first + s) * kVector<T>) {
    const InvConvGroup& group = band.group;
    const int n = group.channels, slice = params.slice, warps = blockDim.x / 32;
    // vector [o] of a team's outputs, for lane [lane]: lanes innermost
    const auto index = [slice](int out, int in) {
      return (out % S * kLanes + out / S * S + in / slice) * kVector<T> + in % slice;
    };
    nearest_matrices(group, weight, true, true, [memory, index](int m, int out, int in) -> T& {
      return memory[(m == 2 ? K : m) * kMatrixStride + index(out, in)];
    });
    // a warp takes the taps of one pair of channels, which lie side by side in memory
    for (int tap = threadIdx.x % 32; tap < K * K; tap += 32) {
      const int a = tap / K, b = tap % K;
      for (int pair = threadIdx.x / 32; pair < n * n && a + b >= 2; pair += warps) {
        const int out = pair / n, in = pair % n;
        memory[tap * kMatrixStride + index(out, in)] =
            -weight[group.anchor_entry(out, in) + a * group.tap_row_stride + b * group.tap_column_stride];
      }
    }
    __syncthreads();  // the matrices are complete
  }

  // `channels` and `Parts - 1` more vectors that lie part_stride apart are added first.
  template <int Parts = 1>
  __device__ __forceinline__ void add(Sums& sums, const T* matrix, const T* channels, int part_stride = 0) const {
    Vector<T> of_output[S];
#pragma unroll
    for (int i = 0; i < S; ++i) {
      of_output[i] = load_vector(matrix + i * kLanes * kVector<T>);
    }
#pragma unroll
    for (int j = 0; j < J; ++j) {
      Vector<T> value = load_vector(channels + j * kPixelStride);
#pragma unroll
      for (int part = 1; part < Parts; ++part) {
        const Vector<T> more = load_vector(channels + j * kPixelStride + part * part_stride);
#pragma unroll
        for (int v = 0; v < kVector<T>; ++v) {
          value.value[v] += more.value[v];
        }
      }
#pragma unroll
      for (int v = 0; v < kVector<T>; ++v) {
#pragma unroll
        for (int i = 0; i < S; ++i) {
          sums[j][i] += of_output[i].value[v] * value.value[v];
        }
      }
    }
  }

  __device__ __forceinline__ void add_near(Sums& sums, const T* rest, int part_stride, const T* left, const T*) const {
    add<kTeams>(sums, entries, rest, part_stride);
    add(sums, entries + kMatrixStride, left);
    add(sums, entries + K * kMatrixStride, left - kPixelStride);
  }

  // Of row a of the taps this team takes every kTeams-th, so that all teams take turns as in SharedProduct.
  __device__ __forceinline__ void add_far(Sums& sums, int team, const T* row, const RingPlaces<kPlaces>& places) const {
#pragma unroll 1
    for (int a = 0; a < K; ++a) {
      const int first = (team + (a == 0 ? 2 : 3) - a * K) & (kTeams - 1);
      const T* matrix = entries + (a * K + first) * kMatrixStride;
      int place = places.back(a + first);
#pragma unroll
      for (int turn = 0; turn < div_up(K, kTeams); ++turn) {
        const int b = first + turn * kTeams;
        // only the ends of a row may be no far taps
        if ((turn > 0 || a + b >= 2) && ((turn + 1) * kTeams <= K || b < K)) {
          add(sums, matrix + turn * kTeams * kMatrixStride, beyond(row, place));
        }
        place -= kTeams * places.slot_bytes;
        place = place >= 0 ? place : place + places.end;
      }
      row -= kPixelStride;
    }
  }
};
