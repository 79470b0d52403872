// Several processes that compute together, by torch's own c10d: a store of keys, and collectives: over Gloo on CPU tensors, and
// over what nccl.cpp begins on CUDA tensors.

#define USE_C10D_GLOO

#include "bridge.h"
#include "guard.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

using inverse_flow::borrow;
using inverse_flow::guarded;

// The number of bytes that libtorch 2.11.0 was compiled with. gloo/names.h stands in for gloo's headers: a change of layout would
// go unseen without this.
static_assert(sizeof(c10d::ProcessGroupGloo) == 488, "another libtorch: look at src/ffi/gloo again");

namespace {
using StorePtr = c10::intrusive_ptr<c10d::Store>;
using MembersPtr = c10::intrusive_ptr<c10d::Backend>;

c10d::Store& store_of(ivf_store store) { return **static_cast<StorePtr*>(store); }
c10d::Backend& members_of(ivf_members members) { return **static_cast<MembersPtr*>(members); }

// The collective changes the tensor behind autograd's back: counted as a change, so that whoever keeps something computed
// from it notices.
template <typename Collective>
void in_place(ivf_tensor handle, Collective collective) {
  std::vector<at::Tensor> tensors{borrow(handle).detach()};
  collective(tensors)->wait();
  tensors.front().unsafeGetTensorImpl()->bump_version();
}
}  // namespace

int ivf_store_open(const char* host, uint16_t port, int serve, const char* prefix, int64_t timeout_ms, ivf_store* out,
                   char** error) {
  return guarded(error, [&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serve != 0;
    // who is there is the business of the caller, who knows names to complain about
    options.waitWorkers = false;
    options.timeout = std::chrono::milliseconds(timeout_ms);
    auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
    *out = new StorePtr(c10::make_intrusive<c10d::PrefixStore>(prefix, std::move(store)));
  });
}

void ivf_store_close(ivf_store store) { delete static_cast<StorePtr*>(store); }

int ivf_store_set(ivf_store store, const char* key, const uint8_t* value, size_t n, char** error) {
  return guarded(error, [&] { store_of(store).set(key, std::vector<uint8_t>(value, value + n)); });
}

int ivf_store_count(ivf_store store, const char* key, int64_t* count, char** error) {
  return guarded(error, [&] { *count = store_of(store).add(key, 1); });
}

int ivf_store_get(ivf_store store, const char* key, int64_t timeout_ms, int* there, void* sink,
                  void (*write)(void* sink, const uint8_t* bytes, size_t n), char** error) {
  return guarded(error, [&] {
    *there = 0;
    try {
      store_of(store).wait({key}, std::chrono::milliseconds(timeout_ms));
    } catch (const c10::DistNetworkError&) {
      throw;
    } catch (const c10::DistStoreError&) {
      return;  // the time is over
    }
    const std::vector<uint8_t> value = store_of(store).get(key);
    write(sink, value.data(), value.size());
    *there = 1;
  });
}

int ivf_members_join(ivf_store store, int rank, int ranks, int64_t timeout_ms, ivf_members* out, char** error) {
  return guarded(error, [&] {
    auto options = c10d::ProcessGroupGloo::Options::create_default(std::chrono::milliseconds(timeout_ms));
    const StorePtr& keys = *static_cast<StorePtr*>(store);
    *out = new MembersPtr(c10::make_intrusive<c10d::ProcessGroupGloo>(keys, rank, ranks, std::move(options)));
  });
}

int ivf_members_connect(ivf_members members, int device, char** error) {
  return guarded(error, [&] {
    members_of(members).eagerConnectSingleDevice(at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device)));
  });
}

void ivf_members_abort(ivf_members members) {
  char* ignored = nullptr;  // there is an error already, which made the caller abort
  guarded(&ignored, [&] { members_of(members).abort(); });
  std::free(ignored);
}

void ivf_members_leave(ivf_members members, int aborted) {
  char* ignored = nullptr;  // nobody is left who could make use of it
  if (aborted == 0) guarded(&ignored, [&] { members_of(members).shutdown(); });
  std::free(ignored);
  delete static_cast<MembersPtr*>(members);
}

int ivf_members_sum(ivf_members members, ivf_tensor tensor, char** error) {
  return guarded(error, [&] {
    in_place(tensor, [&](std::vector<at::Tensor>& tensors) { return members_of(members).allreduce(tensors); });
  });
}

int ivf_members_broadcast(ivf_members members, ivf_tensor tensor, char** error) {
  return guarded(error, [&] {
    in_place(tensor, [&](std::vector<at::Tensor>& tensors) { return members_of(members).broadcast(tensors); });
  });
}

int ivf_members_barrier(ivf_members members, char** error) {
  return guarded(error, [&] { members_of(members).barrier()->wait(); });
}
