// Takes the fields of one map out of it by name and kind. Internal to protocol/.
//
// A reader keeps the first thing that is wrong and gives defaults from then on, so that a decoder reads like the
// table of fields in docs/protocol.md; `finish` says how it went, and refuses the fields that nobody took.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/frame.hpp"

namespace troupe::detail {

class field_reader {
public:
  /// `subject` names the map in sentences: "generate_request". It must outlive the reader.
  field_reader(frame_map& fields, std::string_view subject) : fields_(fields), subject_(subject) { count(); }

  bool has(std::string_view name) const { return find(name) != nullptr; }

  /// An integer from 0 to what `T` holds, or `lowest` to there.
  template <class T>
  T integer(std::string_view name, T lowest = 0) {
    return static_cast<T>(integer_within(name, lowest, std::numeric_limits<T>::max()));
  }
  template <class T>
  T integer_or(std::string_view name, T absent, T lowest = 0) {
    return has(name) ? integer<T>(name, lowest) : absent;
  }

  token_id token(std::string_view name) {
    return static_cast<token_id>(integer_within(name, 0, std::numeric_limits<token_id>::max()));
  }

  /// An integer in a range that may begin below 0.
  std::int32_t integer_or(std::string_view name, std::int32_t absent, std::int32_t lowest, std::int32_t highest);

  bool boolean(std::string_view name);
  bool boolean_or(std::string_view name, bool absent) { return has(name) ? boolean(name) : absent; }

  /// A float or an integer.
  double number(std::string_view name);

  /// A number in a range, rounded to 32 bits.
  float real(std::string_view name, float lowest, float highest);
  float real_or(std::string_view name, float absent, float lowest, float highest) {
    return has(name) ? real(name, lowest, highest) : absent;
  }

  std::string text(std::string_view name) { return std::string{text_view(name)}; }
  std::string text_or_none(std::string_view name) { return has(name) ? text(name) : std::string{}; }
  /// Valid as long as the frame's bytes.
  std::string_view text_view(std::string_view name);

  std::vector<token_id> tokens(std::string_view name);
  std::vector<token_id> tokens_or_none(std::string_view name) {
    return has(name) ? tokens(name) : std::vector<token_id>{};
  }
  std::vector<float> numbers(std::string_view name);
  std::vector<std::string> texts_or_none(std::string_view name);

  /// A map: `read(field_reader&)` takes its fields.
  template <class Read>
  void map(std::string_view name, Read read);

  /// An array of maps: `read(field_reader&)` takes the fields of each. `fields` says in a sentence what they have.
  template <class Read>
  void maps(std::string_view name, std::string_view fields, Read read);
  template <class Read>
  void maps_or_none(std::string_view name, std::string_view fields, Read read) {
    if (has(name))
      maps(name, fields, read);
  }

  /// Notes a failure, if it is the first.
  void refuse(errc code, std::string sentence);

  /// What a field is called in sentences. Those of a map inside another are named by their whole path,
  /// "messages[2].role"; others by their name.
  std::string path(std::string_view name) const;

  bool failed() const { return failure_.has_value(); }

  /// The first failure, or `unknown_field` where a field is left that no one took.
  expected<void> finish() const;

private:
  static constexpr std::size_t no_index = static_cast<std::size_t>(-1);

  /// A map inside another one: `parent`'s field of this name, or one element of it.
  field_reader(frame_map& fields, const field_reader& parent, std::string_view name, std::size_t index)
      : fields_(fields), subject_(name), parent_(&parent), index_(index) {
    count();
  }

  void count() {
    for (const frame_field& field : fields_)
      left_ += !field.taken;
  }

  const frame_field* find(std::string_view name) const {
    if (left_ != 0) // All that are there may have been taken already, and most fields are optional.
      for (const frame_field& field : fields_)
        if (field.name == name)
          return &field;
    return nullptr;
  }

  frame_value* take(std::string_view name);
  void wrong_kind(std::string_view name, std::string_view wanted, const frame_value& value);
  void out_of_range(std::string_view name, std::string value, std::string lowest, std::string highest);
  std::uint64_t integer_within(std::string_view name, std::uint64_t lowest, std::uint64_t highest);
  void take_over(const field_reader& inner);
  std::string subject() const;

  frame_map& fields_;
  std::string_view subject_;
  const field_reader* parent_ = nullptr;
  std::size_t index_ = no_index;
  std::size_t left_ = 0; ///< Fields that have not been taken.
  std::optional<error> failure_;
};

template <class Read>
void field_reader::map(std::string_view name, Read read) {
  frame_value* value = take(name);
  if (!value)
    return;
  auto* fields = std::get_if<frame_map>(&value->data);
  if (!fields)
    return wrong_kind(name, "a map", *value);
  field_reader inner{*fields, *this, name, no_index};
  read(inner);
  take_over(inner);
}

template <class Read>
void field_reader::maps(std::string_view name, std::string_view fields, Read read) {
  frame_value* value = take(name);
  if (!value)
    return;
  auto* array = std::get_if<frame_array>(&value->data);
  if (!array)
    return wrong_kind(name, "an array of maps", *value);
  for (std::size_t i = 0; i < array->size() && !failed(); ++i) {
    auto* each = std::get_if<frame_map>(&(*array)[i].data);
    if (!each)
      return wrong_kind(std::string{name} + '[' + std::to_string(i) + ']', "a map of " + std::string{fields},
                        (*array)[i]);
    field_reader inner{*each, *this, name, i};
    read(inner);
    take_over(inner);
  }
}

} // namespace troupe::detail
