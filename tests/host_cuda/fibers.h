// Threads of a block as fibers: stacks of their own, and a switch between them that makes no system call.
//
// Built with -fsanitize=address, every switch is announced, since AddressSanitizer keeps the bounds of the stack it is on.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Saves the registers that a called function keeps on this stack and the stack's pointer in *from, then goes on with the
// stack `to`. `weak`, for a library of several files that include this.
extern "C" void cuda_on_host_switch(void** from, void* to);
asm(R"(
  .pushsection .text
  .weak cuda_on_host_switch
  .hidden cuda_on_host_switch
  .type cuda_on_host_switch, @function
cuda_on_host_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size cuda_on_host_switch, . - cuda_on_host_switch
  .popsection
)");
#endif

namespace cuda_on_host {

// instrumented code keeps every variable, with space around it, on the stack
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 512 * 1024;
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif

// Where a fiber, or the scheduler, goes on.
struct Place {
#if defined(__x86_64__)
  void* stack_pointer;
#else
  ucontext_t context;
#endif
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack;
#endif
};

// Stacks that are kept: the system gives their pages when they are first written to, and once.
class Stacks {
 public:
  Stacks() = default;
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  ~Stacks() {
    for (char* stack : stacks_) munmap(stack, kStackBytes);
  }

  char* at(std::size_t index) {
    while (stacks_.size() <= index) {
      void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (stack == MAP_FAILED) throw std::bad_alloc();
      stacks_.push_back(static_cast<char*>(stack));
    }
    return stacks_[index];
  }

 private:
  std::vector<char*> stacks_;
};

// Makes `place` the beginning of `entry` on a stack; `entry` does not return.
inline void prepare(Place& place, char* stack, void (*entry)()) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, kStackBytes);  // what the fiber before left
  place.fake_stack = nullptr;
#endif
#if defined(__x86_64__)
  // six registers, the address that `ret` takes, and one word as if `entry` had been called: its stack is aligned then
  auto* top = reinterpret_cast<std::uintptr_t*>(stack + kStackBytes);
  top[-1] = 0;
  top[-2] = reinterpret_cast<std::uintptr_t>(entry);
  for (int i = 3; i <= 8; ++i) top[-i] = 0;
  place.stack_pointer = top - 8;
#else
  getcontext(&place.context);
  place.context.uc_stack.ss_sp = stack;
  place.context.uc_stack.ss_size = kStackBytes;
  place.context.uc_link = nullptr;
  makecontext(&place.context, entry, 0);
#endif
}

// Leaves `from` and goes on at `to`, whose stack begins at `stack`; returns when somebody goes back to `from`.
inline void jump(Place& from, Place& to, [[maybe_unused]] const void* stack, [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from.fake_stack, stack, bytes);
#endif
#if defined(__x86_64__)
  cuda_on_host_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

// The first thing that a fiber does; says where the stack is that it came from.
inline void arrive([[maybe_unused]] const void** stack, [[maybe_unused]] std::size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, stack, bytes);
#endif
}

}  // namespace cuda_on_host
