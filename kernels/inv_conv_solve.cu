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

#include "inv_conv_side_product.cuh"

// Threads of a block at most, which leaves 168 registers to each, or 255; twin: solve_threads in
// src/cuda/launch/solve.rs.
template <typename T>
constexpr int kSolveThreads = sizeof(T) == 4 ? 384 : 256;

// What one thread does at each step.
//
// Everything that a step needs is prepared: a thread keeps a pointer to its first row in slot 0 of the ring, and compares
// one number to know whether a row is inside the image. Row r has a pixel on diagonal d where 0 <= d - r < width, which
// unsigned numbers say in one comparison. Where the band has more rows than the block takes at once, all of it moves on
// by as many in each round.
template <typename T, typename Product>
struct InvConvSweep {
  static constexpr int S = Product::kSlices, P = Product::kOutputs, J = Product::kRows;
  using Places = RingPlaces<Product::kPlaces>;

  const Product& product;
  T* mine;           // this lane's slice of its first row of the first round, in slot 0
  T* last;           // the same of the band's last rows: further rounds stay there, and write nothing
  int to_rest;       // bytes from there to r: of one diagonal, in a part of each tap team ...
  int rest_bytes;    // ... and then of the other
  int part_stride;   // from one part to the next
  int pixel_stride;
  int width;
  int to_out;        // from the slice to the channel that this thread ends with
  int team;          // of those that share the far taps
  int s;
  int row;           // its first
  int rows;          // that it writes, from there on: none or less where it ends with no channel
  int band_rows;
  int round_rows;    // that the block takes at once
  int warp_row;      // first of its warp
  unsigned int warp_near, warp_far;  // diagonals from there on, on which the warp has work: the same in all of its lanes

  // Whether this thread writes row j of its J, the first of which is `from_row` diagonals ago.
  __device__ __forceinline__ bool has_pixel(int from_row, int inside, int j) const {
    return j < inside && static_cast<unsigned int>(from_row - j) < static_cast<unsigned int>(width);
  }

  // x on diagonal d and r on diagonal d + 1 of one round: `here` is this thread's place in it, `seen` is d less the rows
  // of the rounds before, `inside` the rows that the thread writes. `rest_at` bytes of r are before r of d.
  __device__ __forceinline__ void round(T* here, int seen, int inside, const Places& places, int rest_at) const {
    const int from_warp = seen - warp_row, from_row = seen - row;
    // a decision of the whole warp, whose lanes sum together
    if (static_cast<unsigned int>(from_warp) < warp_near) {
      typename Product::Sums sums = {};
      const T* left = beyond(here, places.at[2]);
      product.add_near(sums, beyond(here, to_rest + rest_at), part_stride, left, left - pixel_stride);
      T* x = beyond(here + to_out, places.at[1]);
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const T value = sum_over_lanes<S, P>(sums[j], s);
        if (team == 0 && has_pixel(from_row, inside, j)) {
          x[j * pixel_stride] = value;
        }
      }
    }
    if (static_cast<unsigned int>(from_warp + 1) < warp_far) {
      typename Product::Sums sums = {};
      product.add_far(sums, team, here, places);
      const T* y = beyond(here + to_out, places.at[0]);
      T* r = beyond(here + to_out, to_rest + rest_bytes - rest_at) + team * part_stride;
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const T value = sum_over_lanes<S, P>(sums[j], s);
        if (has_pixel(from_row + 1, inside, j)) {
          r[j * pixel_stride] = (team == 0 ? y[j * pixel_stride] : T(0)) + value;
        }
      }
    }
  }

  // The steps first_d .. end_d-1; kOneRound where the block takes all rows of the band at once.
  template <bool kOneRound>
  __device__ __forceinline__ void steps(int first_d, int end_d, Places& places, int& rest_at) const {
#pragma unroll 1
    for (int d = first_d; d < end_d; ++d) {
      if (kOneRound) {
        round(mine, d, rows, places, rest_at);
      } else {
        T* here = mine;
#pragma unroll 1
        for (int base = 0; base < band_rows; base += round_rows) {
          round(here, d - base, rows - base, places, rest_at);
          here += round_rows * pixel_stride;
          here = here < last ? here : last;
        }
      }
      places.move_on();
      rest_at = rest_bytes - rest_at;
      __syncthreads();  // x of d and r of d + 1 are complete
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
  if (ticket < params.shape.groups) {
    report_zeros(band.group, weight, params.singular);  // the first image's first band speaks for all of the group
  }

  const bool above = !band.is_first();
  if (above) {
    band.wait_for_halo(params, chunk);
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
  const int warp_first = one_team ? first % team_threads / row_threads : 0;
  const int warp_last = one_team ? last % team_threads / row_threads : groups_at_once - 1;
  const unsigned int warp_far =
      warp_first * J < band.rows ? band.width + (warp_last - warp_first + 1) * J - 1 : 0;
  const int out = lane_team * P + s % P;
  const bool writes = s < P && tap_team < tap_teams && out < band.group.channels;
  const int slice_place = s * band.padded_slice;
  T* const first_row = band.pixel(0, 0) + slice_place;
  const InvConvSweep<T, Product> sweep{
      product,
      // a block of whole warps may have threads for more rows than the band: they read its last ones
      first_row + min(group * J, params.band_rows - J) * band.pixel_stride,
      first_row + (params.band_rows - J) * band.pixel_stride,
      static_cast<int>(sizeof(T)) * -(2 * tap_teams * part_stride + band.halo * band.pixel_stride),
      static_cast<int>(sizeof(T)) * tap_teams * part_stride,
      part_stride,
      band.pixel_stride,
      band.width,
      band.place(out) - slice_place,
      tap_teams == 1 ? 0 : min(tap_team, tap_teams - 1),
      s,
      group * J,
      writes ? band.rows - group * J : 0,
      band.rows,
      groups_at_once * J,
      warp_first * J,
      tap_teams == 1 || first < team_threads ? warp_far : 0,
      warp_far,
  };

  // the steps of a chunk are d = start - 1 .. start + chunk - 2: those that read its y
  typename InvConvSweep<T, Product>::Places places(band, -1);
  int rest_at = 0;
  for (int start = 0; start <= diagonals; start += chunk) {
    const int next = start + chunk, end = min(next, diagonals + 1);
    band.load_rows(params.band_rows, next, min(next + chunk, diagonals));
    if (sweep.band_rows <= sweep.round_rows) {
      sweep.template steps<true>(start - 1, end - 1, places, rest_at);
    } else {
      sweep.template steps<false>(start - 1, end - 1, places, rest_at);
    }
    band.store_rows(max(start - 1, 0), end - 1);
    band.publish(params, end - 1);  // before this band waits for the one above, so that waits do not add up
    if (above && next < diagonals) {
      band.wait_for_halo(params, next + chunk);
      band.load_halo(next, next + chunk);
    }
    wait_for_copies();
    __syncthreads();  // the next chunk is there, and this one is stored
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

// filters of one side, up to 16 channels: rows of a thread
#define INV_CONV_SOLVE_OF_SIDE(K, J, name) INV_CONV_SOLVE(name, kSolveThreads<float>, float, SideProduct<float, J, K>)

INV_CONV_SOLVE_OF_SIDE(5, 1, inv_conv_solve_f32_k5_j1)
INV_CONV_SOLVE_OF_SIDE(5, 2, inv_conv_solve_f32_k5_j2)
INV_CONV_SOLVE_OF_SIDE(5, 4, inv_conv_solve_f32_k5_j4)
INV_CONV_SOLVE_OF_SIDE(7, 1, inv_conv_solve_f32_k7_j1)
INV_CONV_SOLVE_OF_SIDE(7, 2, inv_conv_solve_f32_k7_j2)
INV_CONV_SOLVE_OF_SIDE(7, 4, inv_conv_solve_f32_k7_j4)
INV_CONV_SOLVE_OF_SIDE(11, 1, inv_conv_solve_f32_k11_j1)
INV_CONV_SOLVE_OF_SIDE(11, 2, inv_conv_solve_f32_k11_j2)
INV_CONV_SOLVE_OF_SIDE(11, 4, inv_conv_solve_f32_k11_j4)
