// A device that only counts: the code that allocates runs on it to know what it will want of a real one.
//
// Its addresses are not of any memory, pinned ones neither: nothing may be written there. What is queued on it does not run.
#pragma once

#include <algorithm>
#include <memory>

#include "gpu/collectives.hpp"
#include "gpu/runtime.hpp"

namespace troupe::gpu {

class counting_device final : public runtime {
public:
  std::uint64_t bytes() const { return bytes_; }
  /// By so much CUDA makes these allocations larger, at most: it maps whole pages, and small ones share some.
  std::uint64_t rounding() const { return pages_ + rounded_up(small_, page_bytes) - bytes_; }

  expected<address> allocate(std::size_t bytes) override {
    bytes_ += bytes;
    if (bytes >= page_bytes / 2)
      pages_ += rounded_up(bytes, page_bytes);
    else
      small_ += rounded_up(bytes, small_bytes);
    return next_ += page_bytes;
  }
  expected<void> free(address) override { return {}; }
  expected<address> allocate_pinned(std::size_t) override { return next_ += page_bytes; }
  expected<void> free_pinned(address) override { return {}; }
  expected<memory_account> memory() override { return memory_account{}; }
  expected<stream_id> make_stream() override { return stream_id{}; }
  expected<event_id> make_event() override { return event_id{}; }
  expected<void> launch(stream_id, kernel_id, const grid_shape&, const void*) override { return {}; }
  expected<void> copy(stream_id, address, address, std::size_t) override { return {}; }
  expected<void> open_products() override {
    return allocate(product_workspace_bytes).map([](address) {});
  }
  expected<void> multiply(stream_id, const matrix_product&) override { return {}; }
  expected<void> fill(stream_id, address, std::uint8_t, std::size_t) override { return {}; }
  expected<void> record(event_id, stream_id) override { return {}; }
  expected<void> wait(stream_id, event_id) override { return {}; }
  expected<bool> is_done(event_id) override { return true; }
  expected<void> synchronize(event_id) override { return {}; }
  expected<void> synchronize(stream_id) override { return {}; }
  expected<void> begin_capture(stream_id) override { return {}; }
  expected<graph_id> end_capture(stream_id) override { return graph_id{}; }
  expected<void> launch(stream_id, graph_id) override { return {}; }
  expected<void> free(graph_id) override { return {}; }
  expected<group_id> make_group_id() override { return group_id{}; }
  expected<std::unique_ptr<collectives>> join_group(const group_id&, unsigned, unsigned) override {
    return fail(errc::unavailable, "A device that only counts joins no group.");
  }

private:
  static constexpr std::uint64_t page_bytes = std::uint64_t{2} << 20, small_bytes = 512;
  static constexpr std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t to) {
    return (bytes + to - 1) / to * to;
  }

  std::uint64_t bytes_ = 0, pages_ = 0, small_ = 0;
  address next_ = 0;
};

} // namespace troupe::gpu
