// Filters that make strings of strings. What is no string is printed first, as Jinja does.
#include "model/jinja/print.hpp"
#include "model/jinja/strings.hpp"
#include "model/jinja/unicode.hpp"

namespace troupe::jinja {

namespace {

template <letter_case To>
value do_case(workspace& ws, bound& a) {
  value s = to_string(ws, a[0]);
  return change_case(ws, s.as_string(), To);
}

/// Unlike str.title, words begin only after white space, dashes and opening brackets.
value do_title(workspace& ws, bound& a) {
  value s = to_string(ws, a[0]);
  text_builder out(ws);
  bool begins = true;
  s.as_string().content.each_run(0, s.as_string().content.size(), [&](std::string_view run, bool trusted) {
    std::string changed;
    for (std::size_t at = 0; at < run.size();) {
      decoded next = decode(run, at);
      at += next.bytes;
      if (begins)
        append_upper(next.point, changed);
      else
        append_lower(next.point, changed);
      begins = is_space(next.point) || next.point == '-' || next.point == '(' || next.point == '{'
               || next.point == '[' || next.point == '<';
    }
    out.append(changed, trusted);
  });
  return out.finish();
}

value do_trim(workspace& ws, bound& a) {
  value s = to_string(ws, a[0]);
  return strip(ws, s.as_string(), a.has_some(1) ? &a.string(1) : nullptr, true, true);
}

value do_replace(workspace& ws, bound& a) {
  value s = to_string(ws, a[0]), old = to_string(ws, a[1]), replacement = to_string(ws, a[2]);
  return replace(ws, s.as_string(), old.as_string(), replacement.as_string(), a.has_some(3) ? a.integer(3) : -1, false);
}

value do_indent(workspace& ws, bound& a) {
  const string_object& s = a.string(0);
  value indent = a.has(1) && a[1].is_string() ? a[1] : pad(ws, make_string(ws, ""), a.integer_or(1, 4), alignment::left);
  const bool first = a.flag_or(2, false), blank = a.flag_or(3, false);
  value lines = split_lines(ws, s, false);
  // Jinja adds a newline before it splits: text that ends with one has a last line, which is empty.
  if (s.bytes().empty() || is_line_break(decode(s.bytes(), previous_point(s.bytes(), s.bytes().size())).point))
    lines.as_sequence().push(make_string(ws, ""));
  text_builder out(ws);
  for (std::size_t i = 0; i < lines.as_sequence().items.size(); ++i) {
    const text& line = lines.as_sequence().items[i].as_string().content;
    if (i > 0)
      out.append("\n");
    if (i == 0 ? first : blank || !line.empty())
      out.append(indent.as_string().content);
    out.append(line);
  }
  return out.finish(s.markup);
}

value do_string(workspace& ws, bound& a) { return to_string(ws, a[0]); }

value do_safe(workspace& ws, bound& a) {
  value s = to_string(ws, a[0]);
  return s.as_string().markup ? s : make_string(ws, s.as_string().content, true);
}

value do_escape(workspace& ws, bound& a) { return escape_markup(ws, a[0]); }

value do_forceescape(workspace& ws, bound& a) {
  value s = to_string(ws, a[0]);
  return escape_markup(ws, make_string(ws, s.as_string().content));
}

value do_center(workspace& ws, bound& a) {
  return pad(ws, to_string(ws, a[0]), a.integer_or(1, 80), alignment::center);
}

value do_truncate(workspace& ws, bound& a) {
  constexpr std::int64_t default_length = 255, default_leeway = 5;
  const string_object& s = a.string(0);
  value end = a.has(3) ? a[3] : make_string(ws, "...");
  if (!end.is_string())
    refuse("the argument 'end' of 'truncate' must be a string");
  std::int64_t length = a.integer_or(1, default_length), leeway = a.has_some(4) ? a.integer(4) : default_leeway;
  std::int64_t kept = length - static_cast<std::int64_t>(length_of(ws, end));
  if (kept < 0 || leeway < 0)
    refuse("'truncate' needs a length that its end fits into, and a leeway that is not negative");
  auto size = static_cast<std::int64_t>(length_of(ws, a[0]));
  if (length >= size || leeway >= size - length)
    return a[0];
  std::size_t cut = offset_of_point(s.bytes(), static_cast<std::size_t>(kept));
  if (!a.flag_or(2, false)) {
    std::size_t space = s.bytes().substr(0, cut).rfind(' ');
    cut = space == std::string_view::npos ? cut : space;
  }
  text_builder out(ws);
  out.append(s.content, 0, cut);
  out.append(end.as_string().content);
  return out.finish(s.markup);
}

value do_wordcount(workspace& ws, bound& a) {
  value s = to_string(ws, a[0]);
  std::string_view bytes = s.as_string().bytes();
  std::int64_t words = 0;
  bool inside = false;
  for (std::size_t at = 0; at < bytes.size();) {
    decoded next = decode(bytes, at);
    bool letter = is_alpha(next.point) || is_digit(next.point) || next.point == '_';
    words += letter && !inside;
    inside = letter;
    at += next.bytes;
  }
  return value::integer(words);
}

value do_format(workspace& ws, bound& a) {
  if (!a.more.named.empty() && !a.more.positional.empty())
    refuse("'format' takes arguments with names or without, not both");
  value s = to_string(ws, a[0]);
  if (a.more.named.empty())
    return format_percent(ws, s.as_string(), make_sequence(ws, a.more.positional, sequence_form::tuple));
  value named = make_mapping(ws);
  for (const named_value& each : a.more.named)
    named.as_mapping().set(make_string(ws, each.name), each.item);
  return format_percent(ws, s.as_string(), named);
}

value do_from_json(workspace& ws, bound& a) {
  a.string(0);
  return parse_json(ws, a[0]);
}

} // namespace

value folded(workspace& ws, const value& v) {
  return v.is_string() ? change_case(ws, v.as_string(), letter_case::lower) : v;
}

std::span<const builtin> string_filters() {
  static const builtin all[] = {
    {"upper", {"s"}, do_case<letter_case::upper>},
    {"lower", {"s"}, do_case<letter_case::lower>},
    {"capitalize", {"s"}, do_case<letter_case::capitalize>},
    {"title", {"s"}, do_title},
    {"trim", {"value", "chars"}, do_trim},
    {"replace", {"s", "old", "new", "count"}, do_replace},
    {"indent", {"s", "width", "first", "blank"}, do_indent},
    {"string", {"object"}, do_string},
    {"safe", {"value"}, do_safe},
    {"escape", {"s"}, do_escape},
    {"e", {"s"}, do_escape},
    {"forceescape", {"value"}, do_forceescape},
    {"center", {"value", "width"}, do_center},
    {"truncate", {"s", "length", "killwords", "end", "leeway"}, do_truncate},
    {"wordcount", {"s"}, do_wordcount},
    {"format", {"value"}, do_format, true},
    {"from_json", {"value"}, do_from_json}, // Not Jinja's; some templates expect it of their engine.
  };
  return all;
}

} // namespace troupe::jinja
