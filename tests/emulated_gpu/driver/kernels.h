// The kernels of kernels/*.cu, compiled for the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emulated_gpu {

// A pointer to device memory in a kernel's parameters.
struct Pointer {
  const char* name;
  std::size_t offset;
  bool optional;  // may be null
};

struct Launch {
  unsigned int grid[3], block[3], shared_bytes;
};

struct Kernel {
  std::string name, file;  // `file` of kernels/, without its ending
  unsigned int threads;    // of a block at most: its __launch_bounds__
  std::size_t bytes;       // of the parameters
  std::vector<Pointer> pointers;
  std::string (*run)(const Kernel&, const void* params, const Launch&);  // returns what is wrong, or an empty string
  void (*address)();
};

const std::vector<Kernel>& all_kernels();

}  // namespace emulated_gpu
