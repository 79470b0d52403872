// The few things of libtorch that tch does not offer: streams, memory counters, threads, the optimiser's kernels.

#include "bridge.h"
#include "guard.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_clamp_max.h>
#include <ATen/ops/_foreach_clamp_min.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <omp.h>

#include <exception>
#include <new>
#include <pthread.h>

using at::Tensor;
using inverse_flow::borrow;
using inverse_flow::borrow_all;
using inverse_flow::guarded;
using inverse_flow::release;

namespace {
struct Unheard : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

// Changes the settings of before torch 2.9 too: once the two kinds differ, reading an old one is an error.
template <typename Change>
void legacy(Change change) {
  Unheard unheard;
  const c10::WarningUtils::WarningHandlerGuard no_deprecation(&unheard);
  change(at::globalContext());
}

// Who has the last word; see ivf_on_terminate.
void (*last_word)(const char*, int) = nullptr;

[[noreturn]] void terminated() {
  try {
    if (const std::exception_ptr current = std::current_exception()) std::rethrow_exception(current);
    last_word(nullptr, 0);
  } catch (const std::bad_alloc& e) {
    last_word(e.what(), 1);
  } catch (const c10::Error& e) {
    last_word(e.what_without_backtrace(), 0);
  } catch (const std::exception& e) {
    last_word(e.what(), 0);
  } catch (...) {
    last_word(nullptr, 0);
  }
  std::abort();
}

// IEEE and not NONE, which would follow a setting for all of CUDA, or for all devices.
void set_float32(at::Float32Op op, bool tf32) {
  const at::Float32Precision precision = tf32 ? at::Float32Precision::TF32 : at::Float32Precision::IEEE;
  at::globalContext().setFloat32Precision(at::Float32Backend::CUDA, op, precision);
}

void allow_tf32_in_convolutions(bool allowed) {
  legacy([&](at::Context& settings) { settings.setAllowTF32CuDNN(allowed); });
  set_float32(at::Float32Op::CONV, allowed);
  set_float32(at::Float32Op::RNN, allowed);
}
}  // namespace

int ivf_current_cuda_stream(int index, void** stream, char** error) {
  return guarded(error, [&] {
    const c10::Device device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
    *stream = c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
  });
}

int ivf_set_tf32(int allowed, char** error) {
  return guarded(error, [&] {
    allow_tf32_in_convolutions(allowed != 0);
    legacy([&](at::Context& settings) { settings.setAllowTF32CuBLAS(allowed != 0); });
    set_float32(at::Float32Op::MATMUL, allowed != 0);
  });
}

int ivf_set_tf32_convolutions(int allowed, char** error) {
  return guarded(error, [&] { allow_tf32_in_convolutions(allowed != 0); });
}

int ivf_tf32(int* convolutions, int* products, char** error) {
  return guarded(error, [&] {
    const auto shortens = [](at::Float32Op op) {
      return at::globalContext().float32Precision(at::Float32Backend::CUDA, op) == at::Float32Precision::TF32;
    };
    *convolutions = shortens(at::Float32Op::CONV) || shortens(at::Float32Op::RNN) ? 1 : 0;
    *products = shortens(at::Float32Op::MATMUL) ? 1 : 0;
  });
}

int ivf_device_peak(int index, uint64_t* bytes, char** error) {
  return guarded(error, [&] {
    const auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(index));
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    *bytes = static_cast<uint64_t>(stats.allocated_bytes[all].peak);
  });
}

int ivf_device_reset_peak(int index, char** error) {
  return guarded(error, [&] {
    c10::getDeviceAllocator(c10::DeviceType::CUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(index));
  });
}

int ivf_pinned(ivf_tensor tensor, ivf_tensor* out, char** error) {
  return guarded(error, [&] { *out = release(borrow(tensor).pin_memory()); });
}

int ivf_upload(ivf_tensor tensor, int index, ivf_tensor* out, char** error) {
  return guarded(error, [&] {
    const at::NoGradGuard no_grad;
    const c10::Device device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
    const Tensor pinned = borrow(tensor).pin_memory();
    *out = release(pinned.to(pinned.options().device(device), /*non_blocking=*/true));
  });
}

int ivf_conv2d_backward(ivf_tensor grad, ivf_tensor x, ivf_tensor weight, int64_t padding, const uint8_t* needs,
                        ivf_tensor* grads, char** error) {
  return guarded(error, [&] {
    auto made = at::convolution_backward(borrow(grad), borrow(x), borrow(weight), /*bias_sizes=*/std::nullopt, /*stride=*/{1, 1},
                                         {padding, padding}, /*dilation=*/{1, 1}, /*transposed=*/false, /*output_padding=*/{0, 0},
                                         /*groups=*/1, {needs[0] != 0, needs[1] != 0, false});
    grads[0] = release(std::get<0>(made));
    grads[1] = release(std::get<1>(made));
  });
}

int ivf_grad_enabled(void) { return at::GradMode::is_enabled() ? 1 : 0; }

void ivf_on_terminate(void (*end)(const char* what, int memory)) {
  last_word = end;
  std::set_terminate(terminated);
}

void ivf_set_stack_of_threads(size_t bytes) {
#ifdef __GLIBC__
  pthread_attr_t attributes;
  if (pthread_getattr_default_np(&attributes) != 0) return;
  if (pthread_attr_setstacksize(&attributes, bytes) == 0) pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
#else
  (void)bytes;
#endif
}

void ivf_parallel_for(int64_t jobs, void (*run)(void*, int64_t, int64_t), void* context) {
  at::parallel_for(0, jobs, 1, [&](int64_t begin, int64_t end) { run(context, begin, end); });
}

void ivf_threads_here(int threads) {
  at::get_num_threads();  // libtorch sets a thread up when it first asks
  omp_set_num_threads(threads);
}

void ivf_empty_region(int threads) {
#pragma omp parallel num_threads(threads)
  {
    asm volatile("" ::: "memory");  // a region that is empty is left out
  }
}

int ivf_processors(void) { return omp_get_num_procs(); }

int ivf_global_norm(const ivf_tensor* tensors, size_t n, ivf_tensor* out, char** error) {
  return guarded(error, [&] {
    const at::NoGradGuard no_grad;
    *out = release(at::linalg_vector_norm(at::stack(at::_foreach_norm(borrow_all(tensors, n)))));
  });
}

int ivf_clamp_all(const ivf_tensor* tensors, size_t n, double limit, ivf_tensor* out, char** error) {
  return guarded(error, [&] {
    const at::NoGradGuard no_grad;
    std::vector<Tensor> clamped = at::_foreach_clamp_max(at::_foreach_clamp_min(borrow_all(tensors, n), -limit), limit);
    for (size_t i = 0; i < n; ++i) out[i] = release(std::move(clamped[i]));
  });
}

int ivf_lerp_all(const ivf_tensor* tensors, const ivf_tensor* ends, size_t n, ivf_tensor weight, char** error) {
  return guarded(error, [&] {
    const at::NoGradGuard no_grad;
    const std::vector<Tensor> from = borrow_all(tensors, n), to = borrow_all(ends, n);
    const Tensor share = borrow(weight);
    if (share.is_cpu()) {
      const at::Scalar number = share.item();
      for (size_t i = 0; i < n; ++i) from[i].lerp_(to[i], number);
      return;
    }
    const std::vector<Tensor> steps = at::_foreach_sub(to, from);
    at::_foreach_mul_(steps, share);
    at::_foreach_add_(from, steps);
  });
}

int ivf_fused_adam(const ivf_adam* adam, char** error) {
  return guarded(error, [&] {
    const at::NoGradGuard no_grad;
    const size_t n = adam->n;
    std::optional<Tensor> grad_scale, skip;
    if (adam->grad_scale != nullptr) grad_scale = borrow(adam->grad_scale);
    if (adam->skip != nullptr) skip = borrow(adam->skip);
    // the fused kernel reads the number of the step, counted from 1, from a tensor per parameter
    Tensor step = borrow(adam->step);
    const std::vector<Tensor> steps(n, step.add_(1));
    const bool amsgrad = adam->max_exp_avg_sq != nullptr;
    std::vector<Tensor> max_exp_avg_sq;
    if (amsgrad) max_exp_avg_sq = borrow_all(adam->max_exp_avg_sq, n);
    const std::vector<Tensor> params = borrow_all(adam->params, n);
    at::_fused_adam_(params, borrow_all(adam->grads, n), borrow_all(adam->exp_avg, n),
                     borrow_all(adam->exp_avg_sq, n), max_exp_avg_sq, steps, adam->lr, adam->beta1,
                     adam->beta2, adam->weight_decay, adam->eps, amsgrad, /*maximize=*/false, grad_scale,
                     /*found_inf=*/skip);
    // the kernel knows the flag, and the count does not
    if (skip.has_value()) step.sub_(*skip);
    // unlike other in-place operations the fused step leaves the versions alone, by which autograd and whoever keeps
    // something computed from the parameters notice a change
    for (const Tensor& param : params) param.unsafeGetTensorImpl()->bump_version();
  });
}
