// msgpack, written straight into one piece of memory. Internal to protocol/.
//
// A server that streams writes hundreds of thousands of small maps a second, so a name is one copy of bytes that the
// compiler knows, and memory is asked for rarely: the storage keeps its size and is used again for the next frame.
// Integers take their shortest form; floats keep their width, and what is not finite, which stands nowhere in the
// protocol, becomes the nearest number that is.
//
// Threads: one at a time. Source of the format: the msgpack specification (github.com/msgpack).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

namespace troupe::detail {

class wire_writer {
public:
  /// Writes from the beginning of `storage`, which grows as needed and never shrinks.
  explicit wire_writer(std::string& storage) : storage_(storage) { room(); }

  wire_writer(const wire_writer&) = delete;

  /// What has been written; valid until the storage is used again.
  std::string_view written() const { return {storage_.data(), size()}; }
  std::size_t size() const { return static_cast<std::size_t>(at_ - storage_.data()); }

  /// A map of so many fields, or an array of so many values, follows.
  void map(std::size_t fields) { header(fields, 0x80, 0xde); }
  void array(std::size_t values) { header(values, 0x90, 0xdc); }

  /// A literal of at most 31 bytes: a field's name.
  template <std::size_t N>
  void name(const char (&literal)[N]) {
    static_assert(N - 1 <= 31);
    need(N);
    *at_++ = static_cast<char>(0xa0 | (N - 1));
    std::memcpy(at_, literal, N - 1);
    at_ += N - 1;
  }

  void whole(std::uint64_t value) {
    need(9);
    if (value < 0x80)
      *at_++ = static_cast<char>(value);
    else if (value <= 0xff)
      tagged<std::uint8_t>(0xcc, value);
    else if (value <= 0xffff)
      tagged<std::uint16_t>(0xcd, value);
    else if (value <= 0xffffffff)
      tagged<std::uint32_t>(0xce, value);
    else
      tagged<std::uint64_t>(0xcf, value);
  }

  void integer(std::int64_t value) {
    if (value >= 0)
      return whole(static_cast<std::uint64_t>(value));
    need(9);
    if (value >= -32)
      *at_++ = static_cast<char>(value);
    else if (value >= std::numeric_limits<std::int8_t>::min())
      tagged<std::uint8_t>(0xd0, static_cast<std::uint64_t>(value));
    else if (value >= std::numeric_limits<std::int16_t>::min())
      tagged<std::uint16_t>(0xd1, static_cast<std::uint64_t>(value));
    else if (value >= std::numeric_limits<std::int32_t>::min())
      tagged<std::uint32_t>(0xd2, static_cast<std::uint64_t>(value));
    else
      tagged<std::uint64_t>(0xd3, static_cast<std::uint64_t>(value));
  }

  void boolean(bool value) {
    need(1);
    *at_++ = static_cast<char>(value ? 0xc3 : 0xc2);
  }

  void number(float value) {
    need(5);
    tagged<std::uint32_t>(0xca, std::bit_cast<std::uint32_t>(finite(value)));
  }

  void number(double value) {
    need(9);
    tagged<std::uint64_t>(0xcb, std::bit_cast<std::uint64_t>(finite(value)));
  }

  void text(std::string_view value) {
    need(value.size() + 5);
    if (value.size() < 32)
      *at_++ = static_cast<char>(0xa0 | value.size());
    else if (value.size() <= 0xff)
      tagged<std::uint8_t>(0xd9, value.size());
    else if (value.size() <= 0xffff)
      tagged<std::uint16_t>(0xda, value.size());
    else
      tagged<std::uint32_t>(0xdb, value.size());
    if (!value.empty())
      std::memcpy(at_, value.data(), value.size());
    at_ += value.size();
  }

private:
  void need(std::size_t bytes) {
    if (static_cast<std::size_t>(end_ - at_) < bytes)
      grow(bytes);
  }

  void grow(std::size_t bytes) {
    const std::size_t used = size();
    storage_.resize(std::max<std::size_t>(2 * storage_.size(), used + bytes + 256));
    room();
    at_ += used;
  }

  void room() {
    at_ = storage_.data();
    end_ = at_ + storage_.size();
  }

  template <class Bits>
  void tagged(std::uint8_t tag, std::uint64_t value) {
    *at_++ = static_cast<char>(tag);
    for (int shift = 8 * (static_cast<int>(sizeof(Bits)) - 1); shift >= 0; shift -= 8)
      *at_++ = static_cast<char>(value >> shift);
  }

  void header(std::size_t count, std::uint8_t small, std::uint8_t large) {
    need(5);
    if (count < 16)
      *at_++ = static_cast<char>(small | count);
    else if (count <= 0xffff)
      tagged<std::uint16_t>(large, count);
    else
      tagged<std::uint32_t>(static_cast<std::uint8_t>(large + 1), count);
  }

  template <class Float>
  static Float finite(Float value) {
    constexpr Float most = std::numeric_limits<Float>::max();
    if (std::isfinite(value)) [[likely]]
      return value;
    return std::isnan(value) || value < 0 ? -most : most;
  }

  std::string& storage_;
  char* at_ = nullptr;
  char* end_ = nullptr;
};

} // namespace troupe::detail
