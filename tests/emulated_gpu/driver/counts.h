// How often the devices were used, for EMULATED_GPU_REPORT.
#pragma once

#include <string>

namespace emulated_gpu {

void count_kernel(const std::string& name);
void count_memset();

// Writes the file that EMULATED_GPU_REPORT names, once: `{"launches", "kernels", "operators", "waits", "uploads",
// "downloads", "peak_bytes"}`; the last is the most that tensors of one device took at a time. `%p` in its name stands for the process.
void write_report();

}  // namespace emulated_gpu
