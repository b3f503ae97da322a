// What a field may be, as JSON Schema (draft 2020-12). Whoever reads the field checks the same limits, by the same names; the
// documents are made of these: docs/openai-fields.md in words, /openapi.json as they are.
//
// A kind is a function without arguments, so that tables of fields are constant: `kind::integer<1, max_choices>`.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api/json_body.hpp"

namespace troupe::serve {

using field_kind = json (*)();

/// A text that is a template's parameter.
template <std::size_t Size>
struct fixed_text {
  char text[Size]{};
  constexpr fixed_text(const char (&from)[Size]) { std::copy_n(from, Size, text); }
  constexpr std::string_view view() const { return {text, Size - 1}; }
};

inline constexpr auto any_length = std::numeric_limits<std::uint32_t>::max();

/// "integer, 1 to 128"; of a list what is in it, in the plural; a kind with a title is called by it.
std::string words_of(const json& schema);

/// The same, and null, which counts as absent.
json or_null(json schema);

namespace kind {

json anything();
json boolean();
json integer(); ///< Of 64 bits, with a sign or without.
json count();   ///< Of 64 bits, 0 or more.
json text();
json object(); ///< With any members.
json token_id();
json function_name(); ///< Of a tool.

json integer_within(std::int64_t lowest, std::int64_t highest);
json number_within(double lowest, double highest, bool without_lowest);
json text_within(std::size_t least, std::size_t most);
json list_of(json items, std::size_t most, std::size_t least = 0);
json map_of(json values);
json constant(json value);
json choice_of(std::vector<std::string_view> words);
json any_of(std::vector<json> kinds);

/// Text that says an object in JSON.
json json_text();

/// One of the shapes that objects of this kind have: some members are needed, some are not there, and one may have a kind of
/// its own.
struct variant {
  std::vector<std::string_view> needed, without;
  std::string_view member{};
  json kind{};
};
json variant_of(json object, const variant& how);

template <std::int64_t Lowest, std::int64_t Highest>
json integer_in() {
  return integer_within(Lowest, Highest);
}

/// For an unsigned one of 32 bits.
template <std::int64_t Lowest>
json integer_from() {
  return integer_within(Lowest, any_length);
}

template <auto Lowest, auto Highest>
json number_in() {
  return number_within(Lowest, Highest, false);
}

/// A share that must not be nothing.
inline json share() {
  return number_within(0, 1, true);
}

template <std::size_t Most>
json text_up_to() {
  return text_within(0, Most);
}

/// With at least one character.
template <std::size_t Most>
json filled_text() {
  return text_within(1, Most);
}

template <field_kind Items, std::size_t Most = any_length>
json list() {
  return list_of(Items(), Most);
}

/// With at least one item.
template <field_kind Items, std::size_t Most = any_length>
json filled_list() {
  return list_of(Items(), Most, 1);
}

template <field_kind Values>
json map() {
  return map_of(Values());
}

template <auto Value>
json only() {
  return constant(Value);
}

/// One of these words.
template <fixed_text... Words>
json word() {
  return choice_of({Words.view()...});
}

template <field_kind... Kinds>
json either() {
  return any_of({Kinds()...});
}

} // namespace kind

} // namespace troupe::serve
