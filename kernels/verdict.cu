// Whether a training step is taken, decided on the device, so that the host need not wait for loss and norm: it reads the
// totals of many steps at a time. src/train/totals.rs says the same in Rust, for the CPU.
//
// A step whose loss or gradient norm is not finite is skipped. Once too many were skipped in a row, so are all that follow:
// the parameters stay what they were when it happened, for whoever looks for the reason.
#include "verdict.cuh"

namespace {

// Neither infinite nor NaN.
__device__ __forceinline__ bool is_finite(float number) { return number - number == 0.0f; }

}  // namespace

extern "C" __global__ void __launch_bounds__(kVerdictThreads) verdict(const __grid_constant__ VerdictParams params) {
  if (threadIdx.x != 0) {
    return;
  }
  VerdictTotals totals = *params.totals;
  if (params.starts != 0) {
    totals = VerdictTotals{};
    totals.in_row = params.in_row;
  }
  totals.steps += 1;
  const bool stopped = totals.stopped_at != 0;
  const float nll = *params.nll;
  const float grad_norm = *params.grad_norm;
  const bool taken = !stopped && is_finite(nll) && is_finite(grad_norm);
  if (!stopped) {
    totals.last_nll = nll;
    totals.last_grad_norm = grad_norm;
    totals.in_row = taken ? 0 : totals.in_row + 1;
  }
  if (taken) {
    totals.taken += 1;
    totals.nll += nll;
    totals.grad_norm += grad_norm;
  } else if (!stopped && totals.in_row >= params.most_in_row) {
    totals.stopped_at = totals.steps;
  }
  *params.totals = totals;
  *params.skip = taken ? 0.0f : 1.0f;
  *params.scale = taken && params.clip_norm > 0 ? max(grad_norm / params.clip_norm, 1.0f) : 1.0f;
}
