// A band of an image, and the diagonals of it that are in shared memory: what a block of a solve works on.
//
// Bands. The rows of an image are cut into bands, one block each. In the coordinates of its band, row r counts from
// the band's first, and diagonal d = r + w holds pixels (r, d - r). A band needs the `halo` rows above it, which are
// rows of the band before (none reaches further). So the bands of an image run one behind the other: each stores its
// solution chunk by chunk and then publishes how many of its diagonals are complete, in global memory; the next one
// polls that number before it loads the rows. A block takes its band by a ticket, in the order in which blocks start,
// and the tickets go through the first bands of all images, then through the second ones, and so on: so the band that
// it waits for is always one that runs already, however few blocks fit onto the device, and nothing can lock up; and
// blocks that would only wait are the last to start.
//
// Ring. Diagonal d lies in slot (d + history) % slots. A slot holds halo + band_rows pixels; a pixel's channels are
// innermost, in slices of `slice` channels that are padded to whole 16-byte vectors, so that a thread takes four
// channels (two in float64) by one load, and lanes that share a pixel share the load. Beside the chunk that is being
// solved the ring has the `history` diagonals that taps reach back to, and the next chunk, which is copied in
// meanwhile. What lies outside the image, and the padding, is zero: no product has bounds to check.
//
//   slots   [ history | chunk | next chunk ]           slot stride = 16 bytes modulo 128, so that the lanes that load
//                                                      8 diagonals x 4 channels hit different banks
#pragma once

#include "inv_conv.cuh"

template <typename T>
struct InvConvBand {
  const InvConvGroup group;
  const T* y;  // the group's planes in this image
  T* x;
  int first_row;  // of the band, in the image
  int rows;       // of the band that are inside the image
  int width;
  int halo;
  int history;
  int slots;
  int slice;
  int padded_slice;
  int pixel_stride;
  int slot_stride;
  T* ring;
  int* progress;  // of this band, where the image has several

  // `slices` slices of `slice` channels. Twin of the sizes: Ring in src/cuda/launch/solve.rs.
  __device__ __forceinline__ InvConvBand(const InvConvSolveParams& params, int ticket, int slices, int slice)
      : group(params.shape, ticket % params.shape.groups, params.adjoint != 0),
        width(params.shape.width),
        halo(params.tap_rows - 1),
        history(max(params.tap_rows + params.tap_columns - 2, 2)),
        slots(history + 2 * params.chunk),
        slice(slice),
        padded_slice(round_up(slice, kVector<T>)),
        pixel_stride(slices * padded_slice),
        ring(nullptr) {
    const int image_groups = params.shape.batch * params.shape.groups;
    const int image_group = ticket % image_groups, band = ticket / image_groups;
    const int image = image_group / params.shape.groups, group_index = image_group % params.shape.groups;
    y = static_cast<const T*>(params.y) + group_offset(params.shape, image, group_index);
    x = static_cast<T*>(params.x) + group_offset(params.shape, image, group_index);
    first_row = band * params.band_rows;
    rows = min(params.band_rows, params.shape.height - first_row);
    constexpr int kLine = 128 / sizeof(T);
    const int pixels = (params.band_rows + halo) * pixel_stride;
    slot_stride = pixels + (kLine + kVector<T> - pixels % kLine) % kLine;
    progress = params.bands > 1 ? params.progress + 1 + ticket : nullptr;  // behind the next ticket
  }

  // Whether this band waits for another, and another one for it.
  __device__ __forceinline__ bool is_first() const { return first_row == 0; }
  __device__ __forceinline__ bool is_last(const InvConvSolveParams& params) const {
    return first_row + params.band_rows >= params.shape.height;
  }

  // Diagonals of the band.
  __device__ __forceinline__ int diagonals() const { return rows + width - 1; }

  __device__ __forceinline__ int slot_of(int diagonal) const { return (diagonal + history) % slots; }

  // Channels of the pixel in row r >= -halo of a slot.
  __device__ __forceinline__ T* pixel(int slot, int r) const {
    return ring + slot * slot_stride + (r + halo) * pixel_stride;
  }

  // Where channel position p of a pixel lies.
  __device__ __forceinline__ int place(int p) const { return p / slice * padded_slice + p % slice; }

  // Calls visit(element of the ring, offset in the planes or -1 where there is no pixel) for rows first_r .. end_r-1
  // of diagonals first_d .. end_d-1. A warp takes 8 diagonals of 4 channels of a row: 8 neighbours in each of 4 planes.
  template <typename Visit>
  __device__ __forceinline__ void for_each(int first_r, int end_r, int first_d, int end_d, Visit visit) const {
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
    const int blocks = div_up(pixel_stride, 4);
    for (int pair = threadIdx.x / 32; pair < (end_r - first_r) * blocks; pair += warps) {
      const int r = first_r + pair / blocks, position = pair % blocks * 4 + lane / 8;
      const int within = position % padded_slice, p = position / padded_slice * slice + within;
      const bool row_inside = within < slice && p < group.channels && r < rows && first_row + r >= 0;
      const int row_offset = group.pixel(first_row + r, 0) + p * group.channel_stride;
      int d = first_d + lane % 8, slot = slot_of(d);
      for (; d < end_d; d += 8) {
        if (position < pixel_stride) {
          const int w = d - r;
          const bool inside = row_inside && w >= 0 && w < width;
          visit(pixel(slot, r)[position], inside ? row_offset + w * group.column_stride : -1);
        }
        slot += 8;
        while (slot >= slots) {
          slot -= slots;
        }
      }
    }
  }

  // Starts to copy the band's y, on diagonals first .. end-1; what is outside becomes zero.
  __device__ __forceinline__ void load_rows(int allocated_rows, int first, int end) const {
    for_each(0, allocated_rows, first, end, [this](T& to, int offset) {
      if (offset >= 0) {
        copy_async(&to, y + offset);
      } else {
        to = T(0);
      }
    });
  }

  // Loads the solution in the rows above the band. From L2: the first-level cache may hold what was there before.
  __device__ __forceinline__ void load_halo(int first, int end) const {
    for_each(-halo, 0, first, end, [this](T& to, int offset) { to = offset >= 0 ? __ldcg(x + offset) : T(0); });
  }

  // Stores the solution of diagonals first .. end-1.
  __device__ __forceinline__ void store_rows(int first, int end) const {
    for_each(0, rows, first, end, [this](T& from, int offset) {
      if (offset >= 0) {
        x[offset] = from;
      }
    });
  }

  // Waits until the rows above are there for diagonals below `end`; called by all threads, ends with a barrier.
  //
  // The band before has band_rows rows, so the pixel in row -j of our diagonal d is on its diagonal band_rows + d.
  __device__ __forceinline__ void wait_for_halo(const InvConvSolveParams& params, int end) const {
    if (threadIdx.x == 0) {
      const int needed = min(params.band_rows + end, params.band_rows + width - 1);
      volatile int* above = progress - params.shape.batch * params.shape.groups;
      while (*above < needed) {
        __nanosleep(100);
      }
      __threadfence();  // what was stored before the number is seen after it
    }
    __syncthreads();
  }

  // Tells the next band, if there is one, that the first `complete` diagonals are stored; called by all threads after
  // their stores.
  __device__ __forceinline__ void publish(const InvConvSolveParams& params, int complete) const {
    if (is_last(params)) {
      return;
    }
    __syncthreads();  // all stores are done
    if (threadIdx.x == 0) {
      __threadfence();
      *static_cast<volatile int*>(progress) = complete;
    }
  }
};

// Where in the ring the diagonals d + 1, d, d - 1, ... lie, N of them: bytes that move on from step to step.
template <int N>
struct RingPlaces {
  int at[N];
  int slot_bytes;
  int end;

  template <typename T>
  __device__ __forceinline__ RingPlaces(const InvConvBand<T>& band, int d)
      : slot_bytes(band.slot_stride * static_cast<int>(sizeof(T))), end(band.slots * slot_bytes) {
#pragma unroll
    for (int back = 0; back < N; ++back) {
      at[back] = band.slot_of(d + 1 - back) * slot_bytes;
    }
  }

  // To the next diagonal.
  __device__ __forceinline__ void move_on() {
#pragma unroll
    for (int back = N - 1; back > 0; --back) {
      at[back] = at[back - 1];
    }
    at[0] += slot_bytes;
    at[0] = at[0] < end ? at[0] : 0;
  }

  // Of diagonal d + 1 - back, for a `back` that is known at run time alone.
  __device__ __forceinline__ int back(int back) const {
    const int place = at[0] - back * slot_bytes;
    return place >= 0 ? place : place + end;
  }
};

// `from` and so many bytes: a place is added to a pointer without being multiplied first.
template <typename T>
__device__ __forceinline__ T* beyond(T* from, int bytes) {
  return reinterpret_cast<T*>(reinterpret_cast<unsigned char*>(from) + bytes);
}
template <typename T>
__device__ __forceinline__ const T* beyond(const T* from, int bytes) {
  return reinterpret_cast<const T*>(reinterpret_cast<const unsigned char*>(from) + bytes);
}

// The number of this block's band. Called by all threads once, ends with a barrier; `shared` is 4 bytes of theirs.
__device__ __forceinline__ int take_ticket(const InvConvSolveParams& params, int* shared) {
  if (params.bands == 1) {
    __syncthreads();
    return static_cast<int>(blockIdx.x);
  }
  if (threadIdx.x == 0) {
    *shared = atomicAdd(params.progress, 1);
  }
  __syncthreads();
  return *shared;
}
