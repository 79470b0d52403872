// What the C++ files of the bridge share: errors that become a status and a message, and borrowed tensors.
#pragma once

#include "bridge.h"

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace inverse_flow {

inline char* copy_message(const char* text) {
  const size_t size = std::strlen(text) + 1;
  char* copy = static_cast<char*>(std::malloc(size));
  if (copy != nullptr) std::memcpy(copy, text, size);
  return copy;
}

// C++ → Rust: no exception leaves a function of bridge.h.
template <typename Body>
int guarded(char** error, Body&& body) {
  try {
    body();
    return 0;
  } catch (const c10::LinAlgError& e) {
    *error = copy_message(e.what_without_backtrace());
    return IVF_SINGULAR;
  } catch (const c10::Error& e) {
    *error = copy_message(e.what_without_backtrace());
  } catch (const std::exception& e) {
    *error = copy_message(e.what());
  } catch (...) {
    *error = copy_message("unknown C++ exception");
  }
  return 1;
}

inline const at::Tensor& borrow(ivf_tensor handle) { return *static_cast<at::Tensor*>(handle); }

inline std::vector<at::Tensor> borrow_all(const ivf_tensor* handles, size_t n) {
  std::vector<at::Tensor> tensors(n);
  for (size_t i = 0; i < n; ++i) {
    if (handles[i] != nullptr) tensors[i] = borrow(handles[i]);
  }
  return tensors;
}

// A new handle for the other side to own.
inline ivf_tensor release(at::Tensor tensor) {
  return tensor.defined() ? new at::Tensor(std::move(tensor)) : nullptr;
}

}  // namespace inverse_flow
