// torch's groups of GPUs, as far as a program begins one: two constructors, whose symbols are the real half's. What they make is
// a backend over Gloo, which reads and writes device memory itself. It refuses what NCCL refuses.
#pragma once

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <new>

#include "call.h"
#include "guard.h"

namespace emulated_gpu {

// What the program allocates: sizes of torch's own classes.
constexpr size_t kSizeOfGroup = 1112;
constexpr size_t kSizeOfOptions = 248;

class Nccl final : public c10d::Backend {
 public:
  Nccl(c10::intrusive_ptr<c10d::Store> store, int rank, int ranks, std::chrono::milliseconds timeout)
      : c10d::Backend(rank, ranks), store_(std::move(store)) {
    auto keys = c10::make_intrusive<c10d::PrefixStore>("emulated", store_);
    auto options = c10d::ProcessGroupGloo::Options::create_default(timeout);
    gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(keys, rank, ranks, std::move(options));
  }

  const std::string getBackendName() const override { return "nccl"; }

  // On one machine, as all emulated devices are, no two processes may take the same one.
  void eagerConnectSingleDevice(at::Device device) override {
    TORCH_CHECK(device.is_cuda() && device.index() < kDevices, "emulated NCCL: no such device ", device);
    const int64_t earlier = store_->add("device" + std::to_string(device.index()), 1);
    TORCH_CHECK(earlier == 1, "emulated NCCL: duplicate GPU detected: ", device);
    device_ = device;
    gloo_->barrier()->wait();
  }

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<Tensor>& tensors, const c10d::AllreduceOptions& options) override {
    return carry("nccl::all_reduce", tensors, [&](std::vector<Tensor>& host) { return gloo_->allreduce(host, options); });
  }

  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<Tensor>& tensors, const c10d::BroadcastOptions& options) override {
    return carry("nccl::broadcast", tensors, [&](std::vector<Tensor>& host) { return gloo_->broadcast(host, options); });
  }

  void abort() override { gloo_.reset(); }

 private:
  template <typename Exchange>
  c10::intrusive_ptr<c10d::Work> carry(const char* name, std::vector<Tensor>& tensors, Exchange exchange) {
    TORCH_CHECK(gloo_, "emulated NCCL: the communicator was aborted");
    TORCH_CHECK(device_.has_value(), "emulated NCCL: no device is connected");
    TORCH_CHECK(tensors.size() == 1 && tensors[0].is_contiguous() && tensors[0].device() == *device_,
                "emulated NCCL: expected one contiguous tensor on ", *device_);
    Call call;
    std::vector<Tensor> host{call.host(tensors[0])};
    auto work = exchange(host);
    work->wait();
    emulated_gpu_count_operator(name);
    return work;
  }

  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::Backend> gloo_;
  std::optional<at::Device> device_;
};

static_assert(sizeof(Nccl) <= kSizeOfGroup && sizeof(c10d::Backend::Options) <= kSizeOfOptions);

}  // namespace emulated_gpu

extern "C" {

// c10d::ProcessGroupNCCL::Options::Options(bool)
__attribute__((visibility("default"))) inline void emulated_nccl_options(void* self, bool)
    __asm__("_ZN4c10d16ProcessGroupNCCL7OptionsC1Eb");
// c10d::ProcessGroupNCCL::ProcessGroupNCCL(intrusive_ptr<Store>, int, int, intrusive_ptr<Options>)
__attribute__((visibility("default"))) inline void emulated_nccl_group(
    void* self, c10::intrusive_ptr<c10d::Store> store, int rank, int ranks, c10::intrusive_ptr<c10d::Backend::Options> options)
    __asm__("_ZN4c10d16ProcessGroupNCCLC1EN3c1013intrusive_ptrINS_5StoreENS1_6detail34intrusive_target_default_null_typeIS3_EEEEi"
            "iNS2_INS0_7OptionsENS5_IS8_EEEE");

__attribute__((used)) inline void emulated_nccl_options(void* self, bool) { new (self) c10d::Backend::Options("nccl"); }

__attribute__((used)) inline void emulated_nccl_group(void* self, c10::intrusive_ptr<c10d::Store> store, int rank, int ranks,
                                                      c10::intrusive_ptr<c10d::Backend::Options> options) {
  new (self) emulated_gpu::Nccl(std::move(store), rank, ranks, options->timeout);
}

}  // extern "C"
