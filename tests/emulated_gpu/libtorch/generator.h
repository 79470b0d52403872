// Random numbers of the devices: those of a generator of the CPU, one for each device, from another seed: as on a card, a
// seed gives other numbers on a device than on the CPU, so what should be drawn on the CPU and is not is seen.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Generator.h>

#include "allocator.h"

namespace emulated_gpu {

class Generator final : public c10::GeneratorImpl {
 public:
  explicit Generator(int device)
      : GeneratorImpl(device_of(device), c10::DispatchKeySet(c10::DispatchKey::CUDA)), twin_(at::detail::createCPUGenerator()) {
    start(c10::default_rng_seed_val);
  }

  const at::Generator& twin() const { return twin_; }

  void set_current_seed(uint64_t seed) override { start(seed); }
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override { return seed_; }
  uint64_t seed() override {
    start(twin_.seed());
    return seed_;
  }
  void set_state(const c10::TensorImpl& state) override { twin_.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return twin_.unsafeGetGeneratorImpl()->get_state(); }
  GeneratorImpl* clone_impl() const override {
    auto* copy = new Generator(device().index());
    copy->twin_ = twin_.clone();
    copy->seed_ = seed_;
    return copy;
  }

 private:
  void start(uint64_t seed) {
    seed_ = seed;
    twin_.set_current_seed(seed ^ 0x5eed0ffull);
  }

  at::Generator twin_;
  uint64_t seed_ = 0;
};

inline const at::Generator& default_generator(int device) {
  static auto* generators = [] {
    auto* made = new std::vector<at::Generator>;
    for (int i = 0; i < kDevices; ++i) made->push_back(at::make_generator<Generator>(i));
    return made;
  }();
  return generators->at(device);
}

// The generator of the CPU that stands for one of a device.
inline at::Generator twin_of(const at::Generator& generator, c10::Device device) {
  TORCH_CHECK(generator.device().is_cuda(), "Expected a 'cuda' device type for generator but found '", generator.device(), "'");
  TORCH_CHECK(generator.device() == device, "Expected a generator of ", device, " but found one of ", generator.device());
  return static_cast<Generator*>(generator.unsafeGetGeneratorImpl())->twin();
}

}  // namespace emulated_gpu
