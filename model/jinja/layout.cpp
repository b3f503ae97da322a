#include "model/jinja/layout.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "model/jinja/print.hpp"
#include "model/jinja/strings.hpp"
#include "model/jinja/unicode.hpp"

namespace troupe::jinja {

namespace {

std::string grouped(std::string digits) {
  std::size_t end = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (std::size_t at = end; at > 3; at -= 3)
    digits.insert(at - 3, ",");
  return digits;
}

/// The digits of a number without its sign.
std::string magnitude(const layout& l, const value& v) {
  auto precision = static_cast<int>(l.precision < 0 ? 6 : l.precision);
  switch (l.type) {
    case 'd': case 'i': case 'u': case 'x': case 'X': case 'o': case 'b': {
      if (!v.is_integral())
        refuse(std::string("the format '") + l.type + "' needs an integer, not " + std::string(type_name(v)));
      std::int64_t i = v.as_integer();
      auto size = i < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(i) : static_cast<std::uint64_t>(i);
      if (l.type == 'x') return (l.alternate ? "0x" : "") + fmt::format("{:x}", size);
      if (l.type == 'X') return (l.alternate ? "0X" : "") + fmt::format("{:X}", size);
      if (l.type == 'o') return (l.alternate ? "0o" : "") + fmt::format("{:o}", size);
      if (l.type == 'b') return (l.alternate ? "0b" : "") + fmt::format("{:b}", size);
      return fmt::format("{}", size);
    }
    default: break;
  }
  double d = std::fabs(v.as_real());
  if (std::isnan(d) || std::isinf(d))
    return std::isnan(d) ? "nan" : "inf";
  switch (l.type) {
    case 'f': case 'F': return fmt::format("{:.{}f}", d, precision);
    case 'e': return fmt::format("{:.{}e}", d, precision);
    case 'E': return fmt::format("{:.{}E}", d, precision);
    case 'g': return fmt::format("{:.{}g}", d, precision);
    case 'G': return fmt::format("{:.{}G}", d, precision);
    case '%': return fmt::format("{:.{}f}%", d * 100, precision);
    default: return l.precision < 0 ? represent(d) : fmt::format("{:.{}g}", d, precision);
  }
}

} // namespace

std::int64_t take_number(std::string_view s, std::size_t& at, std::int64_t limit, std::int64_t absent) {
  if (at >= s.size() || s[at] < '0' || s[at] > '9')
    return absent;
  std::int64_t number = 0;
  for (; at < s.size() && s[at] >= '0' && s[at] <= '9'; ++at) {
    number = number * 10 + (s[at] - '0');
    if (number > limit)
      refuse_limit("a width or precision in a format is more than " + std::to_string(limit));
  }
  return number;
}

void lay_out_number(text_builder& out, layout l, const value& v) {
  if (l.type == '\0' && v.is_integral())
    l.type = 'd';
  std::string digits = magnitude(l, v);
  if (l.grouped)
    digits = grouped(digits);
  bool negative = v.is_integral() ? v.as_integer() < 0 : std::signbit(v.as_real());
  std::string sign = negative ? "-" : l.sign == '-' ? "" : std::string(1, l.sign);
  auto size = static_cast<std::int64_t>(sign.size() + digits.size());
  std::int64_t missing = std::max<std::int64_t>(l.width - size, 0);
  char align = l.align == '\0' ? '>' : l.align;
  std::int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  std::int64_t inner = align == '=' ? missing : 0;
  std::string all;
  for (std::int64_t i = 0; i < left; ++i)
    all += l.fill;
  all += sign;
  for (std::int64_t i = 0; i < inner; ++i)
    all += l.fill;
  all += digits;
  for (std::int64_t i = left + inner; i < missing; ++i)
    all += l.fill;
  out.append(all);
}

void lay_out_string(workspace& ws, text_builder& out, const layout& l, const value& v) {
  const string_object& s = v.as_string();
  std::size_t end = s.bytes().size();
  if (l.precision >= 0)
    end = offset_of_point(s.bytes(), static_cast<std::size_t>(l.precision));
  value cut = substring(ws, s, 0, end);
  auto missing = l.width - static_cast<std::int64_t>(length_of(ws, cut));
  std::int64_t left = missing <= 0 ? 0 : l.align == '>' ? missing : l.align == '^' ? missing / 2 : 0;
  for (std::int64_t i = 0; i < left; ++i)
    out.append(l.fill);
  out.append(cut.as_string().content);
  for (std::int64_t i = left; i < missing; ++i)
    out.append(l.fill);
}

} // namespace troupe::jinja
