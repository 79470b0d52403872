// What the driver's functions return, and how a refusal is told.
#pragma once

namespace emulated_gpu {

// CUresult of cuda.h
enum Result {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kNotInitialized = 3,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kInvalidContext = 201,
  kInvalidHandle = 400,
  kNotFound = 500,
  kNotReady = 600,
  kIllegalAddress = 700,
  kLaunchOutOfResources = 701,
  kLaunchFailed = 719,
  kNotSupported = 801,
};

// Prints "emulated GPU: ..." to stderr and returns `code`: CUDA's codes say little, and the program may drop them.
[[gnu::format(printf, 2, 3)]] Result refuse(Result code, const char* format, ...);

// The same for what would corrupt memory: ends the process.
[[noreturn, gnu::format(printf, 1, 2)]] void die(const char* format, ...);

// A number from the environment.
unsigned int setting(const char* name, unsigned int otherwise);

}  // namespace emulated_gpu

#define EMULATED_GPU_API extern "C" __attribute__((visibility("default")))
