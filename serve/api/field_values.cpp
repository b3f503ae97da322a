#include "serve/api/field_values.hpp"

#include <limits>

#include <fmt/format.h>

#include "protocol/utf8.hpp"

namespace troupe::serve {
namespace {

std::string_view kind_of(const json& value) {
  switch (value.type()) {
  case json::value_t::null:
    return "null";
  case json::value_t::object:
    return "an object";
  case json::value_t::array:
    return "a list";
  case json::value_t::string:
    return "a string";
  case json::value_t::boolean:
    return "a boolean";
  case json::value_t::number_float:
    return "a number with a fraction";
  default:
    return "an integer";
  }
}

/// Short enough for a sentence.
std::string shown(const json& value) {
  if (value.is_string())
    return in_quotes(value.get_ref<const std::string&>());
  if (value.is_structured())
    return std::string(kind_of(value));
  return to_text(value);
}

/// Whether it is an integer in the range; JSON's unsigned numbers reach beyond int64.
bool within(const json& value, std::int64_t lowest, std::int64_t highest) {
  if (value.is_number_unsigned())
    return highest >= 0 && value.get<std::uint64_t>() <= static_cast<std::uint64_t>(highest) &&
           (lowest < 0 || value.get<std::uint64_t>() >= static_cast<std::uint64_t>(lowest));
  return value.is_number_integer() && value.get<std::int64_t>() >= lowest && value.get<std::int64_t>() <= highest;
}

template <class Integer>
expected<void> read_integer(const place& at, Integer& to) {
  auto value = integer_at(at, std::numeric_limits<Integer>::min(), std::numeric_limits<Integer>::max());
  if (!value)
    return tl::unexpected(std::move(value.error()));
  to = static_cast<Integer>(*value);
  return {};
}

} // namespace

tl::unexpected<error> wrong_kind(std::string_view path, const json& value, std::string_view wanted) {
  return fail(errc::invalid_argument, fmt::format("Field '{}' is {}, but must be {}.", path, kind_of(value), wanted));
}

tl::unexpected<error> wrong_kind(const place& at, std::string_view wanted) {
  return wrong_kind(at.path, at.value, wanted);
}

tl::unexpected<error> wrong_value(const place& at, std::string_view what) {
  return fail(errc::invalid_argument, fmt::format("Field '{}' is {}, but {}.", at.path, shown(at.value), what));
}

expected<std::int64_t> integer_at(const place& at, std::int64_t lowest, std::int64_t highest) {
  if (!at.value.is_number_integer())
    return wrong_kind(at, "an integer");
  if (!within(at.value, lowest, highest))
    return wrong_value(at, fmt::format("must be from {} to {}", lowest, highest));
  return at.value.get<std::int64_t>();
}

expected<void> read_into(const place& at, bool& to) {
  if (!at.value.is_boolean())
    return wrong_kind(at, "a boolean");
  to = at.value.get<bool>();
  return {};
}

expected<void> read_into(const place& at, float& to) {
  if (!at.value.is_number())
    return wrong_kind(at, "a number");
  const auto exact = at.value.get<double>();
  if (exact > std::numeric_limits<float>::max() || exact < std::numeric_limits<float>::lowest())
    return wrong_value(at, "that is out of range");
  to = static_cast<float>(exact);
  if (exact > 0 && to == 0) // 0 may mean something else than "very little".
    to = std::numeric_limits<float>::denorm_min();
  return {};
}

expected<void> read_into(const place& at, std::uint32_t& to) {
  return read_integer(at, to);
}

expected<void> read_into(const place& at, std::int32_t& to) {
  return read_integer(at, to);
}

expected<void> read_into(const place& at, std::string& to) {
  if (!at.value.is_string())
    return wrong_kind(at, "a string");
  to = at.value.get_ref<const std::string&>();
  return {};
}

expected<void> read_into(const place& at, std::vector<std::string>& to) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of strings");
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    if (!at.value[i].is_string())
      return wrong_kind(at.item(i), "a string");
    to.push_back(at.value[i].get_ref<const std::string&>());
  }
  return {};
}

expected<void> read_into(const place& at, std::vector<token_id>& to) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of token ids");
  constexpr auto highest = std::numeric_limits<token_id>::max();
  to.reserve(at.value.size());
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    if (!within(at.value[i], 0, highest)) // Only then is a name for it made.
      return tl::unexpected(integer_at(at.item(i), 0, highest).error());
    to.push_back(at.value[i].get<token_id>());
  }
  return {};
}

} // namespace troupe::serve
