// Runs the blocks of a grid, and the threads of a block in turns: see cuda_on_host.h.
#pragma once

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

#include "fibers.h"

struct CudaIndex {
  unsigned int x, y, z;
};
static CudaIndex threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_host {
constexpr std::size_t kMaxSharedBytes = 256 * 1024;
constexpr std::size_t kGuardBytes = 4096;
constexpr unsigned int kWarp = 32;
constexpr int kPatience = 10000;      // rounds of nothing but sleeping threads
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
  Place place;
  char* stack;
  CudaIndex index;
  State state;
  bool slept;        // in this round
  const char* file;  // of the barrier or shuffle that it waits at
  int line;
  unsigned int shuffles;      // so far
  unsigned char given[2][8];  // to the last two of them
  std::vector<Copy> copies;   // started, not waited for
};

struct Block {
  CudaIndex index;
  std::vector<Fiber> fibers;
  Stacks stacks;
  std::vector<unsigned char> shared;  // while others run
};

static Place scheduler;
static const void* scheduler_stack;
static std::size_t scheduler_stack_bytes;
static Block* current;
static Fiber* running;  // null between fibers
static std::function<void()> body;
static std::mutex one_at_a_time;  // all of this is one device: launches of different test threads take turns
static std::vector<std::unique_ptr<Block>> idle;  // between launches too, with their stacks

inline void yield() { jump(running->place, scheduler, scheduler_stack, scheduler_stack_bytes); }

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

inline void copy_async(void* to, const void* from, std::size_t size) { running->copies.push_back({to, from, size}); }

inline void wait_for_copies() {
  for (const Copy& copy : running->copies) {
    std::memcpy(copy.to, copy.from, copy.size);
  }
  running->copies.clear();
}

inline void fiber_main() {
  arrive(&scheduler_stack, &scheduler_stack_bytes);
  body();
  running->state = State::kFinished;
  yield();
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
  block.fibers.resize(std::size_t(blockDim.x) * blockDim.y * blockDim.z);
  for (std::size_t i = 0; i < block.fibers.size(); ++i) {
    Fiber& fiber = block.fibers[i];
    const unsigned int thread = static_cast<unsigned int>(i);
    fiber.index = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
    fiber.state = State::kReady;
    fiber.shuffles = 0;
    fiber.copies.clear();
    fiber.stack = block.stacks.at(i);
    prepare(fiber.place, fiber.stack, fiber_main);
  }
}

inline bool at_one_point(const Fiber& a, const Fiber& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

// Lets the fibers [first, end) go on if all that have not ended wait at one and the same point.
inline bool release(std::vector<Fiber>& fibers, std::size_t first, std::size_t end, State state) {
  for (std::size_t i = first; i < end; ++i) {
    // a thread that has ended counts at no barrier of CUDA's, but here it is divergence: see `stuck`
    if (fibers[i].state != state || !at_one_point(fibers[i], fibers[first])) {
      return false;
    }
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
    if (!at_one_point(fiber, *waiting)) {
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
      jump(scheduler, running->place, running->stack, kStackBytes);
      slept |= running->slept;
      moved |= !running->slept;
      running = nullptr;
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

// The bytes after the dynamic shared memory of a block; under AddressSanitizer an access to them is named at once.
class SharedGuard {
 public:
  explicit SharedGuard([[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    bytes_ = bytes;
    __asan_poison_memory_region(dynamic_shared_bytes + bytes, kGuardBytes);
#endif
  }
  SharedGuard(const SharedGuard&) = delete;
  SharedGuard& operator=(const SharedGuard&) = delete;
  ~SharedGuard() {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(dynamic_shared_bytes + bytes_, kGuardBytes);
#endif
  }

 private:
  [[maybe_unused]] std::size_t bytes_ = 0;
};

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

// Runs the grid that gridDim and blockDim say, with `body` for every thread; returns what is wrong, or an empty string.
inline std::string run_blocks(const Config& config) {
  Order order(config.order);
  std::vector<unsigned int> numbers(std::size_t(gridDim.x) * gridDim.y * gridDim.z), indices;
  order.arrange(numbers);
  std::deque<unsigned int> queue(numbers.begin(), numbers.end());
  std::vector<std::unique_ptr<Block>> resident;
  const std::size_t wanted = std::max(config.resident, 1u);
  const std::size_t swapped = config.shared_bytes + kGuardBytes;
  const auto retire = [&](std::size_t turn) {
    idle.push_back(std::move(resident[turn]));
    resident.erase(resident.begin() + turn);
  };
  std::string problem;
  int patience = kPatience;
  while ((!queue.empty() || !resident.empty()) && problem.empty()) {
    while (!queue.empty() && resident.size() < wanted) {
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
    Progress progress;
    {
      const SharedGuard guard(config.shared_bytes);
      do {  // alone it need not be swapped
        progress = run_round(block, order, indices, problem);
        patience = progress == Progress::kNone ? patience - 1 : kPatience;
        if (patience == 0) {
          problem = "a block waits for ever";
        }
      } while (resident.size() == 1 && progress != Progress::kFinished && problem.empty());
    }
    if (progress == Progress::kFinished && problem.empty()) {
      problem = check(block, config);
      retire(turn);
    } else {
      std::memcpy(block.shared.data(), dynamic_shared_bytes, swapped);
    }
  }
  // fibers of a grid that is given up are never gone on with: their stacks serve the next ones
  while (!resident.empty()) {
    retire(resident.size() - 1);
  }
  return problem;
}

// The same for a kernel. The parameters are passed by value, as CUDA does.
template <typename Params>
std::string run_grid(void (*kernel)(Params), const Params& params, const Config& config) {
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  if (config.shared_bytes > kMaxSharedBytes) {
    return "more shared memory than the fixture has";
  }
  gridDim = {config.grid[0], config.grid[1], config.grid[2]};
  blockDim = {config.block[0], config.block[1], config.block[2]};
  body = [&] { kernel(params); };
  return run_blocks(config);
}

}  // namespace cuda_on_host
