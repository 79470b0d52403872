#include "streams.h"

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "../protocol.h"
#include "contexts.h"
#include "results.h"

namespace emulated_gpu {
namespace {

using Clock = std::chrono::steady_clock;

struct Event {
  int device;
  bool recorded = false;
  Clock::time_point time;
};

struct Handles {
  std::mutex mutex;
  std::map<std::pair<int, std::int64_t>, std::unique_ptr<Stream>> streams;
  std::set<void*> live;
  std::set<Event*> events;
  std::int64_t next = std::int64_t{1} << 32;  // of cuStreamCreate, beyond libtorch's own numbers
};

Handles& handles() {
  static auto* handles = new Handles;
  return *handles;
}

Stream* stream_of(int device, std::int64_t id) {
  const std::lock_guard<std::mutex> lock(handles().mutex);
  auto& stream = handles().streams[{device, id}];
  if (stream == nullptr) stream.reset(new Stream{device, id});
  handles().live.insert(stream.get());
  return stream.get();
}

bool is_stream(void* handle) {
  const std::lock_guard<std::mutex> lock(handles().mutex);
  return handles().live.count(handle) > 0;
}

bool is_event(Event* event) {
  const std::lock_guard<std::mutex> lock(handles().mutex);
  return handles().events.count(event) > 0;
}

}  // namespace

Stream* usable_stream(const char* call, void* handle) {
  const Context* context = current_context();
  if (context == nullptr) {
    refuse(kInvalidContext, "%s: this thread has no context", call);
    return nullptr;
  }
  // a card takes 0 for the legacy default stream, whose order is not that of torch's stream unless they are the same
  if (handle == nullptr) {
    refuse(kInvalidHandle, "%s: stream 0, where torch's current stream is meant", call);
    return nullptr;
  }
  if (!is_stream(handle)) {
    refuse(kInvalidHandle, "%s: %p is no stream", call, handle);
    return nullptr;
  }
  auto* stream = static_cast<Stream*>(handle);
  if (stream->device != context->device) {
    refuse(kInvalidHandle, "%s: a stream of cuda:%d, while cuda:%d is current", call, stream->device, context->device);
    return nullptr;
  }
  return stream;
}

}  // namespace emulated_gpu

using namespace emulated_gpu;

EMULATED_GPU_API void* emulated_gpu_stream(int device, std::int64_t id) { return stream_of(device, id); }

EMULATED_GPU_API int cuStreamCreate(void** stream, unsigned int) {
  if (current_context() == nullptr) return refuse(kInvalidContext, "cuStreamCreate: this thread has no context");
  std::int64_t id;
  {
    const std::lock_guard<std::mutex> lock(handles().mutex);
    id = handles().next++;
  }
  *stream = stream_of(current_context()->device, id);
  return kSuccess;
}

EMULATED_GPU_API int cuStreamCreateWithPriority(void** stream, unsigned int flags, int) { return cuStreamCreate(stream, flags); }

EMULATED_GPU_API int cuStreamDestroy_v2(void* stream) {
  const std::lock_guard<std::mutex> lock(handles().mutex);
  if (handles().live.erase(stream) == 0) return refuse(kInvalidHandle, "cuStreamDestroy: %p is no stream", stream);
  const auto* of = static_cast<Stream*>(stream);
  handles().streams.erase({of->device, of->id});
  return kSuccess;
}

EMULATED_GPU_API int cuStreamSynchronize(void* stream) {
  if (usable_stream("cuStreamSynchronize", stream) == nullptr) return kInvalidHandle;
  emulated_gpu_count_wait();
  return kSuccess;
}

EMULATED_GPU_API int cuStreamQuery(void* stream) {
  return usable_stream("cuStreamQuery", stream) == nullptr ? kInvalidHandle : kSuccess;
}

EMULATED_GPU_API int cuStreamWaitEvent(void* stream, Event* event, unsigned int) {
  if (usable_stream("cuStreamWaitEvent", stream) == nullptr) return kInvalidHandle;
  if (!is_event(event)) return refuse(kInvalidHandle, "cuStreamWaitEvent: %p is no event", static_cast<void*>(event));
  return kSuccess;
}

EMULATED_GPU_API int cuEventCreate(Event** event, unsigned int) {
  if (current_context() == nullptr) return refuse(kInvalidContext, "cuEventCreate: this thread has no context");
  *event = new Event{current_context()->device, false, {}};
  const std::lock_guard<std::mutex> lock(handles().mutex);
  handles().events.insert(*event);
  return kSuccess;
}

EMULATED_GPU_API int cuEventDestroy_v2(Event* event) {
  const std::lock_guard<std::mutex> lock(handles().mutex);
  if (handles().events.erase(event) == 0) return refuse(kInvalidHandle, "cuEventDestroy: %p is no event", static_cast<void*>(event));
  delete event;
  return kSuccess;
}

EMULATED_GPU_API int cuEventRecord(Event* event, void* stream) {
  const Stream* on = usable_stream("cuEventRecord", stream);
  if (on == nullptr) return kInvalidHandle;
  if (!is_event(event)) return refuse(kInvalidHandle, "cuEventRecord: %p is no event", static_cast<void*>(event));
  if (event->device != on->device) {
    return refuse(kInvalidHandle, "cuEventRecord: an event of cuda:%d on a stream of cuda:%d", event->device, on->device);
  }
  event->recorded = true;
  event->time = Clock::now();
  return kSuccess;
}

EMULATED_GPU_API int cuEventQuery(Event* event) {
  return is_event(event) ? kSuccess : refuse(kInvalidHandle, "cuEventQuery: %p is no event", static_cast<void*>(event));
}

EMULATED_GPU_API int cuEventSynchronize(Event* event) {
  if (!is_event(event)) return refuse(kInvalidHandle, "cuEventSynchronize: %p is no event", static_cast<void*>(event));
  emulated_gpu_count_wait();
  return kSuccess;
}

// A time of the host that means nothing, but grows.
EMULATED_GPU_API int cuEventElapsedTime_v2(float* milliseconds, Event* begin, Event* end) {
  if (!is_event(begin) || !is_event(end)) return refuse(kInvalidHandle, "cuEventElapsedTime: no event");
  if (!begin->recorded || !end->recorded) return refuse(kInvalidHandle, "cuEventElapsedTime: an event that was not recorded");
  if (begin->device != end->device) return refuse(kInvalidHandle, "cuEventElapsedTime: events of two devices");
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return kSuccess;
}

EMULATED_GPU_API int cuEventElapsedTime(float* milliseconds, Event* begin, Event* end) {
  return cuEventElapsedTime_v2(milliseconds, begin, end);
}
