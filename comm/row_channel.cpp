#include "comm/row_channel.hpp"

#include <cassert>
#include <utility>

namespace troupe {

namespace {

constexpr std::size_t line_floats = 16;
constexpr std::size_t most_bytes = std::size_t{1} << 40;

std::size_t slot_floats(const row_channel_shape& shape) {
  return (shape.max_rows * shape.width + line_floats - 1) / line_floats * line_floats;
}

expected<std::size_t> bytes_of(const row_channel_shape& shape) {
  constexpr std::size_t most = most_bytes / sizeof(float);
  if (shape.slots == 0 || shape.max_rows == 0 || shape.width == 0 || shape.max_rows > most / shape.width ||
      slot_floats(shape) > most / shape.slots)
    return fail(errc::invalid_argument, "Memory for rows between stages needs a slot, a row and a width, and no more "
                                        "than a terabyte.");
  return shape.slots * slot_floats(shape) * sizeof(float);
}

} // namespace

expected<row_channel> row_channel::create(const row_channel_shape& shape) {
  return bytes_of(shape)
    .and_then([](std::size_t bytes) { return memory_segment::create(bytes); })
    .map([&](auto memory) { return row_channel(shape, std::move(memory)); });
}

expected<row_channel> row_channel::open(const std::string& address, const row_channel_shape& shape) {
  return bytes_of(shape)
    .and_then([&](std::size_t bytes) { return memory_segment::open(address, bytes); })
    .map([&](auto memory) { return row_channel(shape, std::move(memory)); });
}

std::span<float> row_channel::rows_of(std::uint64_t step, std::size_t rows) const {
  assert(rows <= shape_.max_rows);
  auto* all = reinterpret_cast<float*>(memory_.data());
  return {all + step % shape_.slots * slot_floats(shape_), rows * shape_.width};
}

} // namespace troupe
