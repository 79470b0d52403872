// Inverse of a corner-padded convolution: x with A(W) x = y, or A(W)^T x = y, in one launch.
//
//   r[h,w] = y[h,w] - sum_{a+b>=2} W[a,b] x[h-a,w-b]                       taps from two diagonals back and more
//   x[h,w] = D^-1 r[h,w] - (D^-1 W[0,1]) x[h,w-1] - (D^-1 W[1,0]) x[h-1,w]       D = W[0,0], lower triangular
//
// in the walk coordinates of inv_conv.cuh, which cover the four corners and the adjoint; x, y and r are vectors of the
// group's n channels here, and W[a,b] matrices.
//
// Order. Pixel (h, w) needs pixels of smaller h + w only, so the pixels of one anti-diagonal d = h + w are independent.
// A block owns one band of the rows of one group of one image (inv_conv_band.cuh) and sweeps its diagonals. D^-1 is
// multiplied into the two nearest taps alone, which takes 2.5 n^3 multiplications a block; multiplying it into all of
// them would take k^2/5 times as many and change nothing in the sweep. r of a diagonal needs only what was final one
// barrier ago, so step d computes both
//
//   x on diagonal d      from r of d (step d - 1) and x of d - 1
//   r on diagonal d + 1  from y and x up to d - 1                                       barrier: both are complete
//
// and there is one barrier a diagonal, the only one that a pixel waits at. The rows (and the channels of a row) of a
// diagonal are shared among teams of lanes (inv_conv_product.cuh), which keep their channels for the whole sweep.
//
// Shared memory: int ticket[4], T matrices[..], T rest[2][tap_teams][band_rows][pixel_stride],
// T ring[slots][slot_stride].
//
// The sum of an output runs over the taps and the channels in an order that depends on the sizes and the dtype alone:
// bands, chunks and the number of threads do not change a bit. Floors and plans: docs/performance-gpu.md.
//
// Source: the diagonal-parallel inversion of Kallappa, Nagar & Varma, "FInC Flow" (2023),
// https://arxiv.org/abs/2301.09266, used as a layer by Nagar & Varma, "Inverse-Flow" (2025),
// https://arxiv.org/abs/2410.14634. The adjoint is the same sweep from the opposite corner, because A^T is triangular
// in the opposite order.

#include "inv_conv_product.cuh"

// Threads of a block at most, which leaves 168 registers to each, or 255; twin: solve_threads in
// src/cuda/launch/solve.rs.
template <typename T>
constexpr int kSolveThreads = sizeof(T) == 4 ? 384 : 256;

// What one thread does at each step.
template <typename T, typename Product>
struct InvConvSweep {
  static constexpr int S = Product::kSlices, P = Product::kOutputs, J = Product::kRows;

  const InvConvBand<T>& band;
  const Product& product;
  T* rest;               // r of two diagonals, in a part of each tap team
  int part_stride;       // from one part to the next
  int teams;             // of threads that share the far taps
  int team;              // this thread's
  int groups;            // of J rows, in the band
  int groups_at_once;    // that the block works on
  int group;             // that this thread works on first
  int warp_first, warp_last;  // those of its warp
  bool warp_near;        // some lane of its warp is in the first tap team, which computes x
  int out, out_place;    // the channel that it ends with
  int slice_place;       // where its slice lies in a pixel
  int s;
  bool writes;

  // The rows of diagonal d that are inside the image; none if first > last.
  struct Rows {
    int first, last;
  };
  __device__ __forceinline__ Rows rows_on(int d) const {
    return {max(0, d - (band.width - 1)), min(d, band.rows - 1)};
  }

  // x on diagonal d, in slot `slot` of the ring, and r on diagonal d + 1.
  __device__ __forceinline__ void step(int d, int slot) const {
    const Rows now = rows_on(d), next = rows_on(d + 1);
    const T* rest_now = rest + (d & 1) * teams * part_stride;
    T* rest_next = rest + (((d + 1) & 1) * teams + team) * part_stride;
    const int before = slot >= 1 ? slot - 1 : slot - 1 + band.slots;
    const int after = slot + 1 < band.slots ? slot + 1 : 0;
    for (int base = 0; base < groups; base += groups_at_once) {
      // the same decision in all lanes of a warp, because they sum together
      const int warp_first_row = (base + warp_first) * J, warp_last_row = (base + warp_last) * J + J - 1;
      const int row = min(base + group, groups - 1) * J;
      const bool owner = writes && base + group < groups;
      if (warp_near && now.first <= min(now.last, warp_last_row) && now.last >= warp_first_row) {
        typename Product::Sums sums = {};
        product.add_near(sums, rest_now + row * band.pixel_stride + slice_place, part_stride,
                         band.pixel(before, row) + slice_place,
                         // without taps above there is no row above either, and nothing reads it
                         band.pixel(before, band.halo > 0 ? row - 1 : row) + slice_place);
#pragma unroll
        for (int j = 0; j < J; ++j) {
          const T value = sum_over_lanes<S, P>(sums[j], s);
          if (owner && team == 0 && row + j >= now.first && row + j <= now.last) {
            band.pixel(slot, row + j)[out_place] = value;
          }
        }
      }
      if (next.first <= min(next.last, warp_last_row) && next.last >= warp_first_row) {
        typename Product::Sums sums = {};
        product.add_far(sums, team, [&](int a, int b) {
          const int source = after - (a + b);
          return band.pixel(source >= 0 ? source : source + band.slots, row - a) + slice_place;
        });
#pragma unroll
        for (int j = 0; j < J; ++j) {
          const T value = sum_over_lanes<S, P>(sums[j], s);
          if (owner && row + j >= next.first && row + j <= next.last) {
            const T here = team == 0 ? band.pixel(after, row + j)[out_place] : T(0);
            rest_next[(row + j) * band.pixel_stride + out_place] = here + value;
          }
        }
      }
    }
  }
};

template <typename T, typename Product>
__device__ __forceinline__ void inv_conv_solve(const InvConvSolveParams& params) {
  constexpr int S = Product::kSlices, P = Product::kOutputs, J = Product::kRows;
  int* header = reinterpret_cast<int*>(dynamic_shared());
  T* matrices = reinterpret_cast<T*>(header + 4);
  const int matrix_elements = round_up(Product::matrix_elements(params), kVector<T>);
  T* rest = matrices + matrix_elements;

  // zeros where nothing else is written: padding of the matrices and of r
  const int slice = Product::kSlice > 0 ? Product::kSlice : params.slice;
  const int tap_teams = Product::tap_teams(params);
  const int part_stride = params.band_rows * S * round_up(slice, kVector<T>);
  for (int i = threadIdx.x; i < matrix_elements + 2 * tap_teams * part_stride; i += blockDim.x) {
    matrices[i] = T(0);
  }
  const int ticket = take_ticket(params, header);  // a barrier: the zeros are complete
  InvConvBand<T> band(params, ticket, S, slice);
  band.ring = rest + 2 * tap_teams * part_stride;

  const int diagonals = band.diagonals(), chunk = params.chunk;
  band.load_rows(params.band_rows, -band.history, min(chunk, diagonals));

  // this thread's place in its row
  const int row_threads = S * slice / P * S;
  const int in_row = threadIdx.x % row_threads, s = in_row % S, lane_team = in_row / S;
  const T* __restrict__ weight = static_cast<const T*>(params.weight);
  const Product product(params, band, weight, matrices, lane_team * P, s);
  if (ticket < params.shape.groups * params.bands && band.first_row == 0) {
    report_zeros(band.group, weight, params.singular);  // the first image's first band speaks for all of the group
  }

  const bool above = band.waits_for != nullptr;
  if (above) {
    band.wait_for_halo(params.band_rows, chunk);
    band.load_halo(-band.history, chunk);
  } else {
    band.load_halo(-band.history, band.slots - band.history);  // zeros, in every slot, for good
  }
  wait_for_copies();
  __syncthreads();  // the first chunk is there

  // threads from the fastest index: a row's, the rows that the block works on at once, the tap teams
  const int groups_at_once = blockDim.x / (row_threads * tap_teams), team_threads = groups_at_once * row_threads;
  const int group = threadIdx.x / row_threads % groups_at_once, tap_team = threadIdx.x / team_threads;
  const int first = threadIdx.x / 32 * 32, last = first + 31;  // of the warp
  const bool one_team = first / team_threads == last / team_threads;
  const int out = lane_team * P + s % P;
  const InvConvSweep<T, Product> sweep{
      band,
      product,
      rest,
      part_stride,
      tap_teams,
      min(tap_team, tap_teams - 1),
      params.band_rows / J,
      groups_at_once,
      group,
      one_team ? first % team_threads / row_threads : 0,
      one_team ? last % team_threads / row_threads : groups_at_once - 1,
      first < team_threads,
      out,
      band.place(out),
      s * band.padded_slice,
      s,
      s < P && tap_team < tap_teams && out < band.group.channels,
  };

  // the steps of a chunk are d = start - 1 .. start + chunk - 2: those that read its y
  for (int start = 0; start <= diagonals; start += chunk) {
    const int next = start + chunk, end = min(next, diagonals + 1);
    band.load_rows(params.band_rows, next, min(next + chunk, diagonals));
    int slot = band.slot_of(start - 1);
    for (int d = start - 1; d < end - 1; ++d) {
      sweep.step(d, slot);
      slot = slot + 1 < band.slots ? slot + 1 : 0;
      __syncthreads();  // x of d and r of d + 1 are complete
    }
    band.store_rows(max(start - 1, 0), end - 1);
    if (above && next < diagonals) {
      band.wait_for_halo(params.band_rows, next + chunk);
      band.load_halo(next, next + chunk);
    }
    wait_for_copies();
    __syncthreads();  // the next chunk is there, and this one is stored
    band.publish(end - 1);
  }
}

// One block a multiprocessor is enough for the bounds: asked to guess, ptxas saves registers and spills.
#define INV_CONV_SOLVE(name, threads, T, ...)                   \
  extern "C" __global__ void __launch_bounds__(threads, 1)      \
      name(const __grid_constant__ InvConvSolveParams params) { \
    inv_conv_solve<T, __VA_ARGS__>(params);                     \
  }

// matrices in registers: threads at most, filter side, channels of a slice, slices, outputs of a team; for up to slices x
// slice channels. Twin: REGISTER_SHAPES in src/cuda/kernels.rs.
#define INV_CONV_SOLVE_IN_REGISTERS(name, threads, K, Q, S, P) \
  INV_CONV_SOLVE(name, threads, float, RegisterProduct<float, K, Q, S, P>)

INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k2_n4, 384, 2, 4, 1, 1)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k2_n8, 384, 2, 4, 2, 2)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k2_n12, 384, 2, 3, 4, 4)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k2_n16, 256, 2, 4, 4, 4)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k2_n24, 384, 2, 6, 4, 2)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k2_n48, 384, 2, 12, 4, 1)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k3_n4, 384, 3, 4, 1, 1)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k3_n8, 384, 3, 4, 2, 2)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k3_n12, 384, 3, 3, 4, 4)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k3_n16, 256, 3, 4, 4, 4)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k3_n24, 384, 3, 6, 4, 2)
INV_CONV_SOLVE_IN_REGISTERS(inv_conv_solve_f32_k3_n48, 384, 3, 12, 4, 1)

// any filter, any number of channels: slices, rows of a thread
#define INV_CONV_SOLVE_IN_SHARED(name, T, S, J) INV_CONV_SOLVE(name, kSolveThreads<T>, T, SharedProduct<T, S, J>)

INV_CONV_SOLVE_IN_SHARED(inv_conv_solve_f32_s1, float, 1, 1)
INV_CONV_SOLVE_IN_SHARED(inv_conv_solve_f32_s4_j1, float, 4, 1)
INV_CONV_SOLVE_IN_SHARED(inv_conv_solve_f32_s4_j2, float, 4, 2)
INV_CONV_SOLVE_IN_SHARED(inv_conv_solve_f32_s4_j4, float, 4, 4)
INV_CONV_SOLVE_IN_SHARED(inv_conv_solve_f64_s1, double, 1, 1)
INV_CONV_SOLVE_IN_SHARED(inv_conv_solve_f64_s4_j1, double, 4, 1)
INV_CONV_SOLVE_IN_SHARED(inv_conv_solve_f64_s4_j2, double, 4, 2)
INV_CONV_SOLVE_IN_SHARED(inv_conv_solve_f64_s4_j4, double, 4, 4)
