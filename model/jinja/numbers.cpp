#include "model/jinja/numbers.hpp"

#include <charconv>
#include <string>

#include "model/jinja/unicode.hpp"

namespace troupe::jinja {

namespace {

/// Without white space around it and underscores inside; nothing, if the underscores are in the wrong place.
std::optional<std::string> bare(std::string_view bytes) {
  std::size_t begin = 0, end = bytes.size();
  while (begin < end && is_space(decode(bytes, begin).point))
    begin += decode(bytes, begin).bytes;
  while (end > begin && is_space(decode(bytes, previous_point(bytes, end)).point))
    end = previous_point(bytes, end);
  auto alphanumeric = [](char c) { return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'); };
  std::string out;
  for (std::size_t i = begin; i < end; ++i) {
    if (bytes[i] != '_')
      out += bytes[i];
    else if (i == begin || i + 1 == end || !alphanumeric(bytes[i - 1]) || !alphanumeric(bytes[i + 1]))
      return std::nullopt;
  }
  return out;
}

} // namespace

std::optional<std::int64_t> read_integer(std::string_view bytes, int base) {
  auto digits = bare(bytes);
  if (!digits || base < 0 || base == 1 || base > 36)
    return std::nullopt;
  bool negative = digits->starts_with('-');
  if (negative || digits->starts_with('+'))
    digits->erase(0, 1);
  if (digits->size() > 2 && (*digits)[0] == '0') {
    char mark = static_cast<char>((*digits)[1] | 0x20);
    int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base == 0 || base == marked)) {
      base = marked;
      digits->erase(0, 2);
    }
  }
  if (digits->empty() || (*digits)[0] == '-')
    return std::nullopt;
  if (negative)
    digits->insert(0, "-");
  std::int64_t number;
  auto [end, problem] = std::from_chars(digits->data(), digits->data() + digits->size(), number, base == 0 ? 10 : base);
  if (problem != std::errc{} || end != digits->data() + digits->size())
    return std::nullopt;
  return number;
}

std::optional<double> read_real(std::string_view bytes) {
  auto digits = bare(bytes);
  if (!digits)
    return std::nullopt;
  bool negative = digits->starts_with('-');
  if (negative || digits->starts_with('+'))
    digits->erase(0, 1);
  if (digits->empty() || (*digits)[0] == '-')
    return std::nullopt;
  double number;
  auto [end, problem] = std::from_chars(digits->data(), digits->data() + digits->size(), number);
  if (problem != std::errc{} || end != digits->data() + digits->size())
    return std::nullopt;
  return negative ? -number : number;
}

} // namespace troupe::jinja
