// Zeros around images, or lines cut off, each side by itself; src/ops/pad.rs has the equation.
//
// Both passes: pad_images (a block owns a run of output elements). The gradient of a pad is the pad that undoes it.
//
// Floor: every output element is written once, every input element read at most once.
#include "block_sum.cuh"
#include "pad.cuh"

namespace {

template <typename T>
__device__ void pad_images(const PadParams& params) {
  const long long elements = params.planes * params.out_height * params.out_width;
  const long long first = static_cast<long long>(blockIdx.x) * params.elements_per_block;
  const long long count = min(params.elements_per_block, elements - first);
  const T* x = reinterpret_cast<const T*>(params.x);
  T* y = reinterpret_cast<T*>(params.y) + first;
  // rows of all planes, one below the other
  BlockWalk at(first + threadIdx.x, params.out_width);
  for (long long i = threadIdx.x; i < count; i += blockDim.x, at.step()) {
    const long long row = at.row % params.out_height - params.top;
    const long long column = at.column - params.left;
    const bool inside = row >= 0 && row < params.height && column >= 0 && column < params.width;
    const long long plane = at.row / params.out_height;
    y[i] = inside ? x[(plane * params.height + row) * params.width + column] : T(0);
  }
}

}  // namespace

#define PAD_KERNEL(T, name)                                                                                    \
  extern "C" __global__ void __launch_bounds__(kPadThreads) name(const __grid_constant__ PadParams params) { \
    pad_images<T>(params);                                                                                            \
  }

PAD_KERNEL(float, pad_f32)
PAD_KERNEL(double, pad_f64)
