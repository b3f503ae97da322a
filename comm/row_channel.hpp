// The memory through which one pipeline stage hands rows to the next one, in another thread or process of the host.
//
// Owner: whoever creates it keeps it while others use it: its address is good for so long, and no death leaves anything
// behind. It belongs to one epoch; a new one has a new channel.
//
// Nothing is synchronised here. The stage before writes the rows of a step and then sends a message that says so; the
// stage after reads them when it has that message. The slot of a step is its number modulo `slots`, so there must be as
// many slots as steps may be in flight: the scheduler plans step n + slots when the result of step n is back, and then
// nobody reads n's rows any more. Ranks of the next stage all read the same rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "comm/memory_segment.hpp"

namespace troupe {

struct row_channel_shape {
  std::size_t slots = 0;    ///< The most steps in flight.
  std::size_t max_rows = 0; ///< Of one step.
  std::size_t width = 0;    ///< Of one row, in floats.
};

class row_channel {
public:
  /// Errors: invalid_argument (a shape without room, or with more than a host has), out_of_memory, io. Memory is taken
  /// page by page, when rows are first written there.
  static expected<row_channel> create(const row_channel_shape& shape);
  /// Errors: invalid_argument, out_of_memory, unavailable (its owner is gone), malformed (it has another size).
  static expected<row_channel> open(const std::string& address, const row_channel_shape& shape);

  /// [rows, width]: those of this step, from the beginning of a cache line; rows: at most `max_rows`.
  std::span<float> rows_of(std::uint64_t step, std::size_t rows) const;

  const row_channel_shape& shape() const { return shape_; }
  /// For `open` in other threads, and in other processes of the same user.
  std::string address() const { return memory_.address(); }

private:
  row_channel(const row_channel_shape& shape, memory_segment memory) : shape_(shape), memory_(std::move(memory)) {}

  row_channel_shape shape_;
  memory_segment memory_;
};

} // namespace troupe
