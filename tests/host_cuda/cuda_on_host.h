// Runs CUDA kernels on the host, for tests: include this first, then the .cu files, and compile with a C++ compiler.
//
// Every thread of a block is a fiber with a stack of its own. A fiber runs until it reaches __syncthreads or returns;
// then the next one runs, in an order that the caller chooses and that a shuffle changes from one barrier to the next.
// No fiber passes a barrier before all have reached it, and blocks run one after the other. So a kernel whose result
// depends on a missing barrier gives different results in different orders, because here "later" really is later.
//
// Beyond results, a launch reports
//   - barrier divergence: some threads of a block wait at a barrier that others never reach, or at another one;
//   - writes beyond the dynamic shared memory that was asked for (guard bytes).
// Shared memory is filled with NaN before every block, and so are the bytes after it: a read before the first write, or
// beyond the end, spoils the result.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <functional>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#define __device__
#define __global__
#define __shared__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __syncthreads() cuda_on_host::wait_at_barrier(__FILE__, __LINE__)

using std::max;
using std::min;

struct CudaIndex {
  unsigned int x, y, z;
};
static CudaIndex threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_host {
constexpr std::size_t kMaxSharedBytes = 256 * 1024;
constexpr std::size_t kGuardBytes = 4096;
constexpr std::size_t kStackBytes = 64 * 1024;
constexpr unsigned char kNan = 0xff;  // all bits set is a NaN in every floating-point type
}  // namespace cuda_on_host

// what `extern __shared__` declares in the kernels
alignas(128) unsigned char dynamic_shared_bytes[cuda_on_host::kMaxSharedBytes + cuda_on_host::kGuardBytes];

namespace cuda_on_host {

// Twin: Config in tests/host_cuda/mod.rs.
struct Config {
  unsigned int grid[3];
  unsigned int block[3];
  unsigned int shared_bytes;
  unsigned int order;  // 0: ascending, 1: descending, else the seed of shuffles
};

struct Fiber {
  ucontext_t context;
  CudaIndex index;
  bool finished;
  const char* file;  // of the barrier that it waits at
  int line;
};

static ucontext_t scheduler;
static Fiber* running;
static std::function<void()> body;
static std::mutex one_at_a_time;   // all of this is one device: launches of different test threads take turns
static std::vector<char> stacks;   // kept from launch to launch

inline void wait_at_barrier(const char* file, int line) {
  running->file = file;
  running->line = line;
  swapcontext(&running->context, &scheduler);
}

inline void fiber_main() {
  body();
  running->finished = true;  // returns to the scheduler by uc_link
}

// Permutes what runs first: blocks of a grid, or threads between two barriers.
class Order {
 public:
  explicit Order(unsigned int order) : order_(order), random_(order) {}

  void arrange(std::vector<unsigned int>& indices) {
    std::iota(indices.begin(), indices.end(), 0u);
    if (order_ == 1) {
      std::reverse(indices.begin(), indices.end());
    } else if (order_ > 1) {
      std::shuffle(indices.begin(), indices.end(), random_);
    }
  }

 private:
  unsigned int order_;
  std::mt19937 random_;
};

// Runs one block to its end; returns what is wrong with it, or an empty string.
inline std::string run_block(std::vector<Fiber>& fibers, Order& order) {
  for (std::size_t i = 0; i < fibers.size(); ++i) {
    Fiber& fiber = fibers[i];
    const unsigned int thread = static_cast<unsigned int>(i);
    fiber.index = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
    fiber.finished = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks.data() + i * kStackBytes;
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, fiber_main, 0);
  }
  std::vector<unsigned int> indices(fibers.size());
  for (;;) {
    order.arrange(indices);
    std::size_t finished = 0;
    for (const unsigned int i : indices) {
      running = &fibers[i];
      threadIdx = running->index;
      swapcontext(&scheduler, &running->context);
      finished += running->finished;
    }
    if (finished == fibers.size()) {
      return "";
    }
    const Fiber& first = *std::find_if(fibers.begin(), fibers.end(), [](const Fiber& f) { return !f.finished; });
    const std::string barrier = std::string(first.file) + ":" + std::to_string(first.line);
    if (finished > 0) {
      return "barrier divergence: " + std::to_string(finished) + " of " + std::to_string(fibers.size()) +
             " threads returned while others wait at " + barrier;
    }
    for (const Fiber& fiber : fibers) {
      if (fiber.line != first.line || std::strcmp(fiber.file, first.file) != 0) {
        return "barrier divergence: threads wait at " + barrier + " and at " + fiber.file + ":" +
               std::to_string(fiber.line);
      }
    }
  }
}

// Runs a grid; returns what is wrong, or an empty string. The parameters are passed by value, as CUDA does.
template <typename Params>
std::string run_grid(void (*kernel)(Params), const Params& params, const Config& config) {
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  if (config.shared_bytes > kMaxSharedBytes) {
    return "more shared memory than the fixture has";
  }
  gridDim = {config.grid[0], config.grid[1], config.grid[2]};
  blockDim = {config.block[0], config.block[1], config.block[2]};
  body = [&] { kernel(params); };
  std::vector<Fiber> fibers(std::size_t(blockDim.x) * blockDim.y * blockDim.z);
  stacks.resize(std::max(stacks.size(), fibers.size() * kStackBytes));
  std::vector<unsigned int> blocks(std::size_t(gridDim.x) * gridDim.y * gridDim.z);
  Order order(config.order);
  order.arrange(blocks);
  for (const unsigned int block : blocks) {
    blockIdx = {block % gridDim.x, block / gridDim.x % gridDim.y, block / gridDim.x / gridDim.y};
    std::memset(dynamic_shared_bytes, kNan, sizeof(dynamic_shared_bytes));
    const std::string problem = run_block(fibers, order);
    if (!problem.empty()) {
      return problem;
    }
    const unsigned char* guard = dynamic_shared_bytes + config.shared_bytes;
    if (std::any_of(guard, guard + kGuardBytes, [](unsigned char byte) { return byte != kNan; })) {
      return "a write beyond the " + std::to_string(config.shared_bytes) + " bytes of dynamic shared memory";
    }
  }
  return "";
}

// The same behind a C interface: 0, or 1 with the problem in `message`.
template <typename Params>
int launch(void (*kernel)(Params), const void* params, const Config* config, char* message, std::size_t length) {
  Params copy;
  std::memcpy(&copy, params, sizeof(Params));
  const std::string problem = run_grid(kernel, copy, *config);
  std::snprintf(message, length, "%s", problem.c_str());
  return problem.empty() ? 0 : 1;
}

}  // namespace cuda_on_host
