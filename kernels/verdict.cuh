// Parameters of the kernel that decides whether a training step is taken.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of its only block. Twin: THREADS in src/cuda/verdict.rs.
constexpr int kVerdictThreads = 32;

// What the steps since the last reading have measured. Twin: Totals in src/cuda/verdict.rs, number by number.
struct VerdictTotals {
  double steps;
  double taken;           // of them
  double nll;             // sums over the steps that were taken
  double grad_norm;
  double last_nll;        // of the last step, taken or not
  double last_grad_norm;
  double in_row;          // steps skipped one after the other, up to the last one
  double stopped_at;      // the step, counted from 1, with which they became too many; 0: they have not
};
static_assert(sizeof(VerdictTotals) == 64, "twin: Totals in src/cuda/verdict.rs");

// Twin: VerdictParams in src/cuda/verdict.rs.
struct VerdictParams {
  const float* nll;        // a number
  const float* grad_norm;  // a number
  VerdictTotals* totals;
  float* skip;        // a number: 1 where the step must not be taken, else 0
  float* scale;       // a number that the gradient is to be divided by
  double in_row;      // at the start
  double most_in_row;
  float clip_norm;    // the largest norm; 0: any
  int starts;         // the first step since the last reading
};
static_assert(sizeof(VerdictParams) == 64, "twin: VerdictParams in src/cuda/verdict.rs");
static_assert(offsetof(VerdictParams, in_row) == 40, "twin: VerdictParams in src/cuda/verdict.rs");
static_assert(offsetof(VerdictParams, starts) == 60, "twin: VerdictParams in src/cuda/verdict.rs");
