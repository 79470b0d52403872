// Every kernel file, and the table of the kernels in them; scripts/emulated_gpu.sh writes both lists from kernels/*.cu.
#include "../../host_cuda/cuda_on_host.h"

#include "kernel_sources.inc"

#include "kernels.h"
#include "parameters.h"

#include "faults.h"
#include "results.h"

namespace emulated_gpu {
namespace {

// What this thread runs on the device.
thread_local const Kernel* on_device = nullptr;

template <typename Params>
std::string run(const Kernel& kernel, const void* bytes, const Launch& launch) {
  static const unsigned int order = setting("EMULATED_GPU_ORDER", 0), resident = setting("EMULATED_GPU_RESIDENT", 1);
  Params params;
  std::memcpy(&params, bytes, sizeof params);
  cuda_on_host::Config config = {};
  std::copy(launch.grid, launch.grid + 3, config.grid);
  std::copy(launch.block, launch.block + 3, config.block);
  config.shared_bytes = launch.shared_bytes;
  config.order = order;
  config.resident = resident;
  on_device = &kernel;
  std::string problem = cuda_on_host::run_grid(reinterpret_cast<void (*)(Params)>(kernel.address), params, config);
  on_device = nullptr;
  return problem;
}

// The parameter struct is that of the function.
template <typename Params>
Kernel entry(const char* file, const char* name, unsigned int threads, void (*kernel)(Params)) {
  return {name, file, threads, sizeof(Params), PointersOf<Params>::list(), run<Params>,
          reinterpret_cast<void (*)()>(kernel)};
}

}  // namespace

const std::vector<Kernel>& all_kernels() {
  static const auto* kernels = new std::vector<Kernel>{
#include "kernel_table.inc"
  };
  return *kernels;
}

void describe_running(char* text, std::size_t length) {
  if (on_device == nullptr || cuda_on_host::running == nullptr) return;
  const CudaIndex &block = blockIdx, &thread = cuda_on_host::running->index;
  std::snprintf(text, length, "%s, block (%u, %u, %u), thread (%u, %u, %u)", on_device->name.c_str(), block.x, block.y,
                block.z, thread.x, thread.y, thread.z);
}

}  // namespace emulated_gpu
