// The images of a training batch and their dequantisation noise, in one launch: gathered, augmented, converted.
//
// The noise is that of the host, bit for bit: element i takes word i of a ChaCha stream with 8 rounds (Bernstein, ChaCha, a
// variant of Salsa20, 2008) whose 64-bit counter counts blocks of 16 words from 0, and keeps its upper 24 bits, which
// float32 holds exactly. src/data/rng.rs has the key, src/data/augment.rs what shifts and flips do.
//
// A thread computes one block of the stream. Through shared memory, neighbouring threads then write neighbouring elements.
//
// Floor: a byte read and two float32 numbers written an element, and some 25 integer instructions.
#include "batch.cuh"

namespace {

__device__ __forceinline__ unsigned int rotate_left(unsigned int word, int bits) {
  return word << bits | word >> (32 - bits);
}

__device__ __forceinline__ void quarter_round(unsigned int& a, unsigned int& b, unsigned int& c, unsigned int& d) {
  a += b;
  d = rotate_left(d ^ a, 16);
  c += d;
  b = rotate_left(b ^ c, 12);
  a += b;
  d = rotate_left(d ^ a, 8);
  c += d;
  b = rotate_left(b ^ c, 7);
}

// Block `counter` of the stream with this key.
__device__ __forceinline__ void chacha8(const unsigned int (&key)[8], unsigned long long counter,
                                        unsigned int (&out)[kChaChaWords]) {
  const unsigned int input[kChaChaWords] = {
      0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u,  // "expand 32-byte k"
      key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7],
      static_cast<unsigned int>(counter), static_cast<unsigned int>(counter >> 32), 0u, 0u};
#pragma unroll
  for (int i = 0; i < kChaChaWords; ++i) {
    out[i] = input[i];
  }
#pragma unroll
  for (int round = 0; round < 8; round += 2) {
#pragma unroll
    for (int column = 0; column < 4; ++column) {
      quarter_round(out[column], out[4 + column], out[8 + column], out[12 + column]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      quarter_round(out[i], out[4 + (i + 1) % 4], out[8 + (i + 2) % 4], out[12 + (i + 3) % 4]);
    }
  }
#pragma unroll
  for (int i = 0; i < kChaChaWords; ++i) {
    out[i] += input[i];
  }
}

// The coordinate in [0, size) that the pixel at `at` takes its value from.
__device__ __forceinline__ int picked_coordinate(int at, int offset, int size, bool reflect) {
  const int last = size - 1;
  int from = at + offset;
  if (reflect && from < 0) {
    from = -from;
  } else if (reflect && from > last) {
    from = 2 * last - from;
  }
  // an image smaller than the shift has no mirror image to take: its border pixel stands in
  return min(max(from, 0), last);
}

__device__ __forceinline__ float picked_pixel(const BatchParams& params, long long i) {
  const int column = static_cast<int>(i % params.width);
  const long long rest = i / params.width;
  const int row = static_cast<int>(rest % params.height);
  const long long plane = rest / params.height;
  const Pick pick = params.picks[plane / params.channels];
  const bool reflect = params.reflect != 0;
  const int y = picked_coordinate(row, pick.rows, params.height, reflect);
  const int x = picked_coordinate(pick.flip != 0 ? params.width - 1 - column : column, pick.columns, params.width, reflect);
  const long long from = (static_cast<long long>(pick.image) * params.channels + plane % params.channels) * params.height;
  return static_cast<float>(params.images[(from + y) * params.width + x]);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kBatchThreads) batch_f32(const __grid_constant__ BatchParams params) {
  float* noise = reinterpret_cast<float*>(dynamic_shared());
  // one element more than a thread's: threads that write together write to different banks
  constexpr int kRow = kChaChaWords + 1;
  unsigned int words[kChaChaWords];
  chacha8(params.key, static_cast<unsigned long long>(blockIdx.x) * kBatchThreads + threadIdx.x, words);
#pragma unroll
  for (int i = 0; i < kChaChaWords; ++i) {
    noise[threadIdx.x * kRow + i] = static_cast<float>(words[i] >> 8) * (1.0f / (1 << 24));
  }
  __syncthreads();
  const long long first = static_cast<long long>(blockIdx.x) * kBatchThreads * kChaChaWords;
  const int count = static_cast<int>(min(static_cast<long long>(kBatchThreads * kChaChaWords), params.elements - first));
  for (int i = threadIdx.x; i < count; i += kBatchThreads) {
    params.noise[first + i] = noise[i / kChaChaWords * kRow + i % kChaChaWords];
    params.x[first + i] = picked_pixel(params, first + i);
  }
}
