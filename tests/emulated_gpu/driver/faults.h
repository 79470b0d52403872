// Says what a segmentation fault was about, where device memory or a kernel has to do with it.
#pragma once

#include <cstddef>

namespace emulated_gpu {

// Installs a handler in front of the one that is there, which gets every fault afterwards.
void explain_faults();

// What runs on the device at this moment, as "kernel NAME, block (0, 0, 0), thread (0, 0, 0)"; empty where nothing does.
void describe_running(char* text, std::size_t length);

}  // namespace emulated_gpu
