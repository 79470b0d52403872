// Images of kernels, and the functions in them. An image is not looked into: what runs is the same kernel compiled for
// the host, found by its name.
#include "modules.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <set>

#include "contexts.h"
#include "kernels.h"
#include "results.h"

namespace emulated_gpu {
namespace {

constexpr std::uint32_t kFatbin = 0xba55ed50;

struct Handles {
  std::mutex mutex;
  std::set<Module*> modules;
  std::set<Function*> functions;
};

Handles& handles() {
  static auto* handles = new Handles;
  return *handles;
}

// The number of an attribute of cuda.h (CUfunction_attribute), if it is known on the host.
bool attribute_of(const Function& function, int attribute, int* value) {
  switch (attribute) {
    case 0: *value = static_cast<int>(function.kernel->threads); return true;  // threads of a block at most
    case 1: case 2: case 3: *value = 0; return true;                           // static shared, constant, local memory
    case 5: case 6: *value = 90; return true;                                  // versions of PTX and machine code
    case 8: *value = function.shared_limit; return true;
    default: return false;
  }
}

}  // namespace

bool is_function(const Function* function) {
  const std::lock_guard<std::mutex> lock(handles().mutex);
  return handles().functions.count(const_cast<Function*>(function)) > 0;
}

}  // namespace emulated_gpu

using namespace emulated_gpu;

EMULATED_GPU_API int cuModuleLoadData(Module** module, const void* image) {
  if (current_context() == nullptr) return refuse(kInvalidContext, "cuModuleLoadData: this thread has no context");
  std::uint32_t magic = 0;
  if (image != nullptr) std::memcpy(&magic, image, sizeof magic);
  if (magic != kFatbin) return refuse(kInvalidImage, "cuModuleLoadData: no fatbin at %p", image);
  // as nvcc itself places them
  if (reinterpret_cast<std::uintptr_t>(image) % 8 != 0) {
    return refuse(kInvalidImage, "cuModuleLoadData: a fatbin at %p, which is no multiple of 8", image);
  }
  *module = new Module{current_context()};
  const std::lock_guard<std::mutex> lock(handles().mutex);
  handles().modules.insert(*module);
  return kSuccess;
}

EMULATED_GPU_API int cuModuleUnload(Module* module) {
  const std::lock_guard<std::mutex> lock(handles().mutex);
  if (handles().modules.erase(module) == 0) return refuse(kInvalidHandle, "cuModuleUnload: %p is no module", static_cast<void*>(module));
  auto& functions = handles().functions;
  for (auto function = functions.begin(); function != functions.end();) {
    function = (*function)->module == module ? functions.erase(function) : std::next(function);
  }
  delete module;
  return kSuccess;
}

EMULATED_GPU_API int cuModuleGetFunction(Function** function, Module* module, const char* name) {
  const std::lock_guard<std::mutex> lock(handles().mutex);
  if (handles().modules.count(module) == 0) return refuse(kInvalidHandle, "cuModuleGetFunction(%s): %p is no module", name, static_cast<void*>(module));
  const auto& kernels = all_kernels();
  const auto kernel = std::find_if(kernels.begin(), kernels.end(), [&](const Kernel& known) { return known.name == name; });
  if (kernel == kernels.end()) return refuse(kNotFound, "cuModuleGetFunction: no kernel is called %s in kernels/*.cu", name);
  *function = new Function{&*kernel, module, module->context, kSharedDefault};
  handles().functions.insert(*function);
  return kSuccess;
}

EMULATED_GPU_API int cuFuncSetAttribute(Function* function, int attribute, int value) {
  if (!is_function(function)) return refuse(kInvalidHandle, "cuFuncSetAttribute: %p is no function", static_cast<void*>(function));
  const char* name = function->kernel->name.c_str();
  if (attribute != 8) return refuse(kInvalidValue, "cuFuncSetAttribute(%s, %d) is not emulated", name, attribute);
  if (value < 0 || value > kSharedOptIn) {
    return refuse(kInvalidValue, "cuFuncSetAttribute: %d bytes of shared memory for %s, and a block has %d at most", value, name, kSharedOptIn);
  }
  function->shared_limit = value;
  return kSuccess;
}

EMULATED_GPU_API int cuFuncGetAttribute(int* value, int attribute, Function* function) {
  if (!is_function(function)) return refuse(kInvalidHandle, "cuFuncGetAttribute: %p is no function", static_cast<void*>(function));
  if (!attribute_of(*function, attribute, value)) {
    return refuse(kNotSupported, "cuFuncGetAttribute(%s, %d): code for the host does not tell", function->kernel->name.c_str(), attribute);
  }
  return kSuccess;
}

// By threads and shared memory alone: registers are not known.
EMULATED_GPU_API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Function* function, int threads, std::size_t shared) {
  if (!is_function(function)) return refuse(kInvalidHandle, "cuOccupancyMaxActiveBlocksPerMultiprocessor: no function");
  if (threads <= 0) return kInvalidValue;
  const int by_threads = threads > static_cast<int>(function->kernel->threads) ? 0 : 2048 / threads;
  const int by_shared = static_cast<int>(kSharedOfMultiprocessor / (shared + 1024));
  *blocks = std::min({32, by_threads, by_shared});
  return kSuccess;
}
