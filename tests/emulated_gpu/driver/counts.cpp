#include "counts.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

#include "../protocol.h"
#include "results.h"

namespace emulated_gpu {
namespace {

struct Counts {
  std::mutex mutex;
  EmulatedGpuCounts totals = {};
  std::map<std::string, std::uint64_t> kernels, operators;
  std::uint64_t peak_bytes = 0;
};

Counts& counts() {
  static auto* counts = new Counts;
  return *counts;
}

void append(std::string& text, const char* key, const std::map<std::string, std::uint64_t>& by_name) {
  text += std::string("\"") + key + "\": {";
  const char* separator = "";
  for (const auto& [name, count] : by_name) {
    text += separator + ("\"" + name + "\": " + std::to_string(count));
    separator = ", ";
  }
  text += "}, ";
}

std::string report() {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  const EmulatedGpuCounts& totals = counts().totals;
  std::string text = "{\"launches\": " + std::to_string(totals.launches) + ", ";
  append(text, "kernels", counts().kernels);
  append(text, "operators", counts().operators);
  return text + "\"waits\": " + std::to_string(totals.waits) + ", \"uploads\": " + std::to_string(totals.uploads) +
         ", \"downloads\": " + std::to_string(totals.downloads) + ", \"peak_bytes\": " +
         std::to_string(counts().peak_bytes) + "}\n";
}

std::string file_name(std::string name) {
  for (std::size_t at; (at = name.find("%p")) != std::string::npos;) name.replace(at, 2, std::to_string(getpid()));
  return name;
}

// The program ends by _exit, which runs no destructor: the preloaded library calls this then. A forked child that ends so
// has nothing to report.
struct AtExit {
  const pid_t process = getpid();

  AtExit() {
    auto* hook = static_cast<void (**)()>(dlsym(RTLD_DEFAULT, "emulated_gpu_at_exit"));
    if (hook != nullptr) *hook = write_report;
  }
  ~AtExit() { write_report(); }
} at_exit;

}  // namespace

void count_kernel(const std::string& name) {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  ++counts().totals.launches;
  ++counts().kernels[name];
}

void count_memset() {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  ++counts().totals.launches;
  ++counts().operators["memset"];
}

void write_report() {
  static std::atomic<bool> written{false};
  const char* named = std::getenv("EMULATED_GPU_REPORT");
  if (named == nullptr || getpid() != at_exit.process || written.exchange(true)) return;
  const std::string name = file_name(named), part = name + "." + std::to_string(getpid());
  std::FILE* file = std::fopen(part.c_str(), "w");
  const std::string text = report();
  const bool whole = file != nullptr && std::fputs(text.c_str(), file) >= 0;
  if ((file != nullptr && std::fclose(file) != 0) || !whole || std::rename(part.c_str(), name.c_str()) != 0) {
    refuse(kInvalidValue, "EMULATED_GPU_REPORT=%s cannot be written", name.c_str());
  }
}

}  // namespace emulated_gpu

using namespace emulated_gpu;

EMULATED_GPU_API void emulated_gpu_counts(EmulatedGpuCounts* out) {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  *out = counts().totals;
}

EMULATED_GPU_API void emulated_gpu_count_operator(const char* name) {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  ++counts().totals.launches;
  ++counts().operators[name];
}

EMULATED_GPU_API void emulated_gpu_count_wait() {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  ++counts().totals.waits;
}

EMULATED_GPU_API void emulated_gpu_count_upload() {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  ++counts().totals.uploads;
}

EMULATED_GPU_API void emulated_gpu_count_download() {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  ++counts().totals.downloads;
}

EMULATED_GPU_API void emulated_gpu_count_memory(std::uint64_t bytes) {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  counts().peak_bytes = std::max(counts().peak_bytes, bytes);
}
