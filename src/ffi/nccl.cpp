// Connections between the GPUs of several processes, by torch's own ProcessGroupNCCL.
//
// Its symbols are libtorch_cuda.so's, which the program loads where there is a driver, long after its start. So this file is a
// shared object of its own, inside the program; src/ffi/nccl.rs loads it after that. Everything but the beginning is in
// group.cpp: what begins here is a c10d::Backend like any other.

#define USE_C10D_NCCL

#include "bridge.h"
#include "guard.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

// The numbers of bytes that libtorch 2.11.0 was compiled with, for its version of NCCL.
static_assert(sizeof(c10d::ProcessGroupNCCL) == 1112, "headers of another libtorch or NCCL than the one that is linked");
static_assert(sizeof(c10d::ProcessGroupNCCL::Options) == 248, "headers of another libtorch or NCCL than the one that is linked");

extern "C" __attribute__((visibility("default"))) int ivf_nccl_join(ivf_store store, int rank, int ranks, int64_t timeout_ms,
                                                                    ivf_members* out, char** error) {
  return inverse_flow::guarded(error, [&] {
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(timeout_ms);
    const auto& keys = *static_cast<c10::intrusive_ptr<c10d::Store>*>(store);
    auto own_keys = c10::make_intrusive<c10d::PrefixStore>("nccl", keys);
    *out = new c10::intrusive_ptr<c10d::Backend>(
        c10::make_intrusive<c10d::ProcessGroupNCCL>(std::move(own_keys), rank, ranks, std::move(options)));
  });
}
