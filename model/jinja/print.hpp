// Values as text: str(), repr() and json.dumps(), as Python writes them. Strings keep their provenance, and what
// stands around them (quotes, brackets, numbers) counts as the template's.
#pragma once

#include <string>
#include <string_view>

#include "model/jinja/value.hpp"

namespace troupe::jinja {

void print(workspace& ws, text_builder& out, const value& v); ///< str(v); nothing for undefined.
void represent(workspace& ws, text_builder& out, const value& v); ///< repr(v)
std::string represent(double number);

/// A string value as it is, anything else printed.
value to_string(workspace& ws, const value& v);
/// &, <, >, ' and " as HTML entities; the result is markup.
value escape_markup(workspace& ws, const value& v);

struct json_style {
  bool ascii_only = false;
  bool sort_keys = false;
  bool multiline = false;
  std::string indent; ///< Of one level, if multiline.
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
void write_json(workspace& ws, text_builder& out, const value& v, const json_style& style);

} // namespace troupe::jinja
