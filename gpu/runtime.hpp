// What the host asks of a device: memory, streams, events, graphs, launches. gpu/cuda/ has it on CUDA, gpu/shim/ without a GPU;
// all host code of the backend is written against this, and is the same for both.
//
// Owner: one thread. What is queued on a stream runs later, in order; streams know nothing of each other but through events.
// Errors of what runs later are told by whatever is called next, and by everything after that: after one, the device is lost.
// All calls with an id have invalid_argument for one that nobody made.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "gpu/kernel.hpp"
#include "protocol/error.hpp"

namespace troupe::gpu {

/// Of device memory, or of pinned memory of the host (where it is a pointer).
using address = std::uint64_t;

enum class stream_id : std::uint32_t {};
enum class event_id : std::uint32_t {};
enum class graph_id : std::uint32_t {};

/// What the ranks of a group begin with: one makes it and gives it to all others.
using group_id = std::array<std::byte, 128>;

class collectives;

struct memory_account {
  std::size_t free_bytes = 0, total_bytes = 0; ///< Free for this process, whatever has the rest.
};

/// What the vendor's library of large products works in; it wants 32 MiB for the newest devices.
inline constexpr std::size_t product_workspace_bytes = std::size_t{32} << 20;

/// sums[r, n] = sum over k of rows[r, k] * weights[n, k], plus what is there where it `accumulates`.
struct matrix_product {
  address rows = 0;    ///< bf16 [row count, inputs]
  address weights = 0; ///< bf16 [outputs, inputs]
  address sums = 0;    ///< float32 [row count, stride], of which the first `outputs` of each row
  std::uint32_t row_count = 0, outputs = 0, inputs = 0, stride = 0;
  bool accumulates = false;
};

class runtime {
public:
  virtual ~runtime() = default;

  /// Uninitialised, aligned to 256 bytes. Errors: out_of_memory.
  virtual expected<address> allocate(std::size_t bytes) = 0;
  /// Waits for everything that is queued.
  virtual expected<void> free(address at) = 0;
  virtual expected<address> allocate_pinned(std::size_t bytes) = 0;
  virtual expected<void> free_pinned(address at) = 0;
  virtual expected<memory_account> memory() = 0;

  virtual expected<stream_id> make_stream() = 0;
  virtual expected<event_id> make_event() = 0;

  /// arguments: as many bytes as the kernel's entry says, copied now.
  virtual expected<void> launch(stream_id on, kernel_id kernel, const grid_shape& shape, const void* arguments) = 0;
  /// Between device memory and pinned memory, in any direction, never to where it comes from. Pinned memory is read when the copy runs,
  /// not now: until then it must stay as it is. In a graph, that is from each launch on.
  virtual expected<void> copy(stream_id on, address to, address from, std::size_t bytes) = 0;
  /// Opens the vendor's library for large products and allocates its `product_workspace_bytes`, so that nothing is left to be allocated
  /// when the first one comes; a second call does nothing. Errors: unavailable (the library is not there), out_of_memory.
  virtual expected<void> open_products() = 0;
  /// A large product, by that library, which is opened now if nobody has. Addresses are aligned to 16 bytes; inputs are a multiple of 8.
  /// Errors: also those of open_products.
  virtual expected<void> multiply(stream_id on, const matrix_product& what) = 0;
  virtual expected<void> fill(stream_id on, address at, std::uint8_t value, std::size_t bytes) = 0;

  /// The event stands for all that is queued on the stream so far.
  virtual expected<void> record(event_id event, stream_id on) = 0;
  /// What is queued on the stream from now on runs after what the event stands for now; nothing, if it was never recorded.
  virtual expected<void> wait(stream_id on, event_id event) = 0;
  virtual expected<bool> is_done(event_id event) = 0;
  virtual expected<void> synchronize(event_id event) = 0;
  virtual expected<void> synchronize(stream_id on) = 0;

  /// From now on what is queued on the stream, and on others that wait for events of it, becomes a graph, and does not run. Until it
  /// ends there is no other capture; nothing is allocated, freed, waited for by the host or asked; captured streams wait for events of
  /// this capture alone, and no graph is launched on them. What breaks that is an invalid_argument, and breaks the capture: it can only
  /// be ended, which fails. An event that was recorded in a capture stands for nothing behind its end, until it is recorded again.
  virtual expected<void> begin_capture(stream_id on) = 0;
  /// on: the stream that it was begun on. Errors: invalid_argument (another stream that has joined was not waited for, or the capture is
  /// broken), out_of_memory (all that it will ever need is allocated now).
  virtual expected<graph_id> end_capture(stream_id on) = 0;
  /// All of it once, as if it were one thing on the stream. The memory that it uses must not have been freed.
  virtual expected<void> launch(stream_id on, graph_id graph) = 0;
  /// Gives its memory back; it is none any more. Waits for what is queued.
  virtual expected<void> free(graph_id graph) = 0;

  /// For `join_group`, here and in other processes. This one must live until all have joined. Errors: unavailable (the library is not
  /// there, or too old).
  virtual expected<group_id> make_group_id() = 0;
  /// Begins to make a rank of a group, and returns at once: gpu/collectives.hpp. Errors: unavailable, invalid_argument (no such rank).
  virtual expected<std::unique_ptr<collectives>> join_group(const group_id& id, unsigned rank, unsigned ranks) = 0;
};

} // namespace troupe::gpu
