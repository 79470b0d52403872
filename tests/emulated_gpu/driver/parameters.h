// Where the device addresses are in the parameters of the kernels. A kernel with a parameter struct that is not here does
// not compile, and a device address that is not here is refused at the launch.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels.h"

namespace emulated_gpu {

template <typename Params>
struct PointersOf {
  static_assert(sizeof(Params) == 0, "list the device addresses of this parameter struct in tests/emulated_gpu/driver/parameters.h");
};

#define POINTER(field) \
  Pointer { #field, offsetof(Params, field), false }
#define OPTIONAL(field) \
  Pointer { #field, offsetof(Params, field), true }
#define POINTERS_OF(Struct, ...)                                          \
  template <>                                                             \
  struct PointersOf<Struct> {                                             \
    using Params = Struct;                                                \
    static std::vector<Pointer> list() { return {__VA_ARGS__}; }          \
  };

POINTERS_OF(InvConvSolveParams, POINTER(y), POINTER(weight), POINTER(x), OPTIONAL(progress), POINTER(singular))
POINTERS_OF(InvConvApplyParams, POINTER(x), POINTER(weight), POINTER(y))
POINTERS_OF(InvConvWeightGradParams, POINTER(x), POINTER(u), POINTER(partials), POINTER(grad))
POINTERS_OF(BaselineParams, POINTER(y), POINTER(weight), POINTER(x), POINTER(singular))
POINTERS_OF(ActNormParams, POINTER(x), POINTER(loc), POINTER(log_scale), OPTIONAL(value), OPTIONAL(log_det),
            OPTIONAL(value_grad), OPTIONAL(log_det_grad), OPTIONAL(x_grad), OPTIONAL(partials), OPTIONAL(loc_grad),
            OPTIONAL(log_scale_grad))
POINTERS_OF(BatchParams, POINTER(images), POINTER(picks), POINTER(x), POINTER(noise))
POINTERS_OF(VerdictParams, POINTER(nll), POINTER(grad_norm), POINTER(totals), POINTER(skip), POINTER(scale))
POINTERS_OF(CouplingParams, POINTER(x), POINTER(net), OPTIONAL(value), OPTIONAL(log_det), OPTIONAL(partials),
            OPTIONAL(value_grad), OPTIONAL(log_det_grad), OPTIONAL(x_grad), OPTIONAL(net_grad))
POINTERS_OF(ChannelsParams, POINTER(all), POINTER(first), POINTER(sum))
// a launch of the spline's has what its stage needs
POINTERS_OF(SplineParams, OPTIONAL(x), OPTIONAL(widths), OPTIONAL(heights), OPTIONAL(derivatives), OPTIONAL(table),
            OPTIONAL(value), OPTIONAL(log_det), OPTIONAL(value_grad), OPTIONAL(log_det_grad), OPTIONAL(partials),
            OPTIONAL(sums), OPTIONAL(knot_grads), OPTIONAL(x_grad), OPTIONAL(widths_grad), OPTIONAL(heights_grad),
            OPTIONAL(derivatives_grad))

#undef POINTERS_OF
#undef OPTIONAL
#undef POINTER

}  // namespace emulated_gpu
