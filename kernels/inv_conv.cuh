// Parameters and index maps of the three operations on a corner-padded convolution A(W):
//
//   solve        x = A(W)^-1 y   or  A(W)^-T y        inv_conv_solve.cu, inv_conv_solve_wide.cu
//   apply        y = A(W) x      or  A(W)^T x         inv_conv_apply.cu
//   weight_grad  G = d<u, A(W) x> / dW                inv_conv_weight_grad.cu
//
// Layout. Images are contiguous [B, C, H, W], the weight is contiguous [C, C/g, k, k]. The C channels are g groups of
// n = C/g consecutive ones, each with a corner of its own. Nothing is copied to turn one corner into another, or the
// operator into its adjoint: every kernel computes in the coordinates of the walk,
//
//   p = 0..n-1   position of a channel in the order in which the channels are solved
//   h, w         row and column counted from the corner at which the walk starts
//   a, b         offset of a tap, so that it multiplies x[h-a, w-b]
//
// in which the operator always reads
//
//   y[p,h,w] = sum_{q,a,b} W[p,q,a,b] x[q,h-a,w-b],   W[p,q,0,0] = 0 for q > p,
//
// and InvConvGroup turns walk coordinates into memory with a start and signed strides:
//
//                    top_left        top_right       bottom_left     bottom_right
//   pixel (0, 0)     0               W-1             (H-1)W          (H-1)W + W-1
//   row stride       +W              +W              -W              -W
//   column stride    +1              -1              +1              -1
//   tap (0, 0)       (k-1)k + k-1    (k-1)k          k-1             0
//   tap row stride   -k              -k              +k              +k
//   tap col. stride  -1              +1              -1              +1
//
// The adjoint swaps in- and out-channels and reaches forward where the operator reaches back: it walks from the
// opposite corner, while its taps stay where the group's own corner put them. W[p,q] then stands for W[in = p, out =
// q], whose anchor is upper triangular, so positions count the channels from the last: p is channel n-1-p.
//
// Index limits. Offsets within one image and within the weight are 32-bit: C*H*W and C*n*k*k stay below 2^31 (checked
// in src/cuda/params.rs). Offsets between images, and between partial sums, are 64-bit.
#pragma once

#include <cstddef>

#include "common.cuh"

// Groups whose corners fit into the parameters, two bits each.
constexpr int kMaxGroups = 1024;

// Sizes of one call. Twin: Shape in src/cuda/params.rs.
struct InvConvShape {
  int batch;
  int channels;  // C, of all groups
  int groups;    // g
  int height;
  int width;
  int kernel;  // k
  // corner of group i in bits 2(i % 16) and up of word i / 16: bit 0 mirrors the columns, bit 1 the rows
  unsigned int corners[kMaxGroups / 16];
};
static_assert(sizeof(InvConvShape) == 280, "twin: Shape in src/cuda/params.rs");
static_assert(offsetof(InvConvShape, corners) == 24, "twin: Shape in src/cuda/params.rs");

// Twin: SolveParams in src/cuda/params.rs. What the sizes mean is explained in inv_conv_band.cuh.
struct InvConvSolveParams {
  const void* y;       // [B, C, H, W]
  const void* weight;  // [C, C/g, k, k]
  void* x;             // [B, C, H, W], does not overlap y
  int* progress;       // zeros [1 + B * g * bands] where bands > 1: the next ticket, complete diagonals of each band
  int* singular;       // the device's word about filters without an inverse, see report_zeros
  InvConvShape shape;
  int adjoint;
  int bands;        // an image's rows are cut into this many bands ...
  int band_rows;    // ... of this many rows, the last one possibly shorter
  int chunk;        // diagonals loaded, and stored, at a time
  int tap_rows;     // taps with a < tap_rows and b < tap_columns reach into the image
  int tap_columns;
  int slice;          // channels of a slice
  int far_in_shared;  // the matrices of all taps are in shared memory, not the nearest ones alone
  int tap_teams;      // threads that share the far taps of a row of pixels
  int reserved;
};
static_assert(sizeof(InvConvSolveParams) == 360, "twin: SolveParams in src/cuda/params.rs");
static_assert(offsetof(InvConvSolveParams, shape) == 40, "twin: SolveParams in src/cuda/params.rs");
static_assert(offsetof(InvConvSolveParams, adjoint) == 320, "twin: SolveParams in src/cuda/params.rs");
static_assert(offsetof(InvConvSolveParams, tap_teams) == 352, "twin: SolveParams in src/cuda/params.rs");

// Twin: ApplyParams in src/cuda/params.rs.
struct InvConvApplyParams {
  const void* x;       // [B, C, H, W]
  const void* weight;  // [C, C/g, k, k]
  void* y;             // [B, C, H, W], does not overlap x
  InvConvShape shape;
  int adjoint;
  int stage_rows;  // rows of taps whose weights are in shared memory at a time
};
static_assert(sizeof(InvConvApplyParams) == 312, "twin: ApplyParams in src/cuda/params.rs");
static_assert(offsetof(InvConvApplyParams, shape) == 24, "twin: ApplyParams in src/cuda/params.rs");
static_assert(offsetof(InvConvApplyParams, adjoint) == 304, "twin: ApplyParams in src/cuda/params.rs");

// Twin: WeightGradParams in src/cuda/params.rs.
struct InvConvWeightGradParams {
  const void* x;   // [B, C, H, W]
  const void* u;   // [B, C, H, W]
  void* partials;  // [chunks, C, C/g, k, k]
  void* grad;      // [C, C/g, k, k]
  InvConvShape shape;
  int chunks;         // the units of tile_rows rows, image after image, are cut into this many runs ...
  int chunk_units;    // ... of this length, the last one possibly shorter
  int tile_channels;  // a block owns tile_channels x tile_channels (out, in) pairs
  int tile_rows;      // pixels staged in shared memory at a time
  int tile_columns;
  int slices;  // teams of threads that share the pairs, each with every slices-th row of the tile
  int lanes;   // threads that stage one row of a tile
  int negative;  // 1 for minus the gradient, that of a solve
};
static_assert(sizeof(InvConvWeightGradParams) == 344, "twin: WeightGradParams in src/cuda/params.rs");
static_assert(offsetof(InvConvWeightGradParams, shape) == 32, "twin: WeightGradParams in src/cuda/params.rs");
static_assert(offsetof(InvConvWeightGradParams, chunks) == 312, "twin: WeightGradParams in src/cuda/params.rs");
static_assert(offsetof(InvConvWeightGradParams, slices) == 332, "twin: WeightGradParams in src/cuda/params.rs");

// One group in walk coordinates (see the head of this file).
struct InvConvGroup {
  int channels;       // n
  int first_channel;  // of the group, in the image
  // element [p, h, w] of the group's planes in one image: pixel(h, w) + p * channel_stride
  int start;
  int channel_stride;
  int row_stride;
  int column_stride;
  // element [p, q, a, b] of the weight: anchor + p * out_stride + q * in_stride + a * tap_row_stride + ...
  int anchor;
  int out_stride;
  int in_stride;
  int tap_row_stride;
  int tap_column_stride;

  __device__ __forceinline__ InvConvGroup(const InvConvShape& shape, int group, bool adjoint) {
    const unsigned int corner = shape.corners[group / 16] >> (2 * (group % 16)) & 3u;
    const unsigned int walk = adjoint ? corner ^ 3u : corner;
    const int height = shape.height, width = shape.width, k = shape.kernel;
    const int plane = height * width, taps = k * k;
    channels = shape.channels / shape.groups;
    first_channel = group * channels;
    start = (walk & 2u ? (height - 1) * width : 0) + (walk & 1u ? width - 1 : 0);
    row_stride = walk & 2u ? -width : width;
    column_stride = walk & 1u ? -1 : 1;
    channel_stride = plane;
    anchor = group * channels * channels * taps + (corner & 2u ? 0 : (k - 1) * k) + (corner & 1u ? 0 : k - 1);
    tap_row_stride = corner & 2u ? k : -k;
    tap_column_stride = corner & 1u ? 1 : -1;
    out_stride = channels * taps;
    in_stride = taps;
    if (adjoint) {
      start += (channels - 1) * plane;
      channel_stride = -plane;
      anchor += (channels - 1) * (channels + 1) * taps;  // W[n-1, n-1]
      out_stride = -taps;
      in_stride = -channels * taps;
    }
  }

  // Offset of channel position 0 at pixel (h, w).
  __device__ __forceinline__ int pixel(int h, int w) const { return start + h * row_stride + w * column_stride; }

  // Channel of the image at position p.
  __device__ __forceinline__ int channel(int p) const {
    return first_channel + (channel_stride < 0 ? channels - 1 - p : p);
  }

  // Offset of the anchor's entry [p, q].
  __device__ __forceinline__ int anchor_entry(int p, int q) const { return anchor + p * out_stride + q * in_stride; }
};

// Offset of a group's first plane in image `image` of a [B, C, H, W] tensor.
__device__ __forceinline__ long long group_offset(const InvConvShape& shape, int image, int group) {
  const long long plane = static_cast<long long>(shape.height) * shape.width;
  const int group_channels = shape.channels / shape.groups;
  return (static_cast<long long>(image) * shape.channels + static_cast<long long>(group) * group_channels) * plane;
}

// A zero on the diagonal of an anchor. Twin: ZERO_AT in src/cuda/singular.rs.
//
// A kernel cannot return an error, and nobody waits for it. So each device has one word, 0 at first, that the host reads
// when it fetches numbers anyway: it becomes kZeroAt minus the lowest channel whose diagonal is zero. The maximum makes
// that the same channel whatever the order of blocks, and leaves what earlier launches have reported.
constexpr int kZeroAt = 0x7fffffff;

// Reports the zeros on the diagonal of the group's anchor; called by all threads of one block for each group. A NaN is
// not a zero: it spoils the result, as it does in the twin.
template <typename T>
__device__ __forceinline__ void report_zeros(const InvConvGroup& group, const T* __restrict__ weight, int* singular) {
  for (int p = threadIdx.x; p < group.channels; p += blockDim.x) {
    if (weight[group.anchor_entry(p, p)] == T(0)) {
      atomicMax(singular, kZeroAt - group.channel(p));
    }
  }
}
