// Filters, tests, methods and global functions: what a template can call.
//
// Each is one entry of a table: its name, the names of its parameters (the first is what it is applied to), and a
// plain function over bound arguments. Binding, and its errors, are done in one place.
// Source: https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-filters
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "model/jinja/value.hpp"

namespace troupe::jinja {

inline constexpr std::size_t max_parameters = 6;

/// Arguments in the order of a builtin's parameters. `rest` and `extra` are what a `variadic` one gets beyond them.
struct bound {
  std::string_view callee;
  std::array<std::string_view, max_parameters> names;
  std::array<std::optional<value>, max_parameters> given;
  arguments more;

  bool has(std::size_t i) const { return given[i].has_value(); }
  const value& operator[](std::size_t i) const; ///< Refuses, if it is missing.
  value or_undefined(std::size_t i) const { return given[i] ? *given[i] : value(); }
  bool has_some(std::size_t i) const { return given[i] && !given[i]->is_none(); } ///< Given, and not None.

  const string_object& string(std::size_t i) const;
  std::int64_t integer(std::size_t i) const;
  std::int64_t integer_or(std::size_t i, std::int64_t fallback) const { return has(i) ? integer(i) : fallback; }
  bool flag_or(std::size_t i, bool fallback) const { return given[i] ? truthy(*given[i]) : fallback; }
};

using builtin_function = value (*)(workspace&, bound&);

struct builtin {
  std::string_view name;
  std::array<std::string_view, max_parameters> parameters;
  builtin_function function;
  bool variadic = false;
};

value call_builtin(workspace& ws, const builtin& b, arguments args);

// By name; nullptr where there is none. Methods are looked up by the type of what they belong to.
const builtin* find_filter(std::string_view name);
const builtin* find_test(std::string_view name);
const builtin* find_method(const value& self, std::string_view name);
std::span<const builtin> global_functions();

// The tables, one a file.
std::span<const builtin> string_filters();
std::span<const builtin> value_filters();
std::span<const builtin> sequence_filters();
std::span<const builtin> tests();
std::span<const builtin> string_methods();
std::span<const builtin> list_methods();
std::span<const builtin> mapping_methods();

// What several tables use.
value attribute_of(workspace& ws, const value& v, std::string_view name); ///< v.name
value item_of(workspace& ws, const value& v, const value& index);         ///< v[index]
/// A dotted path of attributes, or an index, as map(attribute=...) takes it; `fallback`, unless it is None, stands
/// for each that is undefined.
value path_of(workspace& ws, const value& v, const value& path, const value& fallback = value::none());
value slice_of(workspace& ws, const value& v, const value& start, const value& stop, const value& step);
value format_percent(workspace& ws, const string_object& format, const value& args);
value format_braces(workspace& ws, const string_object& format, const arguments& args);
/// Letters in lower case, as sorting and comparing without case do it.
value folded(workspace& ws, const value& v);
value call_function(workspace& ws, const value& callee, arguments args);
value parse_json(workspace& ws, const value& source);

} // namespace troupe::jinja
