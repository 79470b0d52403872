// libtorch's CUDA half on the host: what it registers with the other half.
#include "fused_adam.h"
#include "hooks.h"
#include "memory_operators.h"
#include "nccl.h"
#include "operators.h"
#include "tf32.h"

namespace emulated_gpu {
namespace {

template <c10::KernelFunction::BoxedKernelFunction* kernel>
torch::CppFunction boxed() {
  return torch::CppFunction::makeFromBoxedFunction<kernel>();
}

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(boxed<&fallback>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("_efficientzerotensor", efficient_zeros);
  m.impl("copy_", copy_);
  m.impl("set_.source_Storage_storage_offset", set_storage);
  m.impl("set_.source_Tensor", set_tensor);
  for (const char* name : {"_fused_adam_", "_fused_adam_.tensor_lr", "_fused_adamw_", "_fused_adamw_.tensor_lr"}) {
    m.impl(name, boxed<&fused_adam>());
  }
  for (const char* name : {"convolution", "_convolution", "convolution_backward"}) m.impl(name, boxed<&convolution>());
  for (const char* name : {"mm", "mm.out", "bmm", "bmm.out"}) m.impl(name, boxed<&product>());
  for (const char* name : {"addmm", "addmm_", "addmm.out", "baddbmm", "baddbmm_", "baddbmm.out", "addbmm", "addbmm_", "addbmm.out"}) {
    m.impl(name, boxed<&product_and_sum>());
  }
  // a multi-tensor operator is one launch on a card; without a kernel of its own it would be taken apart
  for (const c10::OperatorName& op : c10::Dispatcher::singleton().getAllOpNames()) {
    if (op.name.rfind("aten::_foreach_", 0) == 0) m.impl(c10::toString(op).c_str(), boxed<&fallback>());
  }
}

}  // namespace
}  // namespace emulated_gpu
