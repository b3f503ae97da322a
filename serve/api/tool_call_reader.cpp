#include "serve/api/tool_call_reader.hpp"

#include <utility>

#include "serve/api/json_body.hpp"

namespace troupe::serve {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// A string with its quotes; empty where it is none.
std::string unquoted(const std::string& text) {
  const auto value = json::parse(text, nullptr, false);
  return value.is_string() ? value.get<std::string>() : std::string();
}

} // namespace

bool tool_call_reader::in_string(char c) {
  if (escaped_)
    escaped_ = false;
  else if (c == '\\')
    escaped_ = true;
  else if (c == '"')
    string_ = false;
  return string_;
}

tool_call_reader::state tool_call_reader::feed(char c) {
  if (state_ != state::reading)
    return state_;
  switch (step_) {
  case step::key:
    key_ += c;
    if (!in_string(c))
      step_ = step::after_key;
    return key_.size() > max_tool_name_bytes ? fail() : state_;
  case step::value:
    return continue_value(c);
  default:
    break;
  }
  if (is_space(c))
    return state_;
  switch (step_) {
  case step::before_object:
    step_ = step::before_key;
    return c == '{' ? state_ : fail();
  case step::before_key:
    if (c != '"')
      return fail(); // An empty object, too: it is no call.
    key_ = c;
    string_ = true;
    step_ = step::key;
    return state_;
  case step::after_key:
    step_ = step::before_value;
    return c == ':' ? state_ : fail();
  case step::before_value:
    return begin_value(c);
  case step::after_value:
    if (c == ',') {
      step_ = step::before_key;
      return state_;
    }
    return c == '}' && has_name_ ? state_ = state::done : fail();
  default:
    return fail();
  }
}

tool_call_reader::state tool_call_reader::begin_value(char c) {
  const auto key = unquoted(key_);
  member_ = key == "name"                               ? member::name
            : key == "arguments" || key == "parameters" ? member::arguments
                                                        : member::other;
  const bool again = (member_ == member::name && has_name_) || (member_ == member::arguments && has_arguments_);
  const bool opens = c == '{' || c == '[';
  if (again || (member_ == member::name && c != '"') || (member_ == member::arguments && c != '"' && c != '{'))
    return fail();
  if (c == '}' || c == ']' || c == ',' || c == ':')
    return fail();
  quoted_ = string_ = c == '"';
  depth_ = opens;
  raw_ = quoted_ ? "\"" : "";
  if (member_ == member::arguments) {
    has_arguments_ = true;
    if (!quoted_)
      arguments_ += c;
  }
  step_ = step::value;
  return state_;
}

tool_call_reader::state tool_call_reader::continue_value(char c) {
  const bool keeps_raw = quoted_ && member_ != member::other;
  if (string_) {
    const bool goes_on = in_string(c);
    if (keeps_raw)
      raw_ += c;
    else if (member_ == member::arguments)
      arguments_ += c;
    if (member_ == member::name && raw_.size() > max_tool_name_bytes)
      return fail();
    return !goes_on && depth_ == 0 ? end_value() : state_;
  }
  if (depth_ == 0 && (is_space(c) || c == ',' || c == '}' || c == ']')) { // The end of a number or a word.
    step_ = step::after_value;
    return feed(c);
  }
  if (member_ == member::arguments)
    arguments_ += c;
  if (c == '"')
    string_ = true;
  else if (c == '{' || c == '[')
    ++depth_;
  else if ((c == '}' || c == ']') && --depth_ == 0)
    return end_value();
  return state_;
}

tool_call_reader::state tool_call_reader::end_value() {
  step_ = step::after_value;
  if (member_ == member::name) {
    name_ = unquoted(raw_);
    has_name_ = !name_.empty();
    return has_name_ ? state_ : fail();
  }
  if (member_ == member::arguments && quoted_)
    arguments_ = unquoted(raw_);
  return state_;
}

std::string tool_call_reader::take_arguments() {
  return std::exchange(arguments_, {});
}

} // namespace troupe::serve
