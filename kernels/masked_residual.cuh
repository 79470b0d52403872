// Parameters of the kernels of masked residual blocks.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block. Twin: THREADS in src/cuda/masked_residual.rs.
constexpr int kMaskedResidualThreads = 256;

// Filters of one block of colours C with l hidden channels each. Twin: ResidualFilterParams in
// src/cuda/masked_residual.rs. A launch reads and writes only what its stage needs.
struct ResidualFilterParams {
  const void* weights[3];     // [lC, C, 9], [lC, lC, 9], [C, lC, 9]
  const void* t;              // [elements]
  void* filters[3];           // as weights: what is convolved with; forward
  void* paths;                // [C, l, l]; forward
  void* slope;                // as t; forward
  const void* filter_grads[3];  // backward, as all below
  const void* paths_grad;
  const void* slope_grad;
  void* weight_grads[3];
  void* t_grad;
  long long colours;
  long long multiplicity;
  long long elements;  // of an image
  int lower;           // an output sees earlier elements; otherwise later ones
  int unused;
};
static_assert(sizeof(ResidualFilterParams) == 176, "twin: ResidualFilterParams in src/cuda/masked_residual.rs");
static_assert(offsetof(ResidualFilterParams, lower) == 168, "twin: ResidualFilterParams in src/cuda/masked_residual.rs");

// ELU with its slope. Twin: EluSlopeParams in src/cuda/masked_residual.rs.
struct EluSlopeParams {
  const void* h;           // [samples, l, C, pixels]
  void* value;             // as h; forward
  void* slope;             // [C, l, samples, pixels]; forward
  const void* value_grad;  // backward
  const void* slope_grad;  // backward
  void* h_grad;            // backward
  long long samples;
  long long colours;
  long long multiplicity;
  long long pixels;
  long long elements_per_block;
};
static_assert(sizeof(EluSlopeParams) == 88, "twin: EluSlopeParams in src/cuda/masked_residual.rs");
static_assert(offsetof(EluSlopeParams, elements_per_block) == 80, "twin: EluSlopeParams in src/cuda/masked_residual.rs");
