// What every kernel needs: accumulators, 16-byte loads, asynchronous copies, sums over lanes, dynamic shared memory.
//
// The kernels keep to plain C++17 with a handful of CUDA's intrinsics, and no fast-math, so that the same source also
// runs, block by block, on a machine without a GPU (tests/host_cuda, which defines CUDA_ON_HOST).
#pragma once

// Type in which sums of products of T are carried.
template <typename T>
struct Accumulator;
template <>
struct Accumulator<float> {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};

__host__ __device__ constexpr int div_up(int value, int divisor) { return (value + divisor - 1) / divisor; }

__host__ __device__ constexpr int round_up(int value, int divisor) { return div_up(value, divisor) * divisor; }

// The block's dynamic shared memory. The launch decides its size, src/cuda/launch with the same formulas.
__device__ __forceinline__ unsigned char* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
  return dynamic_shared_bytes;
}

// Elements of T that one load can take.
template <typename T>
constexpr int kVector = 16 / sizeof(T);

template <typename T>
struct alignas(16) Vector {
  T value[kVector<T>];
};

// kVector elements from a 16-byte aligned address, in one load.
template <typename T>
__device__ __forceinline__ Vector<T> load_vector(const T* from) {
  return *reinterpret_cast<const Vector<T>*>(from);
}

// Starts a copy of one element from global to shared memory. The element may be read after wait_for_copies by this
// thread, and by others after a barrier besides. Cards before sm_80 copy on the spot.
template <typename T>
__device__ __forceinline__ void copy_async(T* to, const T* from) {
#if defined(CUDA_ON_HOST)
  cuda_on_host::copy_async(to, from, sizeof(T));
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(
                   static_cast<unsigned int>(__cvta_generic_to_shared(to))),
               "l"(__cvta_generic_to_global(from)), "n"(sizeof(T))
               : "memory");
#else
  *to = *from;
#endif
}

// Waits until every copy that this thread has started is complete.
__device__ __forceinline__ void wait_for_copies() {
#if defined(CUDA_ON_HOST)
  cuda_on_host::wait_for_copies();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// Sums `partial` over groups of S neighbouring lanes, of which this is lane s = threadIdx.x % S, and gives each lane one
// of the P sums: number s % P. All lanes of the warp must call it. The pairs that are added, and their order, are fixed;
// a + b and b + a are the same to the bit, so all lanes of a group agree.
template <int S, int P, typename Acc>
__device__ __forceinline__ Acc sum_over_lanes(Acc (&partial)[P], int s) {
  static_assert(P <= S && (S & (S - 1)) == 0 && (P & (P - 1)) == 0, "powers of two");
#pragma unroll
  for (int step = S / 2; step >= P; step /= 2) {
#pragma unroll
    for (int i = 0; i < P; ++i) {
      partial[i] += __shfl_xor_sync(0xffffffffu, partial[i], step);
    }
  }
#pragma unroll
  for (int step = P / 2; step >= 1; step /= 2) {
    const bool upper = (s & step) != 0;
#pragma unroll
    for (int i = 0; i < step; ++i) {  // keep one half of the sums, hand the other to the partner
      const Acc kept = upper ? partial[i + step] : partial[i];
      const Acc given = upper ? partial[i] : partial[i + step];
      partial[i] = kept + __shfl_xor_sync(0xffffffffu, given, step);
    }
  }
  return partial[0];
}
