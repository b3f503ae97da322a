// Filters on any value: numbers, defaults, JSON.
#include <cmath>

#include <fmt/format.h>

#include "model/jinja/builtins.hpp"
#include "model/jinja/numbers.hpp"
#include "model/jinja/print.hpp"

namespace troupe::jinja {

namespace {

value do_default(workspace& ws, bound& a) {
  bool missing = a[0].is_undefined() || (a.flag_or(2, false) && !truthy(a[0]));
  if (!missing)
    return a[0];
  return a.has(1) ? a[1] : make_string(ws, "");
}

value do_length(workspace& ws, bound& a) { return value::integer(static_cast<std::int64_t>(length_of(ws, a[0]))); }

/// Whether a double has an int64 as its whole part.
std::optional<std::int64_t> truncated(double d) {
  if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0))
    return std::nullopt;
  return static_cast<std::int64_t>(d);
}

value do_int(workspace&, bound& a) {
  require_defined(a[0]);
  std::optional<std::int64_t> number;
  if (a[0].is_number()) {
    number = a[0].is_integral() ? std::optional(a[0].as_integer()) : truncated(a[0].as_real());
  } else if (a[0].is_string()) {
    std::int64_t base = a.integer_or(2, 10);
    number = base >= 0 && base <= 36 ? read_integer(a[0].as_string().bytes(), static_cast<int>(base)) : std::nullopt;
    if (!number)
      if (auto real = read_real(a[0].as_string().bytes()))
        number = truncated(*real);
  }
  if (number)
    return value::integer(*number);
  return a.has(1) ? a[1] : value::integer(0);
}

value do_float(workspace&, bound& a) {
  require_defined(a[0]);
  if (a[0].is_number())
    return value::real(a[0].as_real());
  if (a[0].is_string())
    if (auto number = read_real(a[0].as_string().bytes()))
      return value::real(*number);
  return a.has(1) ? a[1] : value::real(0);
}

value do_abs(workspace&, bound& a) {
  require_defined(a[0]);
  if (a[0].is_integral() && a[0].as_integer() != INT64_MIN)
    return value::integer(std::abs(a[0].as_integer()));
  if (!a[0].is_number())
    refuse("'abs' needs a number, not " + std::string(type_name(a[0])));
  return value::real(std::fabs(a[0].as_real()));
}

value do_round(workspace&, bound& a) {
  require_defined(a[0]);
  if (!a[0].is_number())
    refuse("'round' needs a number, not " + std::string(type_name(a[0])));
  std::int64_t precision = a.integer_or(1, 0);
  std::string_view method = a.has(2) ? a.string(2).bytes() : "common";
  if (precision < -300 || precision > 300)
    refuse("the precision of 'round' must lie between -300 and 300");
  double scale = std::pow(10.0, static_cast<double>(precision)), number = a[0].as_real();
  if (method == "ceil")
    return value::real(std::ceil(number * scale) / scale);
  if (method == "floor")
    return value::real(std::floor(number * scale) / scale);
  if (method != "common")
    refuse("the method of 'round' must be common, ceil or floor");
  if (a[0].is_integral() && precision >= 0)
    return value::integer(a[0].as_integer());
  if (precision > 0) // Through the decimal digits, which rounds the number itself and not its product.
    return value::real(read_real(fmt::format("{:.{}f}", number, static_cast<int>(precision))).value_or(number));
  double rounded = std::nearbyint(number * scale) / scale;
  return a[0].is_integral() ? value::integer(static_cast<std::int64_t>(rounded)) : value::real(rounded);
}

json_style style_of(bound& a) {
  json_style style;
  style.ascii_only = a.flag_or(1, false);
  style.sort_keys = a.flag_or(4, false);
  if (a.has_some(2)) {
    style.multiline = true;
    style.item_separator = ",";
    constexpr std::int64_t max_indent = 64;
    if (a[2].is_string())
      style.indent = a[2].as_string().bytes();
    else if (a.integer(2) > max_indent)
      refuse_limit("the indent of 'tojson' is more than " + std::to_string(max_indent));
    else if (a.integer(2) > 0)
      style.indent.assign(static_cast<std::size_t>(a.integer(2)), ' ');
  }
  if (a.has_some(3)) {
    bool pair = a[3].is_sequence() && a[3].as_sequence().items.size() == 2
                && a[3].as_sequence().items[0].is_string() && a[3].as_sequence().items[1].is_string();
    if (!pair)
      refuse("the separators of 'tojson' must be two strings");
    style.item_separator = a[3].as_sequence().items[0].as_string().bytes();
    style.key_separator = a[3].as_sequence().items[1].as_string().bytes();
  }
  return style;
}

/// json.dumps as transformers calls it: nothing escaped for HTML, letters as they are.
value do_tojson(workspace& ws, bound& a) {
  text_builder out(ws);
  write_json(ws, out, a[0], style_of(a));
  return out.finish();
}

value do_attr(workspace& ws, bound& a) { return attribute_of(ws, a[0], a.string(1).bytes()); }

} // namespace

std::span<const builtin> value_filters() {
  static const builtin all[] = {
    {"default", {"value", "default_value", "boolean"}, do_default},
    {"d", {"value", "default_value", "boolean"}, do_default},
    {"length", {"value"}, do_length},
    {"count", {"value"}, do_length},
    {"int", {"value", "default", "base"}, do_int},
    {"float", {"value", "default"}, do_float},
    {"abs", {"x"}, do_abs},
    {"round", {"value", "precision", "method"}, do_round},
    {"tojson", {"x", "ensure_ascii", "indent", "separators", "sort_keys"}, do_tojson},
    {"attr", {"obj", "name"}, do_attr},
  };
  return all;
}

} // namespace troupe::jinja
