// Launches: everything that a card or its driver would refuse is refused, and named.
#include <cstdio>
#include <cstring>
#include <vector>

#include "../protocol.h"
#include "contexts.h"
#include "counts.h"
#include "kernels.h"
#include "memory.h"
#include "modules.h"
#include "results.h"
#include "streams.h"

namespace emulated_gpu {
namespace {

// An allocation that a parameter points into.
struct Argument {
  const Pointer* pointer;
  Allocation allocation;
};

int check_sizes(const Function& function, const Launch& launch) {
  const auto& [grid, block, shared] = launch;
  const char* name = function.kernel->name.c_str();
  const unsigned long long threads = 1ull * block[0] * block[1] * block[2];
  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[0] > 2147483647u || grid[1] > 65535 || grid[2] > 65535) {
    return refuse(kInvalidValue, "%s: a grid of %u x %u x %u blocks", name, grid[0], grid[1], grid[2]);
  }
  if (threads == 0 || block[0] > 1024 || block[1] > 1024 || block[2] > 64 || threads > 1024) {
    return refuse(kInvalidValue, "%s: blocks of %u x %u x %u threads", name, block[0], block[1], block[2]);
  }
  if (threads > function.kernel->threads) {
    return refuse(kInvalidValue, "%s: blocks of %llu threads, and it was compiled for %u at most (__launch_bounds__)", name,
                  threads, function.kernel->threads);
  }
  if (shared > static_cast<unsigned int>(function.shared_limit)) {
    return refuse(kInvalidValue, "%s: %u bytes of dynamic shared memory, and it may have %d", name, shared, function.shared_limit);
  }
  return kSuccess;
}

// Puts the host's addresses into a copy of the parameters.
int translate(const Kernel& kernel, int device, std::vector<unsigned char>& params, std::vector<Argument>& arguments) {
  std::vector<bool> listed(kernel.bytes / 8);
  for (const Pointer& pointer : kernel.pointers) {
    listed[pointer.offset / 8] = true;
    void* address;
    std::memcpy(&address, params.data() + pointer.offset, sizeof address);
    if (address == nullptr && pointer.optional) continue;
    Argument argument{&pointer, {}};
    if (!find(device, address, 1, &argument.allocation)) {
      const int other = emulated_gpu_device_of(address);
      return refuse(kIllegalAddress, "%s: `%s` is %p: %s cuda:%d", kernel.name.c_str(), pointer.name, address,
                    other < 0 ? "no device memory, in a launch on" : other != device ? "memory of another device, in a launch on" : "not allocated on", device);
    }
    address = to_host(address);
    std::memcpy(params.data() + pointer.offset, &address, sizeof address);
    arguments.push_back(argument);
  }
  for (std::size_t word = 0; word < listed.size(); ++word) {
    std::uint64_t value;
    std::memcpy(&value, params.data() + 8 * word, sizeof value);
    if (!listed[word] && is_device(value)) {
      return refuse(kIllegalAddress, "%s: the parameters hold a device address at byte %zu, which tests/emulated_gpu/driver/parameters.h does not list",
                    kernel.name.c_str(), 8 * word);
    }
  }
  return kSuccess;
}

}  // namespace
}  // namespace emulated_gpu

using namespace emulated_gpu;

EMULATED_GPU_API int cuLaunchKernel(Function* function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                                    unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared,
                                    void* stream, void** params, void** extra) {
  if (!is_function(function)) return refuse(kInvalidHandle, "cuLaunchKernel: %p is no function", static_cast<void*>(function));
  const Kernel& kernel = *function->kernel;
  const char* name = kernel.name.c_str();
  const Stream* queue = usable_stream(name, stream);
  if (queue == nullptr) return current_context() == nullptr ? kInvalidContext : kInvalidHandle;
  if (function->context != current_context()) {
    return refuse(kInvalidHandle, "%s: loaded on cuda:%d, launched on cuda:%d", name, function->context->device, queue->device);
  }
  if (params == nullptr || extra != nullptr) return refuse(kInvalidValue, "%s: parameters by `extra` are not emulated", name);
  const Launch launch{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared};
  if (const int code = check_sizes(*function, launch)) return code;
  std::vector<unsigned char> copy(kernel.bytes);
  std::memcpy(copy.data(), params[0], kernel.bytes);
  std::vector<Argument> arguments;
  if (const int code = translate(kernel, queue->device, copy, arguments)) return code;
  count_kernel(kernel.name);
  if (emulated_gpu_verbose()) {
    std::fprintf(stderr, "emulated GPU: cuda:%d: %s<<<(%u, %u, %u), (%u, %u, %u), %u>>>\n", queue->device, name, grid_x,
                 grid_y, grid_z, block_x, block_y, block_z, shared);
  }
  const std::string problem = kernel.run(kernel, copy.data(), launch);
  if (!problem.empty()) return refuse(kLaunchFailed, "%s: %s", name, problem.c_str());
  for (const Argument& argument : arguments) {
    if (!intact(argument.allocation)) {
      return refuse(kIllegalAddress, "%s: a write outside of the %zu bytes that `%s` points into", name,
                    argument.allocation.bytes, argument.pointer->name);
    }
  }
  return kSuccess;
}
