// The methods of str.
#include <algorithm>

#include "model/jinja/print.hpp"
#include "model/jinja/strings.hpp"
#include "model/jinja/unicode.hpp"

namespace troupe::jinja {

namespace {

template <letter_case To>
value case_method(workspace& ws, bound& a) {
  return change_case(ws, a.string(0), To);
}

template <bool Left, bool Right>
value do_strip(workspace& ws, bound& a) {
  return strip(ws, a.string(0), a.has_some(1) ? &a.string(1) : nullptr, Left, Right);
}

/// At white space, of which there are no empty pieces.
value split_space(workspace& ws, const string_object& s, std::int64_t limit) {
  value pieces = make_sequence(ws);
  std::string_view bytes = s.bytes();
  auto skip = [&](std::size_t at, bool space) {
    while (at < bytes.size()) {
      decoded next = decode(bytes, at);
      if (is_space(next.point) != space)
        break;
      at += next.bytes;
    }
    return at;
  };
  for (std::size_t at = skip(0, true); at < bytes.size();) {
    if (limit-- == 0) {
      pieces.as_sequence().push(substring(ws, s, at, bytes.size()));
      break;
    }
    std::size_t end = skip(at, false);
    pieces.as_sequence().push(substring(ws, s, at, end));
    at = skip(end, true);
  }
  return pieces;
}

value do_split(workspace& ws, bound& a) {
  const string_object& s = a.string(0);
  std::int64_t limit = a.integer_or(2, -1);
  if (!a.has_some(1))
    return split_space(ws, s, limit);
  std::string_view separator = a.string(1).bytes();
  if (separator.empty())
    refuse("'split' needs a separator that is not empty");
  value pieces = make_sequence(ws);
  std::size_t at = 0;
  for (; limit != 0; --limit) {
    std::size_t found = find_bytes(s.bytes(), separator, at);
    if (found == std::string_view::npos)
      break;
    pieces.as_sequence().push(substring(ws, s, at, found));
    at = found + separator.size();
  }
  pieces.as_sequence().push(substring(ws, s, at, s.bytes().size()));
  return pieces;
}

/// The last place of `what` before `end`. Quadratic at worst, so it costs as much.
std::size_t find_last(workspace& ws, std::string_view in, std::string_view what, std::size_t end) {
  ws.step(1 + in.size() / 64 * (1 + what.size() / 8));
  return what.size() > end ? std::string_view::npos : in.rfind(what, end - what.size());
}

value do_rsplit(workspace& ws, bound& a) {
  const string_object& s = a.string(0);
  std::int64_t limit = a.integer_or(2, -1);
  if (limit < 0)
    return do_split(ws, a);
  std::vector<value> pieces;
  std::size_t end = s.bytes().size();
  if (!a.has_some(1)) {
    refuse("'rsplit' needs a separator where it has a limit");
  } else {
    std::string_view separator = a.string(1).bytes();
    if (separator.empty())
      refuse("'rsplit' needs a separator that is not empty");
    for (; limit > 0; --limit) {
      std::size_t found = find_last(ws, s.bytes(), separator, end);
      if (found == std::string_view::npos)
        break;
      pieces.push_back(substring(ws, s, found + separator.size(), end));
      end = found;
    }
  }
  pieces.push_back(substring(ws, s, 0, end));
  return make_sequence(ws, std::vector<value>(pieces.rbegin(), pieces.rend()));
}

value do_splitlines(workspace& ws, bound& a) { return split_lines(ws, a.string(0), a.flag_or(1, false)); }

template <bool Last>
value do_partition(workspace& ws, bound& a) {
  const string_object& s = a.string(0);
  std::string_view separator = a.string(1).bytes();
  if (separator.empty())
    refuse("'partition' needs a separator that is not empty");
  std::size_t size = s.bytes().size();
  std::size_t found = Last ? find_last(ws, s.bytes(), separator, size) : find_bytes(s.bytes(), separator);
  std::array<std::size_t, 2> cuts{Last ? 0 : size, Last ? 0 : size};
  if (found != std::string_view::npos)
    cuts = {found, found + separator.size()};
  return make_sequence(ws, {substring(ws, s, 0, cuts[0]), substring(ws, s, cuts[0], cuts[1]),
                            substring(ws, s, cuts[1], size)}, sequence_form::tuple);
}

template <bool Prefix>
value do_affix(workspace&, bound& a) {
  std::string_view s = a.string(0).bytes();
  auto fits = [s](const value& v) {
    require_defined(v);
    if (!v.is_string())
      refuse("a prefix or suffix must be a string or a tuple of strings, not " + std::string(type_name(v)));
    return Prefix ? s.starts_with(v.as_string().bytes()) : s.ends_with(v.as_string().bytes());
  };
  if (!a[1].is_sequence() || a[1].as_sequence().form != sequence_form::tuple)
    return value::boolean(fits(a[1]));
  for (const value& each : a[1].as_sequence().items)
    if (fits(each))
      return value::boolean(true);
  return value::boolean(false);
}

value do_removeprefix(workspace& ws, bound& a) {
  const string_object& s = a.string(0);
  bool fits = s.bytes().starts_with(a.string(1).bytes());
  return substring(ws, s, fits ? a.string(1).bytes().size() : 0, s.bytes().size());
}

value do_removesuffix(workspace& ws, bound& a) {
  const string_object& s = a.string(0);
  bool fits = s.bytes().ends_with(a.string(1).bytes());
  return substring(ws, s, 0, s.bytes().size() - (fits ? a.string(1).bytes().size() : 0));
}

value replace_method(workspace& ws, bound& a) {
  const string_object& s = a.string(0);
  return replace(ws, s, a.string(1), a.string(2), a.integer_or(3, -1), s.markup);
}

value join_method(workspace& ws, bound& a) {
  const string_object& separator = a.string(0);
  value items = iterate(ws, a[1]);
  for (const value& item : items.as_sequence().items) {
    require_defined(item);
    if (!item.is_string())
      refuse("'join' needs strings, not " + std::string(type_name(item)));
  }
  return join(ws, separator, items.as_sequence().items, separator.markup);
}

enum class search : std::uint8_t { find, rfind, index, rindex, count };

template <search Kind>
value do_search(workspace& ws, bound& a) {
  std::size_t length = length_of(ws, a[0]);
  auto clamp = [&](std::size_t i, std::size_t fallback) {
    if (!a.has_some(i))
      return fallback;
    std::int64_t at = a.integer(i) < 0 ? a.integer(i) + static_cast<std::int64_t>(length) : a.integer(i);
    return static_cast<std::size_t>(std::clamp<std::int64_t>(at, 0, static_cast<std::int64_t>(length)));
  };
  std::string_view s = a.string(0).bytes(), what = a.string(1).bytes();
  bool outside = a.has_some(2) && a.integer(2) > static_cast<std::int64_t>(length);
  std::size_t begin = offset_of_point(s, clamp(2, 0)), end = offset_of_point(s, clamp(3, length));
  outside |= begin > end;
  std::string_view part = s.substr(0, end);
  if constexpr (Kind == search::count) {
    if (outside)
      return value::integer(0);
    if (what.empty())
      return value::integer(static_cast<std::int64_t>(count_points(part.substr(begin))) + 1);
    std::int64_t count = 0;
    for (std::size_t at = find_bytes(part, what, begin); at != std::string_view::npos; ++count)
      at = find_bytes(part, what, at + what.size());
    return value::integer(count);
  } else {
    bool last = Kind == search::rfind || Kind == search::rindex;
    std::size_t found = last ? find_last(ws, part, what, part.size()) : find_bytes(part, what, begin);
    if (outside || found == std::string_view::npos || found < begin) {
      if (Kind == search::index || Kind == search::rindex)
        refuse("the substring is not found");
      return value::integer(-1);
    }
    return value::integer(static_cast<std::int64_t>(count_points(s.substr(0, found))));
  }
}

template <bool (*Holds)(char32_t)>
value do_is_all(workspace&, bound& a) {
  std::string_view s = a.string(0).bytes();
  for (std::size_t at = 0; at < s.size();) {
    decoded next = decode(s, at);
    if (!Holds(next.point))
      return value::boolean(false);
    at += next.bytes;
  }
  return value::boolean(!s.empty());
}

bool is_alphanumeric(char32_t point) { return is_alpha(point) || is_digit(point); }

/// isupper and islower: there is a letter with a case, and none with the other.
template <bool Upper>
value do_is_case(workspace&, bound& a) {
  bool some = false;
  std::string_view s = a.string(0).bytes();
  for (std::size_t at = 0; at < s.size();) {
    decoded next = decode(s, at);
    if (is_title(next.point) || (Upper ? is_lower(next.point) : is_upper(next.point)))
      return value::boolean(false);
    some |= Upper ? is_upper(next.point) : is_lower(next.point);
    at += next.bytes;
  }
  return value::boolean(some);
}

template <alignment Align>
value do_pad(workspace& ws, bound& a) {
  a.string(0);
  return pad(ws, a[0], a.integer(1), Align, a.has(2) ? a.string(2).bytes() : " ");
}

value do_zfill(workspace& ws, bound& a) {
  const string_object& s = a.string(0);
  bool sign = s.bytes().starts_with('-') || s.bytes().starts_with('+');
  value digits = substring(ws, s, sign ? 1 : 0, s.bytes().size());
  digits = pad(ws, digits, a.integer(1) - (sign ? 1 : 0), alignment::right, "0");
  text_builder out(ws);
  out.append(s.content, 0, sign ? 1 : 0);
  out.append(digits.as_string().content);
  return out.finish(s.markup);
}

value format_method(workspace& ws, bound& a) { return format_braces(ws, a.string(0), a.more); }

} // namespace

std::span<const builtin> string_methods() {
  static const builtin all[] = {
    {"upper", {"self"}, case_method<letter_case::upper>},
    {"lower", {"self"}, case_method<letter_case::lower>},
    {"casefold", {"self"}, case_method<letter_case::lower>},
    {"title", {"self"}, case_method<letter_case::title>},
    {"capitalize", {"self"}, case_method<letter_case::capitalize>},
    {"swapcase", {"self"}, case_method<letter_case::swap>},
    {"strip", {"self", "chars"}, do_strip<true, true>},
    {"lstrip", {"self", "chars"}, do_strip<true, false>},
    {"rstrip", {"self", "chars"}, do_strip<false, true>},
    {"split", {"self", "sep", "maxsplit"}, do_split},
    {"rsplit", {"self", "sep", "maxsplit"}, do_rsplit},
    {"splitlines", {"self", "keepends"}, do_splitlines},
    {"partition", {"self", "sep"}, do_partition<false>},
    {"rpartition", {"self", "sep"}, do_partition<true>},
    {"startswith", {"self", "prefix"}, do_affix<true>},
    {"endswith", {"self", "suffix"}, do_affix<false>},
    {"removeprefix", {"self", "prefix"}, do_removeprefix},
    {"removesuffix", {"self", "suffix"}, do_removesuffix},
    {"replace", {"self", "old", "new", "count"}, replace_method},
    {"join", {"self", "iterable"}, join_method},
    {"find", {"self", "sub", "start", "end"}, do_search<search::find>},
    {"rfind", {"self", "sub", "start", "end"}, do_search<search::rfind>},
    {"index", {"self", "sub", "start", "end"}, do_search<search::index>},
    {"rindex", {"self", "sub", "start", "end"}, do_search<search::rindex>},
    {"count", {"self", "sub", "start", "end"}, do_search<search::count>},
    {"isalpha", {"self"}, do_is_all<is_alpha>},
    {"isdigit", {"self"}, do_is_all<is_digit>},
    {"isdecimal", {"self"}, do_is_all<is_digit>},
    {"isnumeric", {"self"}, do_is_all<is_digit>},
    {"isalnum", {"self"}, do_is_all<is_alphanumeric>},
    {"isspace", {"self"}, do_is_all<is_space>},
    {"isupper", {"self"}, do_is_case<true>},
    {"islower", {"self"}, do_is_case<false>},
    {"ljust", {"self", "width", "fillchar"}, do_pad<alignment::left>},
    {"rjust", {"self", "width", "fillchar"}, do_pad<alignment::right>},
    {"center", {"self", "width", "fillchar"}, do_pad<alignment::center>},
    {"zfill", {"self", "width"}, do_zfill},
    {"format", {"self"}, format_method, true},
  };
  return all;
}

} // namespace troupe::jinja
