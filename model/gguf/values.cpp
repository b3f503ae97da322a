// Walks metadata values, so that whatever reads them later finds them whole.
#include <fmt/format.h>

#include "model/gguf/header.hpp"

namespace troupe::gguf {

namespace {

constexpr std::uint64_t array_header_bytes = 4 + 8;

std::string value_of(std::string_view key) {
  return "the value of " + quoted(key);
}

expected<void> check_booleans(cursor& at, std::uint64_t count, std::string_view key) {
  const auto bytes = at.peek(count);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] > std::byte{1})
      return malformed_at(at.position() + i, fmt::format("A truth value of {} is {} and not 0 or 1", quoted(key),
                                                         std::to_integer<unsigned>(bytes[i])));
  }
  return {};
}

expected<void> skip_scalars(cursor& at, value_type type, std::uint64_t count, std::string_view key) {
  if (type == value_type::boolean) {
    if (auto good = check_booleans(at, count, key); !good)
      return good;
  }
  at.advance(count * scalar_bytes(type));
  return {};
}

expected<void> skip_array(cursor& at, std::string_view key, std::uint32_t nesting) {
  if (nesting >= max_array_nesting)
    return fail(errc::limit_exceeded, fmt::format("The value of {} nests arrays over {} deep (at byte {}).", quoted(key),
                                                  max_array_nesting, at.position()));
  const auto element = read_value_type(at, key);
  if (!element)
    return tl::unexpected(element.error());
  const auto scalar = scalar_bytes(*element);
  const auto least = scalar != 0 ? scalar : *element == value_type::string ? 8 : array_header_bytes;
  const auto what = fmt::format("elements of {}", quoted(key));
  const auto count = at.read_count(what, least);
  if (!count)
    return tl::unexpected(count.error());
  if (scalar != 0)
    return skip_scalars(at, *element, *count, key);
  for (std::uint64_t i = 0; i < *count; ++i) {
    if (auto good = skip_value(at, *element, key, nesting + 1); !good)
      return good;
  }
  return {};
}

} // namespace

std::uint32_t scalar_bytes(value_type type) {
  switch (type) {
    case value_type::u8:
    case value_type::i8:
    case value_type::boolean: return 1;
    case value_type::u16:
    case value_type::i16: return 2;
    case value_type::u32:
    case value_type::i32:
    case value_type::f32: return 4;
    case value_type::u64:
    case value_type::i64:
    case value_type::f64: return 8;
    case value_type::string:
    case value_type::array: return 0;
  }
  return 0;
}

expected<value_type> read_value_type(cursor& at, std::string_view key) {
  const auto start = at.position();
  const auto number = at.read<std::uint32_t>("the type of a metadata value");
  if (!number)
    return tl::unexpected(number.error());
  if (*number > static_cast<std::uint32_t>(value_type::f64))
    return malformed_at(start, fmt::format("The value of {} has type {}, which GGUF does not know", quoted(key), *number));
  return static_cast<value_type>(*number);
}

expected<void> skip_value(cursor& at, value_type type, std::string_view key, std::uint32_t nesting) {
  if (type == value_type::array)
    return skip_array(at, key, nesting);
  if (type == value_type::string) {
    // The common case, hundreds of thousands of them: build the message's words only where it is needed.
    const auto start = at.position();
    if (at.read_string("a metadata value", at.remaining()))
      return {};
    return tl::unexpected(cursor(at.whole(), start).read_string(value_of(key), at.remaining()).error());
  }
  if (at.remaining() < scalar_bytes(type))
    return at.truncated(value_of(key));
  return skip_scalars(at, type, 1, key);
}

} // namespace troupe::gguf
