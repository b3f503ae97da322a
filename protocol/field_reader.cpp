#include "protocol/field_reader.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "protocol/limits.hpp"
#include "protocol/utf8.hpp"

namespace troupe::detail {

bool field_reader::has(std::string_view name) const {
  return std::any_of(fields_.begin(), fields_.end(), [&](const frame_field& field) { return field.name == name; });
}

void field_reader::refuse(errc code, std::string sentence) {
  if (!failure_)
    failure_ = error{code, std::move(sentence)};
}

/// Fields of a map inside another are named by their whole path, "messages[2].role"; others by their name.
std::string field_reader::path(std::string_view name) const {
  return subject_.ends_with(']') ? fmt::format("{}.{}", subject_, name) : std::string{name};
}

frame_value* field_reader::take(std::string_view name) {
  for (frame_field& field : fields_)
    if (field.name == name) {
      field.taken = true;
      return &field.value;
    }
  refuse(errc::invalid_argument, fmt::format("Field '{}' is missing from {}.", path(name), subject_));
  return nullptr;
}

void field_reader::wrong_kind(std::string_view name, std::string_view wanted, const frame_value& value) {
  refuse(errc::invalid_argument,
         fmt::format("Field '{}' must be {}, but is {}.", path(name), wanted, describe(value)));
}

std::uint64_t field_reader::integer_within(std::string_view name, std::uint64_t lowest, std::uint64_t highest) {
  const frame_value* value = take(name);
  if (!value)
    return lowest;
  const auto* whole = std::get_if<std::uint64_t>(&value->data);
  const auto* negative = std::get_if<std::int64_t>(&value->data);
  if (!whole && !negative) {
    wrong_kind(name, "an integer", *value);
    return lowest;
  }
  if (negative || *whole < lowest || *whole > highest) {
    refuse(errc::invalid_argument,
           fmt::format("Field '{}' is {}, but must be from {} to {}.", path(name),
                       negative ? std::to_string(*negative) : std::to_string(*whole), lowest, highest));
    return lowest;
  }
  return *whole;
}

bool field_reader::boolean_or(std::string_view name, bool absent) {
  if (!has(name))
    return absent;
  const frame_value* value = take(name);
  if (const auto* flag = std::get_if<bool>(&value->data))
    return *flag;
  wrong_kind(name, "a boolean", *value);
  return absent;
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

std::string_view field_reader::text_view(std::string_view name) {
  const frame_value* value = take(name);
  if (!value)
    return {};
  if (const auto* text = std::get_if<std::string_view>(&value->data))
    return *text;
  wrong_kind(name, "a string", *value);
  return {};
}

std::string field_reader::text(std::string_view name) {
  return std::string{text_view(name)};
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

std::vector<chat_message> field_reader::messages(std::string_view name) {
  std::vector<chat_message> messages;
  frame_value* value = take(name);
  if (!value)
    return messages;
  auto* array = std::get_if<frame_array>(&value->data);
  if (!array) {
    wrong_kind(name, "an array of maps", *value);
    return messages;
  }
  for (std::size_t i = 0; i < array->size() && !failed(); ++i) {
    auto* fields = std::get_if<frame_map>(&(*array)[i].data);
    if (!fields) {
      wrong_kind(fmt::format("{}[{}]", name, i), "a map of role and content", (*array)[i]);
      break;
    }
    field_reader reader{*fields, fmt::format("{}[{}]", name, i)};
    chat_message message;
    message.role = reader.text("role");
    message.content = reader.text("content");
    if (auto read = reader.finish(); !read)
      refuse(read.error().code, read.error().message);
    messages.push_back(std::move(message));
  }
  return messages;
}

expected<void> field_reader::finish() const {
  if (failure_)
    return tl::unexpected<error>(*failure_);
  for (const frame_field& field : fields_)
    if (!field.taken)
      return fail(errc::unknown_field, fmt::format("{} has no field {}: version {} of the protocol does not know it.",
                                                   subject_, in_quotes(field.name), protocol_version));
  return {};
}

} // namespace troupe::detail
