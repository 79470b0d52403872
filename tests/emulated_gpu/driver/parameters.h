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
POINTERS_OF(ButterflyParams, POINTER(x), POINTER(factor), OPTIONAL(value), OPTIONAL(log_det), OPTIONAL(value_grad),
            OPTIONAL(log_det_grad), OPTIONAL(x_grad), OPTIONAL(factor_grad))
POINTERS_OF(LogDetParams, POINTER(matrices[0].u), OPTIONAL(matrices[0].v), OPTIONAL(matrices[0].u_grad),
            OPTIONAL(matrices[0].v_grad), OPTIONAL(matrices[1].u), OPTIONAL(matrices[1].v), OPTIONAL(matrices[1].u_grad),
            OPTIONAL(matrices[1].v_grad), OPTIONAL(matrices[2].u), OPTIONAL(matrices[2].v), OPTIONAL(matrices[2].u_grad),
            OPTIONAL(matrices[2].v_grad), OPTIONAL(matrices[3].u), OPTIONAL(matrices[3].v), OPTIONAL(matrices[3].u_grad),
            OPTIONAL(matrices[3].v_grad), OPTIONAL(log_det), OPTIONAL(log_det_grad))
POINTERS_OF(EluSlopeParams, POINTER(h), OPTIONAL(value), OPTIONAL(slope), OPTIONAL(value_grad), OPTIONAL(slope_grad),
            OPTIONAL(h_grad))
POINTERS_OF(ResidualFilterParams, POINTER(weights[0]), POINTER(weights[1]), POINTER(weights[2]), POINTER(t),
            OPTIONAL(filters[0]), OPTIONAL(filters[1]), OPTIONAL(filters[2]), OPTIONAL(paths), OPTIONAL(slope),
            OPTIONAL(filter_grads[0]), OPTIONAL(filter_grads[1]), OPTIONAL(filter_grads[2]), OPTIONAL(paths_grad),
            OPTIONAL(slope_grad), OPTIONAL(weight_grads[0]), OPTIONAL(weight_grads[1]), OPTIONAL(weight_grads[2]),
            OPTIONAL(t_grad))
POINTERS_OF(PadParams, POINTER(x), POINTER(y))
#define FILTER(i)                                                                                                \
  OPTIONAL(filters[i].direction), OPTIONAL(filters[i].gain), OPTIONAL(filters[i].weight),                        \
      OPTIONAL(filters[i].weight_grad), OPTIONAL(filters[i].direction_grad), OPTIONAL(filters[i].gain_grad)
POINTERS_OF(WeightNormParams, FILTER(0), FILTER(1), FILTER(2), FILTER(3))
#undef FILTER
// a launch of the spline's has what its stage needs
POINTERS_OF(SplineParams, OPTIONAL(x), OPTIONAL(widths), OPTIONAL(heights), OPTIONAL(derivatives), OPTIONAL(table),
            OPTIONAL(value), OPTIONAL(log_det), OPTIONAL(value_grad), OPTIONAL(log_det_grad), OPTIONAL(scratch),
            OPTIONAL(partials), OPTIONAL(sums), OPTIONAL(fractions), OPTIONAL(x_grad), OPTIONAL(widths_grad),
            OPTIONAL(heights_grad), OPTIONAL(derivatives_grad))

// of as many layers as the launch has; the addresses of the others are null
template <>
struct PointersOf<FilterParams> {
  static std::vector<Pointer> list() {
    using Params = FilterLayer;
    const Pointer fields[] = {OPTIONAL(theta),        OPTIONAL(diagonal),    OPTIONAL(weight),
                              OPTIONAL(log_diagonal), OPTIONAL(weight_grad), OPTIONAL(log_diagonal_grad),
                              OPTIONAL(theta_grad)};
    std::vector<Pointer> all;
    for (int layer = 0; layer < kFilterLayers; ++layer) {
      for (const Pointer& field : fields) {
        all.push_back({field.name, layer * sizeof(FilterLayer) + field.offset, true});
      }
    }
    return all;
  }
};

#undef POINTERS_OF
#undef OPTIONAL
#undef POINTER

}  // namespace emulated_gpu
