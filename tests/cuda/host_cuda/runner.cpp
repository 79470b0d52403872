// The kernels' sources, unchanged, compiled for the host; the test finds the entry points by name.

// clang-format off
#include "../../host_cuda/cuda_on_host.h"
#include "../../../kernels/inv_conv_solve.cu"
#include "../../../kernels/inv_conv_solve_wide.cu"
#include "../../../kernels/inv_conv_apply.cu"
#include "../../../kernels/inv_conv_weight_grad.cu"
#include "../../../kernels/inv_conv_filter.cu"
#include "../../../kernels/spline.cu"
#include "../../../kernels/actnorm.cu"
#include "../../../kernels/batch.cu"
#include "../../../kernels/coupling.cu"
#include "../../../kernels/verdict.cu"
#include "../../../kernels/channels.cu"
#include "../../../kernels/butterfly.cu"
#include "../../../kernels/log_det.cu"
#include "../../../kernels/masked_residual.cu"
#include "../../../kernels/pad.cu"
#include "../../../kernels/weight_norm.cu"
#include "../../../kernels/baseline_per_diagonal.cu"
#include "faults.cu"
// clang-format on

#define LAUNCH(name, Params)                                                                                       \
  extern "C" int name(void (*kernel)(Params), const void* params, const cuda_on_host::Config* config, char* message, \
                      std::size_t length) {                                                                        \
    return cuda_on_host::launch<Params>(kernel, params, config, message, length);                                  \
  }

LAUNCH(launch_solve, InvConvSolveParams)
LAUNCH(launch_apply, InvConvApplyParams)
LAUNCH(launch_weight_grad, InvConvWeightGradParams)
LAUNCH(launch_filter, FilterParams)
LAUNCH(launch_spline, SplineParams)
LAUNCH(launch_actnorm, ActNormParams)
LAUNCH(launch_batch, BatchParams)
LAUNCH(launch_coupling, CouplingParams)
LAUNCH(launch_verdict, VerdictParams)
LAUNCH(launch_channels, ChannelsParams)
LAUNCH(launch_butterfly, ButterflyParams)
LAUNCH(launch_elu_slope, EluSlopeParams)
LAUNCH(launch_log_det, LogDetParams)
LAUNCH(launch_pad, PadParams)
LAUNCH(launch_residual_filters, ResidualFilterParams)
LAUNCH(launch_weight_norm, WeightNormParams)
LAUNCH(launch_baseline, BaselineParams)
LAUNCH(launch_fault, FaultParams)
