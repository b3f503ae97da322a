#include "protocol/field_reader.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "protocol/limits.hpp"
#include "protocol/utf8.hpp"

namespace troupe::detail {

void field_reader::refuse(errc code, std::string sentence) {
  if (!failure_)
    failure_ = error{code, std::move(sentence)};
}

std::string field_reader::subject() const {
  if (!parent_)
    return std::string{subject_};
  const std::string name = parent_->path(subject_);
  return index_ == no_index ? name : fmt::format("{}[{}]", name, index_);
}

std::string field_reader::path(std::string_view name) const {
  return parent_ ? fmt::format("{}.{}", subject(), name) : std::string{name};
}

frame_value* field_reader::take(std::string_view name) {
  if (left_ != 0)
    for (frame_field& field : fields_)
      if (field.name == name) {
        left_ -= !field.taken;
        field.taken = true;
        return &field.value;
      }
  refuse(errc::invalid_argument, fmt::format("Field '{}' is missing from {}.", path(name), subject()));
  return nullptr;
}

void field_reader::wrong_kind(std::string_view name, std::string_view wanted, const frame_value& value) {
  refuse(errc::invalid_argument,
         fmt::format("Field '{}' must be {}, but is {}.", path(name), wanted, describe(value)));
}

void field_reader::out_of_range(std::string_view name, std::string value, std::string lowest, std::string highest) {
  refuse(errc::invalid_argument,
         fmt::format("Field '{}' is {}, but must be from {} to {}.", path(name), value, lowest, highest));
}

void field_reader::take_over(const field_reader& inner) {
  if (auto read = inner.finish(); !read)
    refuse(read.error().code, std::move(read.error().message));
}

std::uint64_t field_reader::integer_within(std::string_view name, std::uint64_t lowest, std::uint64_t highest) {
  const frame_value* value = take(name);
  if (!value)
    return lowest;
  const auto* whole = std::get_if<std::uint64_t>(&value->data);
  const auto* negative = std::get_if<std::int64_t>(&value->data);
  if (whole && *whole >= lowest && *whole <= highest)
    return *whole;
  if (whole || negative)
    out_of_range(name, negative ? std::to_string(*negative) : std::to_string(*whole), std::to_string(lowest),
                 std::to_string(highest));
  else
    wrong_kind(name, "an integer", *value);
  return lowest;
}

std::int32_t field_reader::integer_or(std::string_view name, std::int32_t absent, std::int32_t lowest,
                                      std::int32_t highest) {
  if (!has(name))
    return absent;
  const frame_value* value = take(name);
  const auto* whole = std::get_if<std::uint64_t>(&value->data);
  const auto* negative = std::get_if<std::int64_t>(&value->data);
  if (whole && *whole <= static_cast<std::uint64_t>(std::max(highest, 0)) &&
      static_cast<std::int32_t>(*whole) >= lowest)
    return static_cast<std::int32_t>(*whole);
  if (negative && *negative >= lowest && *negative <= highest)
    return static_cast<std::int32_t>(*negative);
  if (whole || negative)
    out_of_range(name, negative ? std::to_string(*negative) : std::to_string(*whole), std::to_string(lowest),
                 std::to_string(highest));
  else
    wrong_kind(name, "an integer", *value);
  return absent;
}

bool field_reader::boolean(std::string_view name) {
  const frame_value* value = take(name);
  if (!value)
    return false;
  if (const auto* flag = std::get_if<bool>(&value->data))
    return *flag;
  wrong_kind(name, "a boolean", *value);
  return false;
}

double field_reader::number(std::string_view name) {
  const frame_value* value = take(name);
  if (!value)
    return 0;
  if (const auto* number = std::get_if<double>(&value->data))
    return *number;
  if (const auto* whole = std::get_if<std::uint64_t>(&value->data))
    return static_cast<double>(*whole);
  if (const auto* negative = std::get_if<std::int64_t>(&value->data))
    return static_cast<double>(*negative);
  wrong_kind(name, "a number", *value);
  return 0;
}

/// A float of 64 bits may be over what one of 32 holds: such a one must stay out of range instead of being converted.
float field_reader::real(std::string_view name, float lowest, float highest) {
  const double value = number(name);
  if (failed())
    return lowest;
  if (value >= lowest && value <= highest)
    return static_cast<float>(value);
  out_of_range(name, fmt::format("{}", value), fmt::format("{}", lowest), fmt::format("{}", highest));
  return lowest;
}

std::string_view field_reader::text_view(std::string_view name) {
  const frame_value* value = take(name);
  if (!value)
    return {};
  if (const auto* text = std::get_if<std::string_view>(&value->data))
    return *text;
  wrong_kind(name, "a string", *value);
  return {};
}

std::vector<token_id> field_reader::tokens(std::string_view name) {
  frame_value* value = take(name);
  if (!value)
    return {};
  if (auto* tokens = std::get_if<frame_integers>(&value->data)) {
    const auto negative = std::find_if(tokens->begin(), tokens->end(), [](token_id id) { return id < 0; });
    if (negative != tokens->end())
      refuse(errc::invalid_argument, fmt::format("Field '{}[{}]' is {}, but token ids start at 0.", path(name),
                                                 negative - tokens->begin(), *negative));
    return std::move(*tokens);
  }
  if (const auto* array = std::get_if<frame_array>(&value->data); array && array->empty())
    return {};
  wrong_kind(name, "an array of integers", *value);
  return {};
}

std::vector<float> field_reader::numbers(std::string_view name) {
  frame_value* value = take(name);
  if (!value)
    return {};
  if (auto* numbers = std::get_if<frame_numbers>(&value->data))
    return std::move(*numbers);
  if (const auto* array = std::get_if<frame_array>(&value->data); array && array->empty())
    return {};
  wrong_kind(name, "an array of floats", *value);
  return {};
}

std::vector<std::string> field_reader::texts_or_none(std::string_view name) {
  std::vector<std::string> texts;
  if (!has(name))
    return texts;
  const frame_value* value = take(name);
  const auto* array = std::get_if<frame_array>(&value->data);
  if (!array) {
    wrong_kind(name, "an array of strings", *value);
    return texts;
  }
  for (std::size_t i = 0; i < array->size() && !failed(); ++i) {
    if (const auto* text = std::get_if<std::string_view>(&(*array)[i].data))
      texts.emplace_back(*text);
    else
      wrong_kind(fmt::format("{}[{}]", name, i), "a string", (*array)[i]);
  }
  return texts;
}

expected<void> field_reader::finish() const {
  if (failure_)
    return tl::unexpected<error>(*failure_);
  if (left_ != 0)
    for (const frame_field& field : fields_)
      if (!field.taken)
        return fail(errc::unknown_field,
                    fmt::format("{} has no field {}: version {} of the protocol does not know it.", subject(),
                                in_quotes(field.name), protocol_version));
  return {};
}

} // namespace troupe::detail
