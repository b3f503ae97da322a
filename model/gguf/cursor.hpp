// A bounded reader over a GGUF header: nothing is read, skipped or counted that is not there.
//
// Owner: whoever reads, on one thread. Positions are byte offsets in the file, and every error names one.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "protocol/error.hpp"

namespace troupe::gguf {

static_assert(std::endian::native == std::endian::little, "GGUF files are read in place, as little-endian.");

/// A name out of a file, fit for a message: quoted, cut to `max_bytes`, bytes that are not printable ASCII escaped.
std::string quoted(std::string_view text, std::size_t max_bytes = 80);

/// `malformed`, with the offset and what to do.
tl::unexpected<error> malformed_at(std::uint64_t offset, std::string_view what);

class cursor {
public:
  explicit cursor(std::span<const std::byte> bytes, std::uint64_t position = 0) : bytes_(bytes), position_(position) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return bytes_.size() - position_; }

  /// Reads one little-endian number. `what` ends the sentence "The file ends in ...".
  template <class T>
  expected<T> read(std::string_view what) {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    if (remaining() < sizeof(T))
      return truncated(what);
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  /// A length and as many bytes, as a view.
  expected<std::string_view> read_string(std::string_view what, std::uint64_t max_bytes);

  /// `count` things that take at least `min_bytes_each`: refuses a count for which the file has no room.
  expected<std::uint64_t> read_count(std::string_view what, std::uint64_t min_bytes_each);

  /// Steps over bytes that are there: `count` came out of `remaining()` or `read_count`.
  void advance(std::uint64_t count) { position_ += count; }

  std::span<const std::byte> whole() const { return bytes_; }
  std::span<const std::byte> peek(std::uint64_t count) const { return bytes_.subspan(position_, count); }

  tl::unexpected<error> truncated(std::string_view what) const;

private:
  std::span<const std::byte> bytes_;
  std::uint64_t position_;
};

} // namespace troupe::gguf
