#include "gpu/cuda/runtime.hpp"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "gpu/cuda/cublas_lt.hpp"
#include "gpu/cuda/nccl.hpp"

namespace troupe::gpu::cuda {

namespace {

/// Of captures, or of arguments: the device goes on.
bool breaks_a_rule(cudaError_t result) {
  switch (result) {
  case cudaErrorInvalidValue:
  case cudaErrorInvalidResourceHandle:
  case cudaErrorCapturedEvent:
  case cudaErrorIllegalState:
  case cudaErrorStreamCaptureUnsupported:
  case cudaErrorStreamCaptureInvalidated:
  case cudaErrorStreamCaptureMerge:
  case cudaErrorStreamCaptureUnmatched:
  case cudaErrorStreamCaptureUnjoined:
  case cudaErrorStreamCaptureIsolation:
  case cudaErrorStreamCaptureImplicit:
  case cudaErrorStreamCaptureWrongThread:
    return true;
  default:
    return false;
  }
}

/// doing: "launching rms_norm".
expected<void> check(cudaError_t result, const std::string& doing) {
  if (result == cudaSuccess)
    return {};
  const auto code = result == cudaErrorMemoryAllocation ? errc::out_of_memory
                    : breaks_a_rule(result)             ? errc::invalid_argument
                                                        : errc::internal;
  cudaGetLastError(); // So that whoever asks next, of what does not stay, is not told of this one.
  return fail(code, fmt::format("CUDA, {}: {} ({}).", doing, cudaGetErrorString(result), cudaGetErrorName(result)));
}

/// What a thread asks of CUDA is for the device that it chose last.
expected<void> choose(int device) {
  thread_local int chosen = -1;
  if (chosen == device)
    return {};
  return check(cudaSetDevice(device), fmt::format("choosing device {}", device)).map([&] { chosen = device; });
}

class device_runtime final : public runtime {
public:
  device_runtime(int device, kernel_table kernels) : device_(device), kernels_(std::move(kernels)) {}

  ~device_runtime() override {
    // After an error nothing of this works, and the process ends.
    if (!bind())
      return;
    for (const auto each : graphs_)
      if (each)
        cudaGraphExecDestroy(each);
    for (const auto each : events_)
      cudaEventDestroy(each);
    for (const auto each : streams_)
      cudaStreamDestroy(each);
    for (const auto each : memory_)
      cudaFree(reinterpret_cast<void*>(each));
    for (const auto each : pinned_)
      cudaFreeHost(reinterpret_cast<void*>(each));
  }

  /// Each kernel's code goes to the device now: CUDA may load it with its first launch, which in a capture it must not. Each may have
  /// all the shared memory that there is.
  expected<void> load_kernels() {
    int most_shared = 0;
    if (auto done = check(cudaDeviceGetAttribute(&most_shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device_),
                          "asking how much shared memory a block may have");
        !done)
      return done;
    for (const auto& each : kernels_) {
      cudaFuncAttributes found{};
      if (auto done = check(cudaFuncGetAttributes(&found, each.function), std::string("loading ") + each.name); !done)
        return done;
      if (static_cast<unsigned>(found.maxThreadsPerBlock) < each.max_threads)
        return fail(errc::unavailable, fmt::format("{} runs with up to {} threads on this device, and {} are wanted.",
                                                   each.name, found.maxThreadsPerBlock, each.max_threads));
      const auto left = most_shared - static_cast<int>(found.sharedSizeBytes);
      if (auto done = check(cudaFuncSetAttribute(each.function, cudaFuncAttributeMaxDynamicSharedMemorySize, left),
                            fmt::format("asking for {} bytes of shared memory for {}", left, each.name));
          !done)
        return done;
    }
    return {};
  }

  expected<address> allocate(std::size_t bytes) override {
    void* at = nullptr;
    return bound(fmt::format("allocating {} bytes", bytes), [&] { return cudaMalloc(&at, bytes); }).map([&] {
      return *memory_.insert(reinterpret_cast<address>(at)).first;
    });
  }
  expected<void> free(address at) override {
    memory_.erase(at);
    return bound("freeing memory", [&] { return cudaFree(reinterpret_cast<void*>(at)); });
  }
  expected<address> allocate_pinned(std::size_t bytes) override {
    void* at = nullptr;
    return bound(fmt::format("pinning {} bytes", bytes), [&] { return cudaMallocHost(&at, bytes); }).map([&] {
      return *pinned_.insert(reinterpret_cast<address>(at)).first;
    });
  }
  expected<void> free_pinned(address at) override {
    pinned_.erase(at);
    return bound("freeing pinned memory", [&] { return cudaFreeHost(reinterpret_cast<void*>(at)); });
  }
  expected<memory_account> memory() override {
    memory_account account;
    return bound("asking for its memory", [&] { return cudaMemGetInfo(&account.free_bytes, &account.total_bytes); })
      .map([&] { return account; });
  }

  expected<stream_id> make_stream() override {
    cudaStream_t made = nullptr;
    return bound("making a stream", [&] { return cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking); }).map([&] {
      streams_.push_back(made);
      return static_cast<stream_id>(streams_.size() - 1);
    });
  }
  expected<event_id> make_event() override {
    cudaEvent_t made = nullptr;
    return bound("making an event", [&] { return cudaEventCreateWithFlags(&made, cudaEventDisableTiming); }).map([&] {
      events_.push_back(made);
      return static_cast<event_id>(events_.size() - 1);
    });
  }

  expected<void> launch(stream_id on, kernel_id kernel, const grid_shape& shape, const void* arguments) override {
    if (kernel >= kernels_.size())
      return fail(errc::invalid_argument, fmt::format("There is no kernel {}.", kernel));
    const auto& entry = kernels_[kernel];
    void* all[] = {const_cast<void*>(arguments)};
    const auto& blocks = shape.blocks;
    return with(on, std::string("launching ") + entry.name, [&](cudaStream_t stream) {
      return cudaLaunchKernel(entry.function, dim3(blocks.x, blocks.y, blocks.z), dim3(shape.threads), all,
                              shape.shared_bytes, stream);
    });
  }
  expected<void> copy(stream_id on, address to, address from, std::size_t bytes) override {
    return with(on, fmt::format("copying {} bytes", bytes), [&](cudaStream_t stream) {
      return cudaMemcpyAsync(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes,
                             cudaMemcpyDefault, stream);
    });
  }
  expected<void> open_products() override {
    return bound("opening cuBLASLt", [&]() -> expected<void> {
      if (!products_) {
        auto opened = cublas_lt::open();
        if (!opened)
          return tl::unexpected(opened.error());
        products_ = std::move(*opened);
      }
      return {};
    });
  }
  expected<void> multiply(stream_id on, const matrix_product& what) override {
    return with(on, "multiplying", [&](cudaStream_t stream) {
      return open_products().and_then([&] { return products_->multiply(stream, what); });
    });
  }
  expected<void> fill(stream_id on, address at, std::uint8_t value, std::size_t bytes) override {
    return with(on, fmt::format("filling {} bytes", bytes), [&](cudaStream_t stream) {
      return cudaMemsetAsync(reinterpret_cast<void*>(at), value, bytes, stream);
    });
  }

  expected<void> record(event_id event, stream_id on) override {
    return with(event, "recording an event", [&](cudaEvent_t known) {
      return with(on, "recording an event", [&](cudaStream_t stream) { return cudaEventRecord(known, stream); });
    });
  }
  expected<void> wait(stream_id on, event_id event) override {
    return with(event, "waiting for an event", [&](cudaEvent_t known) {
      return with(on, "waiting for an event",
                  [&](cudaStream_t stream) { return cudaStreamWaitEvent(stream, known, 0); });
    });
  }
  expected<bool> is_done(event_id event) override {
    bool is_ready = true;
    return with(event, "asking for an event",
                [&](cudaEvent_t known) {
                  const auto result = cudaEventQuery(known);
                  is_ready = result != cudaErrorNotReady;
                  return is_ready ? result : cudaSuccess;
                })
      .map([&] { return is_ready; });
  }
  expected<void> synchronize(event_id event) override {
    return with(event, "waiting for an event", [](cudaEvent_t known) { return cudaEventSynchronize(known); });
  }
  expected<void> synchronize(stream_id on) override {
    return with(on, "waiting for a stream", [](cudaStream_t stream) { return cudaStreamSynchronize(stream); });
  }

  expected<void> begin_capture(stream_id on) override {
    return with(on, "beginning a graph",
                [](cudaStream_t stream) { return cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal); });
  }
  expected<graph_id> end_capture(stream_id on) override {
    cudaGraph_t graph = nullptr;
    if (auto done =
          with(on, "ending a graph", [&](cudaStream_t stream) { return cudaStreamEndCapture(stream, &graph); });
        !done)
      return tl::unexpected(done.error());
    cudaGraphExec_t made = nullptr;
    auto done = check(cudaGraphInstantiate(&made, graph, 0), "making a graph");
    cudaGraphDestroy(graph);
    if (!done)
      return tl::unexpected(done.error());
    // It would take its memory with its first launch, when nobody looks for a want of it.
    done =
      with(on, "bringing a graph to the device", [&](cudaStream_t stream) { return cudaGraphUpload(made, stream); });
    if (!done) {
      cudaGraphExecDestroy(made);
      return tl::unexpected(done.error());
    }
    const auto free_place = std::find(graphs_.begin(), graphs_.end(), nullptr);
    const auto number = static_cast<graph_id>(free_place - graphs_.begin());
    if (free_place == graphs_.end())
      graphs_.push_back(made);
    else
      *free_place = made;
    return number;
  }
  expected<void> launch(stream_id on, graph_id graph) override {
    if (auto known = check_known(graph); !known)
      return known;
    return with(on, "launching a graph", [&](cudaStream_t stream) {
      // CUDA would make it a part of the graph that is captured; here no graph is a part of another.
      auto state = cudaStreamCaptureStatusNone;
      if (const auto asked = cudaStreamIsCapturing(stream, &state); asked != cudaSuccess)
        return asked;
      return state == cudaStreamCaptureStatusNone ? cudaGraphLaunch(graphs_[static_cast<std::size_t>(graph)], stream)
                                                  : cudaErrorStreamCaptureUnsupported;
    });
  }

  expected<void> free(graph_id graph) override {
    if (auto known = check_known(graph); !known)
      return known;
    auto& place = graphs_[static_cast<std::size_t>(graph)];
    return bound("freeing a graph", [&] {
      const auto ended = cudaDeviceSynchronize();
      return ended == cudaSuccess ? cudaGraphExecDestroy(std::exchange(place, nullptr)) : ended;
    });
  }

  expected<group_id> make_group_id() override {
    if (auto done = bind(); !done)
      return tl::unexpected(done.error());
    return make_nccl_id();
  }
  expected<std::unique_ptr<collectives>> join_group(const group_id& id, unsigned rank, unsigned ranks) override {
    if (auto done = bind(); !done)
      return tl::unexpected(done.error());
    return join_nccl_group(id, rank, ranks, [this](stream_id on) -> expected<cudaStream_t> {
      cudaStream_t found = nullptr;
      return with(on, "calling a group of ranks",
                  [&](cudaStream_t stream) {
                    found = stream;
                    return cudaSuccess;
                  })
        .map([&] { return found; });
    });
  }

private:
  expected<void> bind() const { return choose(device_); }
  expected<void> check_known(graph_id graph) const {
    if (const auto number = static_cast<std::size_t>(graph); number >= graphs_.size() || !graphs_[number])
      return fail(errc::invalid_argument, fmt::format("There is no graph {}.", static_cast<std::uint32_t>(graph)));
    return {};
  }
  template <class Call>
  expected<void> bound(const std::string& doing, Call call) const {
    if (auto done = bind(); !done)
      return done;
    return told(call(), doing);
  }
  static expected<void> told(cudaError_t result, const std::string& doing) { return check(result, doing); }
  static expected<void> told(expected<void> result, const std::string&) { return result; }

  template <class Call>
  expected<void> with(stream_id id, const std::string& doing, Call call) const {
    const auto number = static_cast<std::size_t>(id);
    if (number >= streams_.size())
      return fail(errc::invalid_argument, fmt::format("There is no stream {}.", number));
    return bound(doing, [&] { return call(streams_[number]); });
  }
  template <class Call>
  expected<void> with(event_id id, const std::string& doing, Call call) const {
    const auto number = static_cast<std::size_t>(id);
    if (number >= events_.size())
      return fail(errc::invalid_argument, fmt::format("There is no event {}.", number));
    return bound(doing, [&] { return call(events_[number]); });
  }

  int device_;
  kernel_table kernels_;
  std::unique_ptr<cublas_lt> products_;
  std::set<address> memory_, pinned_; ///< That nobody has freed.
  std::vector<cudaStream_t> streams_;
  std::vector<cudaEvent_t> events_;
  std::vector<cudaGraphExec_t> graphs_; ///< Null: freed, and the next one's place.
};

} // namespace

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

expected<device_facts> facts_of(int device) {
  cudaDeviceProp found{};
  device_facts out;
  auto done = check(cudaGetDeviceProperties(&found, device), fmt::format("asking for device {}", device));
  const auto ask = [&](cudaDeviceAttr which) {
    int value = 0;
    if (done)
      done = check(cudaDeviceGetAttribute(&value, which, device), fmt::format("asking for device {}", device));
    return value;
  };
  out.name = found.name;
  out.capability = ask(cudaDevAttrComputeCapabilityMajor) * 10 + ask(cudaDevAttrComputeCapabilityMinor);
  out.multiprocessors = ask(cudaDevAttrMultiProcessorCount);
  out.clock_mhz = ask(cudaDevAttrClockRate) / 1000;
  // Both edges of the clock, which is told in kHz; the width in bits.
  out.memory_bytes_per_second = 2e3 * ask(cudaDevAttrMemoryClockRate) * ask(cudaDevAttrGlobalMemoryBusWidth) / 8;
  for (const auto& [asked, to] :
       {std::pair(&cudaDriverGetVersion, &out.driver), {&cudaRuntimeGetVersion, &out.runtime}})
    if (done)
      done = check(asked(to), "asking for versions");
  if (!done)
    return fail(errc::unavailable, done.error().message);
  return out;
}

expected<std::unique_ptr<runtime>> open(int device, kernel_table kernels) {
  int count = 0;
  const auto asked = cudaGetDeviceCount(&count);
  if (asked == cudaErrorNoDevice || asked == cudaErrorInsufficientDriver)
    return fail(errc::unavailable, std::string("There is no CUDA device: ") + cudaGetErrorString(asked) + ".");
  if (asked == cudaSuccess && (device < 0 || device >= count))
    return fail(errc::unavailable, fmt::format("There is no CUDA device {}: this process sees {}.", device, count));
  if (auto done = check(asked, "counting devices"); !done)
    return fail(errc::unavailable, done.error().message);
  if (auto done = choose(device); !done)
    return fail(errc::unavailable, done.error().message);
  if (auto done = check(cudaFree(nullptr), fmt::format("opening device {}", device)); !done) // Makes its context now.
    return fail(errc::unavailable, done.error().message);
  auto opened = std::make_unique<device_runtime>(device, std::move(kernels));
  if (auto done = opened->load_kernels(); !done)
    return fail(errc::unavailable, done.error().message);
  return opened;
}

} // namespace troupe::gpu::cuda
