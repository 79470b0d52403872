#include "results.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "../protocol.h"

namespace emulated_gpu {
namespace {

void print(const char* format, va_list arguments) {
  // one write: several threads, and processes, share the stream
  char text[1024];
  const int head = std::snprintf(text, sizeof text, "emulated GPU: ");
  std::vsnprintf(text + head, sizeof text - head, format, arguments);
  std::fprintf(stderr, "%s\n", text);
}

const char* name_of(int code) {
  switch (code) {
    case kSuccess: return "CUDA_SUCCESS";
    case kInvalidValue: return "CUDA_ERROR_INVALID_VALUE";
    case kOutOfMemory: return "CUDA_ERROR_OUT_OF_MEMORY";
    case kNotInitialized: return "CUDA_ERROR_NOT_INITIALIZED";
    case kInvalidDevice: return "CUDA_ERROR_INVALID_DEVICE";
    case kInvalidImage: return "CUDA_ERROR_INVALID_IMAGE";
    case kInvalidContext: return "CUDA_ERROR_INVALID_CONTEXT";
    case kInvalidHandle: return "CUDA_ERROR_INVALID_HANDLE";
    case kNotFound: return "CUDA_ERROR_NOT_FOUND";
    case kNotReady: return "CUDA_ERROR_NOT_READY";
    case kIllegalAddress: return "CUDA_ERROR_ILLEGAL_ADDRESS";
    case kLaunchOutOfResources: return "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES";
    case kLaunchFailed: return "CUDA_ERROR_LAUNCH_FAILED";
    case kNotSupported: return "CUDA_ERROR_NOT_SUPPORTED";
    default: return nullptr;
  }
}

}  // namespace

Result refuse(Result code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print(format, arguments);
  va_end(arguments);
  return code;
}

void die(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print(format, arguments);
  va_end(arguments);
  std::abort();
}

unsigned int setting(const char* name, unsigned int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<unsigned int>(std::strtoul(text, nullptr, 10));
}

}  // namespace emulated_gpu

using namespace emulated_gpu;

EMULATED_GPU_API int cuGetErrorName(int code, const char** text) {
  *text = name_of(code);
  return *text == nullptr ? kInvalidValue : kSuccess;
}

EMULATED_GPU_API int cuGetErrorString(int code, const char** text) { return cuGetErrorName(code, text); }

EMULATED_GPU_API int emulated_gpu_verbose() {
  static const bool verbose = std::getenv("EMULATED_GPU_VERBOSE") != nullptr;
  return verbose ? 1 : 0;
}
