// Parameters of the kernels on channels.
#pragma once

#include <cstddef>

#include "common.cuh"

// Threads of a block. Twin: THREADS in src/cuda/channels.rs.
constexpr int kChannelsThreads = 256;

// Twin: ChannelsParams in src/cuda/channels.rs.
struct ChannelsParams {
  const void* all;    // [samples, sample]
  const void* first;  // [samples, part]
  void* sum;          // as all
  long long samples;
  long long sample;  // elements of a sample
  long long part;    // elements of its first channels
  long long elements_per_block;
};
static_assert(sizeof(ChannelsParams) == 56, "twin: ChannelsParams in src/cuda/channels.rs");
static_assert(offsetof(ChannelsParams, samples) == 24, "twin: ChannelsParams in src/cuda/channels.rs");
