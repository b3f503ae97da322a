#include "model/jinja/strings.hpp"

#include <cstring>

#include "model/jinja/print.hpp"
#include "model/jinja/unicode.hpp"

namespace troupe::jinja {

value change_case(workspace& ws, const string_object& s, letter_case to) {
  text_builder out(ws);
  bool in_word = false; // Whether the code point before is a letter with a case.
  bool first = true;
  s.content.each_run(0, s.content.size(), [&](std::string_view run, bool trusted) {
    std::string changed;
    for (std::size_t at = 0; at < run.size();) {
      decoded next = decode(run, at);
      at += next.bytes;
      bool cased = is_upper(next.point) || is_lower(next.point) || is_title(next.point);
      bool begins = to == letter_case::title ? !in_word : first;
      if (to == letter_case::upper || (to == letter_case::swap && is_lower(next.point)))
        append_upper(next.point, changed);
      else if ((to == letter_case::title || to == letter_case::capitalize) && begins)
        append_title(next.point, changed);
      else if (to == letter_case::swap && !is_upper(next.point))
        encode(next.point, changed);
      else
        append_lower(next.point, changed);
      in_word = cased;
      first = false;
    }
    out.append(changed, trusted);
  });
  return out.finish(s.markup);
}

value substring(workspace& ws, const string_object& s, std::size_t begin, std::size_t end) {
  text_builder out(ws);
  out.append(s.content, begin, end);
  return out.finish(s.markup);
}

value strip(workspace& ws, const string_object& s, const string_object* characters, bool left, bool right) {
  std::string_view bytes = s.bytes();
  auto goes = [&](std::size_t at, std::size_t size) {
    if (!characters)
      return is_space(decode(bytes, at).point);
    ws.step_bytes(characters->bytes().size());
    return find_bytes(characters->bytes(), bytes.substr(at, size)) != std::string_view::npos;
  };
  std::size_t begin = 0, end = bytes.size();
  while (left && begin < end) {
    std::size_t size = decode(bytes, begin).bytes;
    if (!goes(begin, size))
      break;
    begin += size;
  }
  while (right && end > begin) {
    std::size_t previous = previous_point(bytes, end);
    if (!goes(previous, end - previous))
      break;
    end = previous;
  }
  return substring(ws, s, begin, end);
}

std::size_t find_bytes(std::string_view in, std::string_view what, std::size_t from) {
  if (from > in.size())
    return std::string_view::npos;
  if (what.empty())
    return from;
  const void* found = memmem(in.data() + from, in.size() - from, what.data(), what.size());
  return found ? static_cast<std::size_t>(static_cast<const char*>(found) - in.data()) : std::string_view::npos;
}

value replace(workspace& ws, const string_object& s, const string_object& old, const string_object& replacement,
              std::int64_t count, bool markup) {
  text_builder out(ws);
  std::string_view bytes = s.bytes();
  std::size_t at = 0;
  if (old.bytes().empty()) { // Before every code point, and at the end.
    for (; count != 0; --count) {
      out.append(replacement.content);
      if (at == bytes.size())
        return out.finish(markup);
      std::size_t next = at + decode(bytes, at).bytes;
      out.append(s.content, at, next);
      at = next;
    }
  }
  for (; count != 0 && !old.bytes().empty(); --count) {
    std::size_t found = find_bytes(bytes, old.bytes(), at);
    if (found == std::string_view::npos)
      break;
    out.append(s.content, at, found);
    out.append(replacement.content);
    at = found + old.bytes().size();
  }
  out.append(s.content, at, bytes.size());
  return out.finish(markup);
}

value join(workspace& ws, const string_object& separator, const std::vector<value>& items, bool markup) {
  text_builder out(ws);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0)
      out.append(separator.content);
    print(ws, out, markup ? escape_markup(ws, items[i]) : items[i]);
  }
  return out.finish(markup);
}

value split_lines(workspace& ws, const string_object& s, bool keep_ends) {
  value lines = make_sequence(ws);
  std::string_view bytes = s.bytes();
  std::size_t begin = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    decoded next = decode(bytes, at);
    std::size_t end = at;
    at += next.bytes;
    if (!is_line_break(next.point))
      continue;
    if (next.point == '\r' && at < bytes.size() && bytes[at] == '\n')
      ++at;
    lines.as_sequence().push(substring(ws, s, begin, keep_ends ? at : end));
    begin = at;
  }
  if (begin < bytes.size())
    lines.as_sequence().push(substring(ws, s, begin, bytes.size()));
  return lines;
}

value pad(workspace& ws, const value& v, std::int64_t width, alignment align, std::string_view fill) {
  const string_object& s = v.as_string();
  auto size = static_cast<std::int64_t>(length_of(ws, v));
  if (width <= size)
    return v;
  auto missing = static_cast<std::uint64_t>(width - size);
  if (missing > ws.bounds().max_value_bytes)
    refuse_limit("a padded string needs more than " + std::to_string(ws.bounds().max_value_bytes) + " bytes");
  // Where the filling is odd, Python puts the one more on the left if the width is odd too.
  std::uint64_t left = align == alignment::left ? 0 : align == alignment::right ? missing
                       : missing / 2 + (missing & static_cast<std::uint64_t>(width) & 1);
  text_builder out(ws);
  for (std::uint64_t i = 0; i < left; ++i)
    out.append(fill);
  out.append(s.content);
  for (std::uint64_t i = left; i < missing; ++i)
    out.append(fill);
  return out.finish(s.markup);
}

} // namespace troupe::jinja
