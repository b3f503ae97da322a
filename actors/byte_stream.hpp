// The smallest parts of what travels between processes of one build on one machine: numbers, lists, text.
//
// A writer and a reader have the same members, so one function that names the fields of a value in their order, once,
// both writes and reads it (actors/wire.cpp). Numbers are varints of seven bits a byte; signed ones, and differences to
// a number that is likely near, are zigzag: 0, -1, 1, -2 and so on. Floats keep all their bits.
// Source: https://protobuf.dev/programming-guides/encoding/
//
// A reader never reads past its bytes and believes no count: a list grows as its entries come. Once something was wrong
// it gives zeros and empty lists, and says what was wrong first.
//
// Threads: one at a time.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace troupe::detail {

template <std::unsigned_integral T>
constexpr T zigzag(T difference) {
  return static_cast<T>(static_cast<T>(difference << 1) ^
                        (difference >> (std::numeric_limits<T>::digits - 1) ? ~T{} : T{}));
}

template <std::unsigned_integral T>
constexpr T unzigzag(T number) {
  return static_cast<T>((number >> 1) ^ (number & 1 ? ~T{} : T{}));
}

template <class T>
concept whole_number = std::integral<T> && !std::same_as<T, bool>;

class byte_writer {
public:
  static constexpr bool reads = false;

  void reserve(std::size_t bytes) { bytes_.reserve(bytes); }
  std::vector<std::byte> take() { return std::move(bytes_); }

  template <whole_number T>
  void number(const T& value) {
    const auto bits = static_cast<std::make_unsigned_t<T>>(value);
    varint(std::signed_integral<T> ? zigzag(bits) : bits);
  }

  /// A number that is likely near `guess`.
  template <std::unsigned_integral T>
  void near(const T& value, std::type_identity_t<T> guess) {
    varint(zigzag(static_cast<T>(value - guess)));
  }

  /// Only if it is not the guess, as a flag that was written before says.
  template <std::unsigned_integral T>
  void unless(bool guessed, const T& value, std::type_identity_t<T> guess) {
    if (!guessed)
      near(value, guess);
  }

  template <std::floating_point T>
  void bits(const T& value) {
    raw(std::as_bytes(std::span(&value, 1)));
  }

  /// One byte.
  template <std::same_as<bool>... T>
  void flags(const T&... all) {
    static_assert(sizeof...(T) <= 8);
    unsigned byte = 0, bit = 1;
    ((byte |= all ? bit : 0, bit <<= 1), ...);
    bytes_.push_back(static_cast<std::byte>(byte));
  }

  void text(const std::string& value) { sized(std::as_bytes(std::span(value))); }
  void blob(const std::vector<std::byte>& value) { sized(value); }

  /// each(entry, the one before it; the first has one of nothing before it)
  template <class T, class Each>
  void list(const std::vector<T>& all, Each each) {
    number(all.size());
    const T none{};
    const T* before = &none;
    for (const auto& one : all) {
      each(one, *before);
      before = &one;
    }
  }

  /// Nothing, the same as `before`, or a value of its own, which value(it) writes.
  template <class T, class Value>
  void shared(const std::shared_ptr<const T>& one, const std::shared_ptr<const T>& before, Value value) {
    number(!one ? 0u : one == before ? 1u : 2u);
    if (one && one != before)
      value(*one);
  }

private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7)
      bytes_.push_back(static_cast<std::byte>(value | 0x80));
    bytes_.push_back(static_cast<std::byte>(value));
  }
  void raw(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void sized(std::span<const std::byte> bytes) {
    number(bytes.size());
    raw(bytes);
  }

  std::vector<std::byte> bytes_;
};

class byte_reader {
public:
  static constexpr bool reads = true;

  explicit byte_reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t left() const { return problem_ ? 0 : bytes_.size() - at_; }
  /// What was wrong first, and before which byte; null: nothing.
  const char* problem() const { return problem_; }
  std::size_t position() const { return at_; }
  void refuse(const char* problem) { problem_ = problem_ ? problem_ : problem; }

  template <whole_number T>
  void number(T& value) {
    const auto bits = narrow<std::make_unsigned_t<T>>();
    value = static_cast<T>(std::signed_integral<T> ? unzigzag(bits) : bits);
  }

  template <std::unsigned_integral T>
  void near(T& value, std::type_identity_t<T> guess) {
    value = static_cast<T>(guess + unzigzag(narrow<T>()));
  }

  template <std::unsigned_integral T>
  void unless(bool guessed, T& value, std::type_identity_t<T> guess) {
    if (guessed)
      value = guess;
    else
      near(value, guess);
  }

  template <std::floating_point T>
  void bits(T& value) {
    if (const auto bytes = take(sizeof value); !bytes.empty())
      std::memcpy(&value, bytes.data(), sizeof value);
  }

  template <std::same_as<bool>... T>
  void flags(T&... all) {
    const auto byte = narrow_byte();
    unsigned bit = 1;
    ((all = (byte & bit) != 0, bit <<= 1), ...);
    if (byte >= bit)
      refuse("flags that nobody knows are set");
  }

  void text(std::string& value) {
    const auto bytes = sized();
    value.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void blob(std::vector<std::byte>& value) {
    const auto bytes = sized();
    value.assign(bytes.begin(), bytes.end());
  }

  template <class T, class Each>
  void list(std::vector<T>& all, Each each) {
    const auto count = size("a list would have more entries than bytes are left");
    all.clear();
    all.reserve(std::min(count, left() / sizeof(T) + 64));
    const T none{};
    for (std::size_t i = 0; i < count && !problem_; ++i) {
      all.emplace_back();
      each(all[i], i == 0 ? none : std::as_const(all[i - 1]));
    }
  }

  template <class T, class Value>
  void shared(std::shared_ptr<const T>& one, const std::shared_ptr<const T>& before, Value value) {
    unsigned kind = 0;
    number(kind);
    one = nullptr;
    if (kind == 1 && before) {
      one = before;
    } else if (kind == 2) {
      auto own = std::make_shared<T>();
      value(*own);
      one = std::move(own);
    } else if (kind != 0) {
      refuse("a value is neither shared nor its own");
    }
  }

private:
  unsigned narrow_byte() {
    const auto byte = take(1);
    return byte.empty() ? 0 : std::to_integer<unsigned>(byte[0]);
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint64_t byte = narrow_byte();
      if (shift == 63 && byte > 1)
        break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80)
        return value;
    }
    refuse("a number is too large");
    return 0;
  }

  template <std::unsigned_integral T>
  T narrow() {
    const auto value = varint();
    if (value > std::numeric_limits<T>::max())
      refuse("a number is too large for its field");
    return problem_ ? T{} : static_cast<T>(value);
  }

  /// Of what follows; each entry has at least one byte.
  std::size_t size(const char* problem) {
    const auto count = narrow<std::size_t>();
    if (count > left())
      refuse(problem);
    return problem_ ? 0 : count;
  }

  std::span<const std::byte> sized() { return take(size("a text would have more bytes than are left")); }

  /// Empty if there are not as many.
  std::span<const std::byte> take(std::size_t count) {
    if (count > left()) {
      refuse("they end too early");
      return {};
    }
    const auto out = bytes_.subspan(at_, count);
    at_ += count;
    return out;
  }

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  const char* problem_ = nullptr;
};

} // namespace troupe::detail
