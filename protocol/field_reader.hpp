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
  /// `subject` names the map in sentences: "generate_request", "messages[2]".
  field_reader(frame_map& fields, std::string subject) : fields_(fields), subject_(std::move(subject)) {}

  bool has(std::string_view name) const;

  /// An integer from 0 to what `T` holds, or `lowest` to there.
  template <class T>
  T integer(std::string_view name, T lowest = 0) {
    return static_cast<T>(integer_within(name, lowest, std::numeric_limits<T>::max()));
  }
  template <class T>
  T integer_or(std::string_view name, T absent, T lowest = 0) {
    return has(name) ? integer<T>(name, lowest) : absent;
  }

  bool boolean_or(std::string_view name, bool absent);

  /// A float or an integer.
  double number(std::string_view name);
  double number_or(std::string_view name, double absent) { return has(name) ? number(name) : absent; }

  std::string text(std::string_view name);
  /// Valid as long as the frame's bytes.
  std::string_view text_view(std::string_view name);

  std::vector<token_id> tokens(std::string_view name);
  std::vector<std::string> texts_or_none(std::string_view name);
  std::vector<chat_message> messages(std::string_view name);

  /// Notes a failure, if it is the first.
  void refuse(errc code, std::string sentence);

  bool failed() const { return failure_.has_value(); }

  /// The first failure, or `unknown_field` where a field is left that no one took.
  expected<void> finish() const;

private:
  frame_value* take(std::string_view name);
  void wrong_kind(std::string_view name, std::string_view wanted, const frame_value& value);
  std::uint64_t integer_within(std::string_view name, std::uint64_t lowest, std::uint64_t highest);
  std::string path(std::string_view name) const;

  frame_map& fields_;
  std::string subject_;
  std::optional<error> failure_;
};

} // namespace troupe::detail
