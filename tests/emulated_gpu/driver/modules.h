// Handles of loaded images and of the functions in them.
#pragma once

#include "contexts.h"
#include "kernels.h"

namespace emulated_gpu {

struct Module {
  Context* context;  // in which it was loaded
};

struct Function {
  const Kernel* kernel;
  Module* module;
  Context* context;
  int shared_limit;  // bytes of dynamic shared memory that a launch may ask for
};

bool is_function(const Function* function);

}  // namespace emulated_gpu
