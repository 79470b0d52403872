// Runs CUDA kernels on the host, for tests: include this first, then the .cu files, and compile with a C++ compiler.
//
// Every thread of a block is a fiber with a stack of its own. A fiber runs until it reaches a point at which CUDA would
// let others go first (__syncthreads, a shuffle, __nanosleep, its end); then the next one runs, in an order that the
// caller chooses and that a shuffle of the order changes from round to round. No fiber passes a barrier before all of
// its block have reached it, nor a shuffle before all of its warp have. So a kernel whose result depends on a missing
// barrier gives different results in different orders, because here "later" really is later. An asynchronous copy
// happens when its thread waits for it and not before, which shows a missing wait.
//
// Blocks run one after the other, or `resident` of them in turns, which is how blocks that wait for each other are run;
// shared memory is swapped in and out.
//
// Beyond results, a launch reports
//   - divergence: threads that wait at a barrier or shuffle which others of the block or warp never reach, or at
//     different ones;
//   - blocks that wait for ever (for a number in global memory that nobody writes);
//   - writes beyond the dynamic shared memory that was asked for (guard bytes);
//   - copies that were started and never waited for.
// Shared memory is filled with NaN before every block, and so are the bytes after it: a read before the first write, or
// beyond the end, spoils the result. Not modelled: the order in which other threads see global writes (__threadfence).
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#define CUDA_ON_HOST
#define __device__
#define __host__
#define __global__
#define __shared__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __syncthreads() cuda_on_host::wait(cuda_on_host::State::kAtBarrier, __FILE__, __LINE__)
#define __nanosleep(nanoseconds) cuda_on_host::sleep()
#define __threadfence() ((void)0)
#define __shfl_xor_sync(mask, value, lanes) cuda_on_host::shuffle_xor(value, lanes, __FILE__, __LINE__)

using std::max;
using std::min;

struct CudaIndex {
  unsigned int x, y, z;
};
static CudaIndex threadIdx, blockIdx, blockDim, gridDim;

template <typename T>
inline T __ldcg(const T* from) {
  return *from;
}

inline int atomicAdd(int* to, int value) {
  const int old = *to;
  *to += value;
  return old;
}

inline int atomicMax(int* to, int value) {
  const int old = *to;
  *to = max(old, value);
  return old;
}

namespace cuda_on_host {
constexpr std::size_t kMaxSharedBytes = 256 * 1024;
constexpr std::size_t kGuardBytes = 4096;
constexpr std::size_t kStackBytes = 64 * 1024;
constexpr unsigned int kWarp = 32;
constexpr int kPatience = 10000;        // rounds of nothing but sleeping threads
constexpr unsigned char kNan = 0xff;  // all bits set is a NaN in every floating-point type
}  // namespace cuda_on_host

// what `extern __shared__` declares in the kernels
alignas(128) unsigned char dynamic_shared_bytes[cuda_on_host::kMaxSharedBytes + cuda_on_host::kGuardBytes];

namespace cuda_on_host {

// Twin: Config in tests/cuda/host_cuda/mod.rs.
struct Config {
  unsigned int grid[3];
  unsigned int block[3];
  unsigned int shared_bytes;
  unsigned int order;     // 0: ascending, 1: descending, else the seed of shuffles
  unsigned int resident;  // blocks that run in turns
};

enum class State { kReady, kAtBarrier, kAtShuffle, kFinished };

struct Copy {
  void* to;
  const void* from;
  std::size_t size;
};

struct Fiber {
  jmp_buf place;  // where it goes on, once it has begun
  bool begun;
  void* stack;
  CudaIndex index;
  State state;
  bool slept;  // in this round
  const char* file;  // of the barrier or shuffle that it waits at
  int line;
  unsigned int shuffles;           // so far
  unsigned char given[2][8];       // to the last two of them
  std::vector<Copy> copies;        // started, not waited for
};

struct Block {
  CudaIndex index;
  std::vector<Fiber> fibers;
  std::vector<char> stacks;
  std::vector<unsigned char> shared;  // while others run
};

static jmp_buf scheduler;
static Block* current;
static Fiber* running;
static std::function<void()> body;
static std::mutex one_at_a_time;  // all of this is one device: launches of different test threads take turns

// Fibers change by jumps, since swapcontext makes two system calls each time, which took most of the tests' time; a
// context is made for a fiber's first entry into its stack alone. Built without fortified jumps, which refuse these.
inline void yield() {
  if (_setjmp(running->place) == 0) {
    _longjmp(scheduler, 1);
  }
}

inline void wait(State state, const char* file, int line) {
  running->state = state;
  running->file = file;
  running->line = line;
  yield();
}

inline void sleep() {
  running->slept = true;
  yield();
}

template <typename T>
T shuffle_xor(T value, unsigned int lanes, const char* file, int line) {
  static_assert(sizeof(T) <= 8, "what a lane gives has 8 bytes at most");
  Fiber* const self = running;
  const unsigned int turn = self->shuffles++ % 2;  // a partner is one shuffle ahead at most
  std::memcpy(self->given[turn], &value, sizeof(T));
  wait(State::kAtShuffle, file, line);
  const std::size_t partner = (self - current->fibers.data()) ^ lanes;
  if (partner < current->fibers.size()) {
    std::memcpy(&value, current->fibers[partner].given[turn], sizeof(T));
  }
  return value;
}

inline void copy_async(void* to, const void* from, std::size_t size) {
  running->copies.push_back({to, from, size});
}

inline void wait_for_copies() {
  for (const Copy& copy : running->copies) {
    std::memcpy(copy.to, copy.from, copy.size);
  }
  running->copies.clear();
}

inline void fiber_main() {
  body();
  running->state = State::kFinished;
  _longjmp(scheduler, 1);
}

inline void begin(Fiber& fiber) {
  fiber.begun = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack;
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;  // fiber_main does not return
  makecontext(&context, fiber_main, 0);
  setcontext(&context);
}

// Lets `running` go on until it yields or ends.
inline void go_on() {
  if (_setjmp(scheduler) == 0) {
    if (running->begun) {
      _longjmp(running->place, 1);
    }
    begin(*running);
  }
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

  std::size_t pick(std::size_t count) { return order_ > 1 ? random_() % count : turn_++ % count; }

 private:
  unsigned int order_;
  std::size_t turn_ = 0;
  std::mt19937 random_;
};

inline void start(Block& block, unsigned int number) {
  block.index = {number % gridDim.x, number / gridDim.x % gridDim.y, number / gridDim.x / gridDim.y};
  block.fibers = std::vector<Fiber>(std::size_t(blockDim.x) * blockDim.y * blockDim.z);
  block.stacks.resize(block.fibers.size() * kStackBytes);
  for (std::size_t i = 0; i < block.fibers.size(); ++i) {
    Fiber& fiber = block.fibers[i];
    const unsigned int thread = static_cast<unsigned int>(i);
    fiber.index = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
    fiber.state = State::kReady;
    fiber.begun = false;
    fiber.stack = block.stacks.data() + i * kStackBytes;
  }
}

// Lets the fibers [first, end) go on if all that have not ended wait at one and the same point.
inline bool release(std::vector<Fiber>& fibers, std::size_t first, std::size_t end, State state) {
  const Fiber* at = nullptr;
  for (std::size_t i = first; i < end; ++i) {
    const Fiber& fiber = fibers[i];
    // a thread that has ended counts at no barrier of CUDA's, but here it is divergence: see `stuck`
    if (fiber.state != state || (at != nullptr && (fiber.line != at->line || std::strcmp(fiber.file, at->file) != 0))) {
      return false;
    }
    at = &fiber;
  }
  for (std::size_t i = first; i < end; ++i) {
    fibers[i].state = State::kReady;
  }
  return true;
}

// What a block that cannot go on waits for.
inline std::string stuck(const std::vector<Fiber>& fibers) {
  const auto waiting = std::find_if(fibers.begin(), fibers.end(), [](const Fiber& fiber) {
    return fiber.state == State::kAtBarrier || fiber.state == State::kAtShuffle;
  });
  const auto place = [](const Fiber& fiber) { return std::string(fiber.file) + ":" + std::to_string(fiber.line); };
  const std::size_t finished = std::count_if(fibers.begin(), fibers.end(),
                                             [](const Fiber& fiber) { return fiber.state == State::kFinished; });
  if (finished > 0) {
    return "divergence: " + std::to_string(finished) + " of " + std::to_string(fibers.size()) +
           " threads returned while others wait at " + place(*waiting);
  }
  for (const Fiber& fiber : fibers) {
    if (fiber.line != waiting->line || std::strcmp(fiber.file, waiting->file) != 0) {
      return "divergence: threads wait at " + place(*waiting) + " and at " + place(fiber);
    }
  }
  return "threads wait at " + place(*waiting);
}

enum class Progress { kNone, kSome, kFinished };

// Lets every fiber of the block that can run go on once; a problem goes to `problem`.
inline Progress run_round(Block& block, Order& order, std::vector<unsigned int>& indices, std::string& problem) {
  std::vector<Fiber>& fibers = block.fibers;
  current = &block;
  blockIdx = block.index;
  indices.resize(fibers.size());
  order.arrange(indices);
  bool slept = false, moved = false;
  for (const unsigned int i : indices) {
    if (fibers[i].state == State::kReady) {
      running = &fibers[i];
      running->slept = false;
      threadIdx = running->index;
      go_on();
      slept |= running->slept;
      moved |= !running->slept;
    }
  }
  bool released = false;
  for (std::size_t first = 0; first < fibers.size(); first += kWarp) {
    released |= release(fibers, first, std::min(first + kWarp, fibers.size()), State::kAtShuffle);
  }
  released |= release(fibers, 0, fibers.size(), State::kAtBarrier);
  if (released || moved) {
    const auto ended = [](const Fiber& fiber) { return fiber.state == State::kFinished; };
    if (std::all_of(fibers.begin(), fibers.end(), ended)) {
      return Progress::kFinished;
    }
    const auto ready = [](const Fiber& fiber) { return fiber.state == State::kReady; };
    if (!released && !slept && std::none_of(fibers.begin(), fibers.end(), ready)) {
      problem = stuck(fibers);
    }
    return Progress::kSome;
  }
  return Progress::kNone;
}

// What is wrong with a block that has ended, or an empty string.
inline std::string check(const Block& block, const Config& config) {
  const unsigned char* guard = dynamic_shared_bytes + config.shared_bytes;
  if (std::any_of(guard, guard + kGuardBytes, [](unsigned char byte) { return byte != kNan; })) {
    return "a write beyond the " + std::to_string(config.shared_bytes) + " bytes of dynamic shared memory";
  }
  for (const Fiber& fiber : block.fibers) {
    if (!fiber.copies.empty()) {
      return "a copy that nobody waits for";
    }
  }
  return "";
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
  Order order(config.order);
  std::vector<unsigned int> numbers(std::size_t(gridDim.x) * gridDim.y * gridDim.z), indices;
  order.arrange(numbers);
  std::deque<unsigned int> queue(numbers.begin(), numbers.end());
  std::vector<std::unique_ptr<Block>> resident, idle;  // an idle one keeps its stacks
  const std::size_t swapped = config.shared_bytes + kGuardBytes;
  int patience = kPatience;
  while (!queue.empty() || !resident.empty()) {
    while (!queue.empty() && resident.size() < std::max(config.resident, 1u)) {
      if (idle.empty()) {
        idle.push_back(std::make_unique<Block>());
      }
      resident.push_back(std::move(idle.back()));
      idle.pop_back();
      start(*resident.back(), queue.front());
      resident.back()->shared.assign(swapped, kNan);
      queue.pop_front();
    }
    const std::size_t turn = order.pick(resident.size());
    Block& block = *resident[turn];
    std::memcpy(dynamic_shared_bytes, block.shared.data(), swapped);
    std::string problem;
    Progress progress;
    do {  // alone it need not be swapped
      progress = run_round(block, order, indices, problem);
      patience = progress == Progress::kNone ? patience - 1 : kPatience;
      if (patience == 0) {
        problem = "a block waits for ever";
      }
    } while (resident.size() == 1 && progress != Progress::kFinished && problem.empty());
    if (problem.empty() && progress == Progress::kFinished) {
      problem = check(block, config);
    }
    if (!problem.empty()) {
      return problem;
    }
    std::memcpy(block.shared.data(), dynamic_shared_bytes, swapped);
    if (progress == Progress::kFinished) {
      idle.push_back(std::move(resident[turn]));
      resident.erase(resident.begin() + turn);
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
