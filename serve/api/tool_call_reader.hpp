// One tool call in generated text: a JSON object with a name and arguments, read a character at a time.
//
// `{"name": "f", "arguments": {...}}`, where "parameters" is another word for arguments, other members are passed over,
// and the order does not matter. The call is announced when its name is known and its arguments have begun, and from
// then on they come as they are written. What comes does not depend on how the text is cut.
#pragma once

#include <string>
#include <string_view>

namespace troupe::serve {

inline constexpr std::size_t max_tool_name_bytes = 256;

class tool_call_reader {
public:
  enum class state {
    reading,
    done,   ///< The object is closed.
    failed, ///< It is no object of this kind.
  };

  /// Takes the next character.
  state feed(char c);

  state now() const { return state_; }

  /// The call is certain: name and beginning of the arguments are there, or the object is closed and has a name.
  bool announced() const { return has_name_ && (has_arguments_ || state_ == state::done); }

  const std::string& name() const { return name_; }
  bool has_arguments() const { return has_arguments_; }

  /// What has come of the arguments since the last time. They are as the model wrote them, JSON or not.
  std::string take_arguments();

private:
  enum class step { before_object, before_key, key, after_key, before_value, value, after_value };
  enum class member { other, name, arguments };

  state fail() { return state_ = state::failed; }
  state begin_value(char c);
  state continue_value(char c);
  state end_value();
  bool in_string(char c); ///< Takes a character of a string; false when it was the closing quote.

  state state_ = state::reading;
  step step_ = step::before_object;
  member member_ = member::other;
  std::string key_;
  std::string raw_; ///< Of a name, or of arguments that are a string: with quotes.
  std::string name_;
  std::string arguments_;
  bool has_name_ = false;
  bool has_arguments_ = false;
  bool string_ = false;   ///< Within a string.
  bool escaped_ = false;  ///< After a backslash.
  bool quoted_ = false;   ///< The arguments are a string, which holds them.
  std::size_t depth_ = 0; ///< Open brackets of the value.
};

} // namespace troupe::serve
