// How a formatted value is laid out: what "%5.2f" and "{:>5}" have in common.
#pragma once

#include <string>
#include <string_view>

#include "model/jinja/value.hpp"

namespace troupe::jinja {

inline constexpr std::int64_t max_format_width = 1'000'000;
inline constexpr std::int64_t max_format_precision = 400;

struct layout {
  std::string fill = " ";
  char align = '\0'; ///< '<', '>', '^', '=' or the type's own.
  char sign = '-';   ///< '+', '-', ' '
  bool alternate = false;
  bool grouped = false;
  std::int64_t width = 0;
  std::int64_t precision = -1;
  char type = '\0';
};

/// A decimal number at `at`, which moves behind it; `absent` if there is none. Refuses one over `limit`.
std::int64_t take_number(std::string_view s, std::size_t& at, std::int64_t limit, std::int64_t absent);

void lay_out_number(text_builder& out, layout l, const value& v);
void lay_out_string(workspace& ws, text_builder& out, const layout& l, const value& v);

} // namespace troupe::jinja
