// The gradient of an image of which the first channels are used twice; src/ops/channels.rs has the equation.
//
// channels_add_first: sum = all, plus first in the first channels; a block takes a run of elements.
//
// Floor: every element is read once, those of the first channels twice, and every one is written once.
#include "block_sum.cuh"
#include "channels.cuh"

namespace {

template <typename T>
__device__ void channels_add_first(const ChannelsParams& params) {
  const T* all = reinterpret_cast<const T*>(params.all);
  const T* first = reinterpret_cast<const T*>(params.first);
  T* sum = reinterpret_cast<T*>(params.sum);
  const long long begin = blockIdx.x * params.elements_per_block;
  const long long end = min(begin + params.elements_per_block, params.samples * params.sample);
  BlockWalk at(begin + threadIdx.x, params.sample);
  for (long long i = begin + threadIdx.x; i < end; i += blockDim.x, at.step()) {
    const T value = all[i];
    sum[i] = at.column < params.part ? value + first[at.row * params.part + at.column] : value;
  }
}

}  // namespace

#define CHANNELS_KERNEL(T, name)                                                                                       \
  extern "C" __global__ void __launch_bounds__(kChannelsThreads) name(const __grid_constant__ ChannelsParams params) { \
    channels_add_first<T>(params);                                                                                     \
  }

CHANNELS_KERNEL(float, channels_add_first_f32)
CHANNELS_KERNEL(double, channels_add_first_f64)
