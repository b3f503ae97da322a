// Metadata values, decoded from the mapping when they are asked for.
#include <algorithm>
#include <concepts>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "model/gguf/contents.hpp"

namespace troupe::gguf {

namespace {

/// How much of each element `describe` shows, in bytes.
constexpr std::size_t max_element_bytes = 40;

/// A value that was found: its type, and a cursor at its first byte.
struct located {
  value_type type;
  cursor at;
};

template <class T>
constexpr std::string_view name_of() {
  if constexpr (std::same_as<T, bool>) return "a truth value";
  else if constexpr (std::same_as<T, std::int32_t>) return "an integer that fits 32 bits";
  else if constexpr (std::same_as<T, std::uint32_t>) return "an integer from 0 that fits 32 bits";
  else if constexpr (std::same_as<T, std::int64_t>) return "an integer that fits 64 bits";
  else if constexpr (std::same_as<T, std::uint64_t>) return "an integer from 0 that fits 64 bits";
  else if constexpr (std::floating_point<T>) return "a floating-point number";
  else if constexpr (std::same_as<T, std::string_view>) return "a string";
  else if constexpr (std::same_as<T, std::vector<std::string_view>>) return "an array of strings";
  else if constexpr (std::same_as<T, std::vector<std::int32_t>>) return "an array of wide integers that fit 32 bits";
  else return "an array of floating-point numbers";
}

template <class To, class From>
std::optional<To> convert(From value) {
  if constexpr (std::integral<To> && std::integral<From>) {
    if (std::in_range<To>(value))
      return static_cast<To>(value);
    return std::nullopt;
  } else if constexpr (std::floating_point<To> && std::floating_point<From>) {
    return static_cast<To>(value);
  } else {
    return std::nullopt;
  }
}

template <class To, class From>
std::optional<To> read_as(cursor& at) {
  const auto value = at.read<From>("a metadata value");
  return value ? convert<To>(*value) : std::nullopt;
}

/// The number at the cursor, which moves past it; nothing where it is no number or does not fit.
template <class To>
std::optional<To> read_number(cursor& at, value_type type) {
  switch (type) {
    case value_type::u8: return read_as<To, std::uint8_t>(at);
    case value_type::i8: return read_as<To, std::int8_t>(at);
    case value_type::u16: return read_as<To, std::uint16_t>(at);
    case value_type::i16: return read_as<To, std::int16_t>(at);
    case value_type::u32: return read_as<To, std::uint32_t>(at);
    case value_type::i32: return read_as<To, std::int32_t>(at);
    case value_type::u64: return read_as<To, std::uint64_t>(at);
    case value_type::i64: return read_as<To, std::int64_t>(at);
    case value_type::f32: return read_as<To, float>(at);
    case value_type::f64: return read_as<To, double>(at);
    case value_type::boolean:
    case value_type::string:
    case value_type::array: return std::nullopt;
  }
  return std::nullopt;
}

template <class T>
std::optional<T> decode(located value);

template <>
std::optional<bool> decode(located value) {
  if (value.type != value_type::boolean)
    return std::nullopt;
  const auto byte = value.at.read<std::uint8_t>("a truth value");
  return byte ? std::optional(*byte != 0) : std::nullopt;
}

template <>
std::optional<std::string_view> decode(located value) {
  if (value.type != value_type::string)
    return std::nullopt;
  const auto text = value.at.read_string("a metadata value", value.at.remaining());
  return text ? std::optional(*text) : std::nullopt;
}

template <class T>
  requires std::integral<T> || std::floating_point<T>
std::optional<T> decode_number(located value) {
  return read_number<T>(value.at, value.type);
}

struct array_header {
  value_type element;
  std::uint64_t count;
};

std::optional<array_header> read_array_header(located& value) {
  if (value.type != value_type::array)
    return std::nullopt;
  const auto element = value.at.read<std::uint32_t>("the type of an array");
  if (!element)
    return std::nullopt;
  const auto count = value.at.read_count("elements", 1); // The header's check knows the elements' real size.
  if (!count)
    return std::nullopt;
  return array_header{static_cast<value_type>(*element), *count};
}

std::optional<std::vector<std::string_view>> decode_strings(located value) {
  const auto array = read_array_header(value);
  if (!array || array->element != value_type::string)
    return std::nullopt;
  std::vector<std::string_view> out;
  out.reserve(array->count);
  for (std::uint64_t i = 0; i < array->count; ++i) {
    const auto text = value.at.read_string("a metadata value", value.at.remaining());
    if (!text)
      return std::nullopt;
    out.push_back(*text);
  }
  return out;
}

template <class T>
std::optional<std::vector<T>> decode_numbers(located value) {
  const auto array = read_array_header(value);
  if (!array || scalar_bytes(array->element) < 2)
    return std::nullopt;
  const bool floating = array->element == value_type::f32 || array->element == value_type::f64;
  if (floating != std::floating_point<T>)
    return std::nullopt;
  std::vector<T> out;
  out.reserve(array->count);
  for (std::uint64_t i = 0; i < array->count; ++i) {
    const auto number = read_number<T>(value.at, array->element);
    if (!number)
      return std::nullopt;
    out.push_back(*number);
  }
  return out;
}

template <class T>
std::optional<T> decode_any(const located& value) {
  if constexpr (std::same_as<T, bool> || std::same_as<T, std::string_view>) return decode<T>(value);
  else if constexpr (std::same_as<T, std::vector<std::string_view>>) return decode_strings(value);
  else if constexpr (std::same_as<T, std::vector<std::int32_t>>) return decode_numbers<std::int32_t>(value);
  else if constexpr (std::same_as<T, std::vector<float>>) return decode_numbers<float>(value);
  else return decode_number<T>(value);
}

std::optional<std::uint64_t> find_entry(std::span<const std::byte> bytes, const header& head, std::string_view key) {
  const auto& index = head.by_key;
  const auto found = std::lower_bound(index.begin(), index.end(), key, [&](auto i, std::string_view wanted) {
    return key_at(bytes, head.entries[i]) < wanted;
  });
  if (found == index.end() || key_at(bytes, head.entries[*found]) != key)
    return std::nullopt;
  return head.entries[*found];
}

/// The entry at `offset` was checked when the file was opened, so what is read here is there.
located locate(std::span<const std::byte> bytes, std::uint64_t offset) {
  cursor at(bytes, offset);
  (void)at.read_string("a metadata key", max_key_bytes);
  const auto type = at.read<std::uint32_t>("the type of a metadata value");
  return {static_cast<value_type>(type.value_or(0)), at};
}

std::string type_name(located value) {
  if (const auto array = read_array_header(value))
    return fmt::format("an array of {} {}", array->count, to_string(array->element));
  return fmt::format("of type {}", to_string(value.type));
}

std::string show(cursor& at, value_type type, std::size_t max_bytes);

std::string show_array(cursor& at, std::size_t max_bytes) {
  located value{value_type::array, at};
  const auto array = read_array_header(value);
  if (!array)
    return {};
  std::string out = "[";
  for (std::uint64_t i = 0; i < array->count; ++i) {
    if (i > 0)
      out += ", ";
    if (out.size() >= max_bytes) {
      out += "...";
      break;
    }
    out += show(value.at, array->element, std::min(max_bytes, max_element_bytes));
  }
  at = value.at; // Only whole where nothing was cut; after a cut nobody reads on.
  return out + "]";
}

std::string show(cursor& at, value_type type, std::size_t max_bytes) {
  switch (type) {
    case value_type::boolean: return at.read<std::uint8_t>("a truth value").value_or(0) != 0 ? "true" : "false";
    case value_type::string: return quoted(at.read_string("a string", at.remaining()).value_or(""), max_bytes);
    case value_type::array: return show_array(at, max_bytes);
    case value_type::f32: return fmt::format("{}", at.read<float>("a number").value_or(0));
    case value_type::f64: return fmt::format("{}", at.read<double>("a number").value_or(0));
    case value_type::u64: return fmt::format("{}", at.read<std::uint64_t>("a number").value_or(0));
    default: return fmt::format("{}", read_number<std::int64_t>(at, type).value_or(0));
  }
}

} // namespace

template <class T>
expected<T> file::get(std::string_view key) const {
  const auto bytes = contents_->pages.bytes();
  const auto offset = find_entry(bytes, contents_->head, key);
  if (!offset)
    return fail(errc::not_found, fmt::format("The model file has no metadata {}. Use a complete model file.", quoted(key)));
  const auto value = locate(bytes, *offset);
  if (auto out = decode_any<T>(value))
    return std::move(*out);
  cursor shown = value.at;
  return fail(errc::malformed,
              fmt::format("The metadata {} is {} with the value {}, where {} belongs (at byte {}). Use another model file, "
                          "or convert it again.", quoted(key), type_name(value), show(shown, value.type, 80),
                          name_of<T>(), *offset));
}

template expected<bool> file::get<bool>(std::string_view) const;
template expected<std::int32_t> file::get<std::int32_t>(std::string_view) const;
template expected<std::uint32_t> file::get<std::uint32_t>(std::string_view) const;
template expected<std::int64_t> file::get<std::int64_t>(std::string_view) const;
template expected<std::uint64_t> file::get<std::uint64_t>(std::string_view) const;
template expected<float> file::get<float>(std::string_view) const;
template expected<double> file::get<double>(std::string_view) const;
template expected<std::string_view> file::get<std::string_view>(std::string_view) const;
template expected<std::vector<std::string_view>> file::get<std::vector<std::string_view>>(std::string_view) const;
template expected<std::vector<std::int32_t>> file::get<std::vector<std::int32_t>>(std::string_view) const;
template expected<std::vector<float>> file::get<std::vector<float>>(std::string_view) const;

bool file::has(std::string_view key) const {
  return find_entry(contents_->pages.bytes(), contents_->head, key).has_value();
}

std::size_t file::metadata_count() const {
  return contents_->head.entries.size();
}

metadata_entry file::metadata(std::size_t index) const {
  const auto bytes = contents_->pages.bytes();
  const auto offset = contents_->head.entries[index];
  auto value = locate(bytes, offset);
  metadata_entry entry{key_at(bytes, offset), value.type, value.type, 1};
  if (const auto array = read_array_header(value)) {
    entry.element_type = array->element;
    entry.count = array->count;
  }
  return entry;
}

std::string file::describe(std::string_view key, std::size_t max_bytes) const {
  const auto bytes = contents_->pages.bytes();
  const auto offset = find_entry(bytes, contents_->head, key);
  if (!offset)
    return {};
  auto value = locate(bytes, *offset);
  return show(value.at, value.type, max_bytes);
}

} // namespace troupe::gguf
