#include "gpu/cuda/runtime.hpp"

#include <vector>

#include <cuda_runtime_api.h>
#include <fmt/format.h>

namespace troupe::gpu::cuda {

namespace {

constexpr std::size_t shared_bytes_without_asking = 48 << 10;

/// doing: "launching rms_norm".
expected<void> check(cudaError_t result, const std::string& doing) {
  if (result == cudaSuccess)
    return {};
  const auto code = result == cudaErrorMemoryAllocation ? errc::out_of_memory : errc::internal;
  return fail(code, fmt::format("CUDA, {}: {} ({}).", doing, cudaGetErrorString(result), cudaGetErrorName(result)));
}

class device_runtime final : public runtime {
public:
  explicit device_runtime(kernel_table kernels) : kernels_(std::move(kernels)), asked_(kernels_.size()) {}

  ~device_runtime() override {
    // After an error nothing of this works, and the process ends.
    for (const auto each : graphs_)
      cudaGraphExecDestroy(each);
    for (const auto each : events_)
      cudaEventDestroy(each);
    for (const auto each : streams_)
      cudaStreamDestroy(each);
  }

  expected<address> allocate(std::size_t bytes) override {
    void* at = nullptr;
    return check(cudaMalloc(&at, bytes), fmt::format("allocating {} bytes", bytes)).map([&] {
      return reinterpret_cast<address>(at);
    });
  }
  expected<void> free(address at) override { return check(cudaFree(reinterpret_cast<void*>(at)), "freeing memory"); }
  expected<address> allocate_pinned(std::size_t bytes) override {
    void* at = nullptr;
    return check(cudaMallocHost(&at, bytes), fmt::format("pinning {} bytes", bytes)).map([&] {
      return reinterpret_cast<address>(at);
    });
  }
  expected<void> free_pinned(address at) override {
    return check(cudaFreeHost(reinterpret_cast<void*>(at)), "freeing pinned memory");
  }
  expected<memory_account> memory() override {
    memory_account account;
    return check(cudaMemGetInfo(&account.free_bytes, &account.total_bytes), "asking for its memory").map([&] {
      return account;
    });
  }

  expected<stream_id> make_stream() override {
    cudaStream_t made = nullptr;
    return check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "making a stream").map([&] {
      streams_.push_back(made);
      return static_cast<stream_id>(streams_.size() - 1);
    });
  }
  expected<event_id> make_event() override {
    cudaEvent_t made = nullptr;
    return check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "making an event").map([&] {
      events_.push_back(made);
      return static_cast<event_id>(events_.size() - 1);
    });
  }

  expected<void> launch(stream_id on, kernel_id kernel, const grid_shape& shape, const void* arguments) override {
    const auto& entry = kernels_.at(kernel);
    if (shape.shared_bytes > std::max(asked_[kernel], shared_bytes_without_asking)) {
      if (auto done =
            check(cudaFuncSetAttribute(entry.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(shape.shared_bytes)),
                  fmt::format("asking for {} bytes of shared memory for {}", shape.shared_bytes, entry.name));
          !done)
        return done;
      asked_[kernel] = shape.shared_bytes;
    }
    void* all[] = {const_cast<void*>(arguments)};
    const auto& blocks = shape.blocks;
    return check(cudaLaunchKernel(entry.function, dim3(blocks.x, blocks.y, blocks.z), dim3(shape.threads), all,
                                  shape.shared_bytes, of(on)),
                 std::string("launching ") + entry.name);
  }
  expected<void> copy(stream_id on, address to, address from, std::size_t bytes) override {
    return check(cudaMemcpyAsync(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes,
                                 cudaMemcpyDefault, of(on)),
                 fmt::format("copying {} bytes", bytes));
  }
  expected<void> fill(stream_id on, address at, std::uint8_t value, std::size_t bytes) override {
    return check(cudaMemsetAsync(reinterpret_cast<void*>(at), value, bytes, of(on)),
                 fmt::format("filling {} bytes", bytes));
  }

  expected<void> record(event_id event, stream_id on) override {
    return check(cudaEventRecord(of(event), of(on)), "recording an event");
  }
  expected<void> wait(stream_id on, event_id event) override {
    return check(cudaStreamWaitEvent(of(on), of(event), 0), "waiting for an event");
  }
  expected<bool> is_done(event_id event) override {
    const auto result = cudaEventQuery(of(event));
    if (result == cudaErrorNotReady)
      return false;
    return check(result, "asking for an event").map([] { return true; });
  }
  expected<void> synchronize(event_id event) override {
    return check(cudaEventSynchronize(of(event)), "waiting for an event");
  }
  expected<void> synchronize(stream_id on) override {
    return check(cudaStreamSynchronize(of(on)), "waiting for a stream");
  }

  expected<void> begin_capture(stream_id on) override {
    return check(cudaStreamBeginCapture(of(on), cudaStreamCaptureModeThreadLocal), "beginning a graph");
  }
  expected<graph_id> end_capture(stream_id on) override {
    cudaGraph_t graph = nullptr;
    if (const auto result = cudaStreamEndCapture(of(on), &graph); result == cudaErrorStreamCaptureUnjoined)
      return fail(errc::invalid_argument, "A stream that has joined the capture was not waited for.");
    else if (auto done = check(result, "ending a graph"); !done)
      return tl::unexpected(done.error());
    cudaGraphExec_t made = nullptr;
    auto done = check(cudaGraphInstantiate(&made, graph, 0), "making a graph");
    cudaGraphDestroy(graph);
    return done.map([&] {
      graphs_.push_back(made);
      return static_cast<graph_id>(graphs_.size() - 1);
    });
  }
  expected<void> launch(stream_id on, graph_id graph) override {
    return check(cudaGraphLaunch(graphs_.at(static_cast<std::size_t>(graph)), of(on)), "launching a graph");
  }

private:
  cudaStream_t of(stream_id id) const { return streams_.at(static_cast<std::size_t>(id)); }
  cudaEvent_t of(event_id id) const { return events_.at(static_cast<std::size_t>(id)); }

  kernel_table kernels_;
  std::vector<std::size_t> asked_; ///< Bytes of shared memory that were asked for, by kernel.
  std::vector<cudaStream_t> streams_;
  std::vector<cudaEvent_t> events_;
  std::vector<cudaGraphExec_t> graphs_;
};

} // namespace

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
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
  if (auto done = check(cudaSetDevice(device), fmt::format("choosing device {}", device)); !done)
    return fail(errc::unavailable, done.error().message);
  if (auto done = check(cudaFree(nullptr), fmt::format("opening device {}", device)); !done) // Makes its context now.
    return fail(errc::unavailable, done.error().message);
  return std::make_unique<device_runtime>(std::move(kernels));
}

} // namespace troupe::gpu::cuda
