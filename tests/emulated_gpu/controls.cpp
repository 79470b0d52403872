// What the emulated GPU must refuse and do where only C++ reaches it: multi-tensor operators, fused Adam, TF32, streams,
// events and guards. Prints a line for each, and returns how many are wrong.
#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <functional>
#include <iostream>
#include <string>

#include "protocol.h"

namespace {

int wrong = 0;

void report(const std::string& what, bool right, const std::string& found) {
  wrong += right ? 0 : 1;
  std::cout << (right ? "ok    " : "WRONG ") << what << ": " << found.substr(0, 160) << "\n";
}

// What `work` says when it fails, or "nothing".
std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing";
}

void refuses(const std::string& what, const std::string& with, const std::function<void()>& work) {
  const std::string error = error_of(work);
  report(what, error.find(with) != std::string::npos, error);
}

void does(const std::string& what, const std::function<void()>& work) {
  const std::string error = error_of(work);
  report(what, error == "nothing", error);
}

EmulatedGpuCounts counts() {
  static const auto ask = reinterpret_cast<void (*)(EmulatedGpuCounts*)>(dlsym(RTLD_DEFAULT, "emulated_gpu_counts"));
  EmulatedGpuCounts counts;
  ask(&counts);
  return counts;
}

const c10::Device kFirst(c10::kCUDA, 0), kSecond(c10::kCUDA, 1);

at::Tensor ones(at::IntArrayRef size, c10::Device device = kFirst) { return at::ones(size, at::TensorOptions(device)); }

void adam(const at::Tensor& grad, const at::Tensor& step, const std::optional<at::Tensor>& scale = {}, int parameters = 1) {
  std::vector<at::Tensor> params, means, squares;
  for (int i = 0; i < parameters; ++i) {
    params.push_back(ones({3, 4}));
    means.push_back(ones({3, 4}));
    squares.push_back(ones({3, 4}));
  }
  const std::vector<at::Tensor> grads(parameters, grad), steps(parameters, step);
  at::_fused_adam_(params, grads, means, squares, {}, steps, 1e-3, 0.9, 0.999, 0.0, 1e-8, false, false, scale);
}

void fused_adam() {
  const at::Tensor step = ones({});
  does("fused Adam takes one layout", [&] { adam(ones({3, 4}), step); });
  refuses("fused Adam with a transposed gradient", "same dtype, device, and layout", [&] { adam(ones({4, 3}).t(), step); });
  refuses("fused Adam with a step on the CPU", "device", [&] { adam(ones({3, 4}), at::ones({})); });
  refuses("fused Adam with a gradient of another device", "same dtype, device, and layout", [&] { adam(ones({3, 4}, kSecond), step); });
  does("fused Adam without a scale may share gradients", [&] { adam(ones({3, 4}), step, {}, 2); });
  refuses("fused Adam that scales gradients which share memory", "share memory", [&] { adam(ones({3, 4}), step, ones({}), 2); });
}

void multi_tensor_operators() {
  const std::vector<at::Tensor> here{ones({3}), ones({4})}, mixed{ones({3}), ones({4}, kSecond)}, host{at::ones({3}), at::ones({4})};
  does("a multi-tensor operator is one launch", [&] {
    const auto before = counts();
    at::_foreach_mul(here, 2.0);
    at::_foreach_add_(here, here);
    TORCH_CHECK(counts().launches - before.launches == 2, counts().launches - before.launches, " launches");
    TORCH_CHECK(counts().waits == before.waits);
  });
  refuses("a multi-tensor operator of two devices", "same device", [&] { at::_foreach_add(here, mixed); });
  refuses("a multi-tensor operator with the CPU", "same device", [&] { at::_foreach_add(here, host); });
}

// Largest error of a product or convolution of float32.
double error_of_product(const std::function<at::Tensor(const at::Tensor&)>& of) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({1, 8, 16, 16}, at::TensorOptions(kFirst).dtype(at::kDouble));
  return (of(x.to(at::kFloat)) - of(x)).abs().max().item<double>();
}

void tf32() {
  const auto conv = [](const at::Tensor& x) { return at::conv2d(x, x.slice(2, 0, 3).slice(3, 0, 3)); };
  const auto depthwise = [](const at::Tensor& x) { return at::conv2d(x, x.slice(2, 0, 3).slice(3, 0, 3).transpose(0, 1), at::Tensor(), at::IntArrayRef(1), at::IntArrayRef(0), at::IntArrayRef(1), 8); };
  const auto product = [](const at::Tensor& x) { return at::matmul(x, x); };
  const auto sum_and_product = [](const at::Tensor& x) { return at::addmm(x[0][0], x[0][1], x[0][2]); };
  auto& context = at::globalContext();
  const auto rounds = [&](const std::string& what, bool expected, const std::function<at::Tensor(const at::Tensor&)>& of) {
    const double error = error_of_product(of);
    report(what, error > 0 && (error > 1e-3) == expected, std::to_string(error));
  };
  for (const bool allowed : {true, false}) {
    context.setAllowTF32CuDNN(allowed);
    context.setAllowTF32CuBLAS(false);
    const std::string how = allowed ? " with TF32 for convolutions" : " without TF32";
    rounds("convolution" + how, allowed, conv);
    rounds("depthwise convolution" + how, false, depthwise);
    rounds("product" + how, false, product);
  }
  context.setAllowTF32CuBLAS(true);
  rounds("convolution with TF32 for products", false, conv);
  rounds("product with TF32", true, product);
  rounds("sum and product with TF32", true, sum_and_product);
  context.setAllowTF32CuBLAS(false);
}

void guards() {
  const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
  does("a guard changes the device and restores it", [&] {
    TORCH_CHECK(guard.getDevice() == kFirst);
    {
      const c10::DeviceGuard inside(kSecond);
      TORCH_CHECK(guard.getDevice() == kSecond);
      TORCH_CHECK(at::ones({3}, at::TensorOptions(c10::kCUDA)).device() == kSecond);
    }
    TORCH_CHECK(guard.getDevice() == kFirst);
    TORCH_CHECK(at::ones({3}, at::TensorOptions(c10::kCUDA)).device() == kFirst);
  });
  refuses("a third device", "invalid device ordinal", [&] { guard.setDevice(c10::Device(c10::kCUDA, 2)); });
  does("streams are each device's and each thread's", [&] {
    const c10::Stream pool = guard.getStreamFromGlobalPool(kSecond);
    const auto handle = [&](const c10::Stream& stream) { return guard.getStreamNativeHandle(stream); };
    {
      const c10::StreamGuard inside(pool);
      TORCH_CHECK(guard.getStream(kSecond) == pool && guard.getStream(kFirst) == guard.getDefaultStream(kFirst));
      TORCH_CHECK(guard.getDevice() == kSecond);
      TORCH_CHECK(handle(pool) != handle(guard.getDefaultStream(kSecond)));
    }
    TORCH_CHECK(guard.getStream(kSecond) == guard.getDefaultStream(kSecond));
    TORCH_CHECK(handle(guard.getDefaultStream(kFirst)) != handle(guard.getDefaultStream(kSecond)));
  });
}

void events() {
  const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
  void *begin = nullptr, *end = nullptr;
  const auto record = [&](void** event, c10::Device on, c10::Device device) {
    guard.record(event, guard.getDefaultStream(on), device.index(), c10::EventFlag::BACKEND_DEFAULT);
  };
  does("events are recorded, waited for and timed", [&] {
    record(&begin, kFirst, kFirst);
    record(&end, kFirst, kFirst);
    const auto before = counts();
    guard.block(end, guard.getDefaultStream(kSecond));
    TORCH_CHECK(counts().waits == before.waits);
    guard.synchronizeEvent(end);
    TORCH_CHECK(counts().waits == before.waits + 1);
    TORCH_CHECK(guard.queryEvent(end) && guard.elapsedTime(begin, end, 0) >= 0);
    TORCH_CHECK(guard.getDevice() == kFirst);
  });
  refuses("an event on a stream of another device", "CUDA error", [&] { record(&begin, kSecond, kSecond); });
  guard.destroyEvent(begin, 0);
  guard.destroyEvent(end, 0);
}

void generators() {
  refuses("a generator of the CPU", "'cuda' device type", [] { at::randn({3}, at::detail::createCPUGenerator(), at::TensorOptions(kFirst)); });
  refuses("a generator of another device", "generator of cuda:0", [] {
    at::randn({3}, at::globalContext().defaultGenerator(kSecond), at::TensorOptions(kFirst));
  });
}

void storages() {
  refuses("a tensor over another device's memory", "different device", [] { ones({3}).set_(ones({3}, kSecond)); });
  does("linear algebra", [] {
    const at::Tensor x = at::randn({4, 4}, at::TensorOptions(kFirst).dtype(at::kDouble));
    const auto [q, r] = at::linalg_qr(x);
    TORCH_CHECK(q.device() == kFirst && at::allclose(q.mm(r), x));
    TORCH_CHECK(at::allclose(at::linalg_inv(x).mm(x), at::eye(4, x.options())));
    TORCH_CHECK(at::allclose(at::linalg_solve_triangular(x.triu(), x, true), at::linalg_inv(x.triu()).mm(x), 1e-4));
  });
}

}  // namespace

int main() {
  at::ones({1});  // the hooks are looked for at the first tensor: before this, the half must have been loaded
  if (!at::globalContext().hasCUDA()) {
    std::cout << "no CUDA: scripts/emulated_gpu.sh runs this\n";
    return 1;
  }
  fused_adam();
  multi_tensor_operators();
  tf32();
  guards();
  events();
  generators();
  storages();
  return wrong;
}
