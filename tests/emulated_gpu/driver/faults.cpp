#include "faults.h"

#include <execinfo.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "../protocol.h"

namespace emulated_gpu {
namespace {

struct sigaction previous;

// A device address that a register holds, or 0: the processor does not tell which address it could not follow.
std::uint64_t device_address(const ucontext_t& context) {
#if defined(__x86_64__)
  for (const int reg : {REG_RDI, REG_RSI, REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RBP, REG_R8, REG_R9, REG_R10, REG_R11,
                        REG_R12, REG_R13, REG_R14, REG_R15}) {
    const auto value = static_cast<std::uint64_t>(context.uc_mcontext.gregs[reg]);
    if (is_device(value)) return value;
  }
#elif defined(__aarch64__)
  for (const std::uint64_t value : context.uc_mcontext.regs) {
    if (is_device(value)) return value;
  }
#else
  (void)context;
#endif
  return 0;
}

void handle(int, siginfo_t* info, void* context) {
  char text[512] = "", running[256] = "";
  describe_running(running, sizeof running);
  const std::uint64_t address = device_address(*static_cast<const ucontext_t*>(context));
  if (running[0] != '\0') {
    std::snprintf(text, sizeof text, "emulated GPU: %s: illegal memory access (at or near %p)\n", running, info->si_addr);
  } else if (address != 0) {
    std::snprintf(text, sizeof text, "emulated GPU: the host accesses device memory (at or near %#llx, cuda:%d)\n",
                  static_cast<unsigned long long>(address), static_cast<int>((address >> kTagShift) - kTag));
  }
  if (text[0] != '\0') {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text, std::strlen(text));
    void* frames[24];
    backtrace_symbols_fd(frames, backtrace(frames, 24), STDERR_FILENO);
  }
  // the access happens again, under whatever was there before
  sigaction(SIGSEGV, &previous, nullptr);
}

}  // namespace

void explain_faults() {
  void* frame;
  backtrace(&frame, 1);  // loads what it needs now, not in a handler
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &previous);
}

}  // namespace emulated_gpu
