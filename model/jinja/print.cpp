#include "model/jinja/print.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "model/jinja/unicode.hpp"

namespace troupe::jinja {

namespace {

void check_nesting(workspace& ws, std::size_t depth) {
  ws.step();
  if (depth > ws.bounds().max_value_nesting)
    refuse_limit("a list or dict to print is nested more than " + std::to_string(ws.bounds().max_value_nesting)
                 + " deep");
}

constexpr std::size_t flush_bytes = 4096; ///< What is spelled out before it is counted.

/// Copies a string's code points, each by `spell(point, bytes)`; equal runs stay together.
template <class Spell>
void spell_out(const text& content, text_builder& out, Spell spell) {
  content.each_run(0, content.size(), [&](std::string_view run, bool trusted) {
    std::string spelled;
    for (std::size_t at = 0; at < run.size();) {
      decoded next = decode(run, at);
      spell(next.point, run.substr(at, next.bytes), spelled);
      at += next.bytes;
      if (spelled.size() >= flush_bytes) {
        out.append(spelled, trusted);
        spelled.clear();
      }
    }
    out.append(spelled, trusted);
  });
}

void represent_string(text_builder& out, const string_object& s) {
  bool has_single = s.bytes().find('\'') != std::string_view::npos;
  bool has_double = s.bytes().find('"') != std::string_view::npos;
  char quote = has_single && !has_double ? '"' : '\'';
  out.append(std::string_view(&quote, 1));
  spell_out(s.content, out, [quote](char32_t point, std::string_view bytes, std::string& to) {
    if (point == static_cast<char32_t>(quote) || point == '\\')
      (to += '\\') += static_cast<char>(point);
    else if (point == '\n') to += "\\n";
    else if (point == '\r') to += "\\r";
    else if (point == '\t') to += "\\t";
    else if (is_printable(point)) to += bytes;
    else if (point < 0x100) to += fmt::format("\\x{:02x}", static_cast<unsigned>(point));
    else if (point < 0x10000) to += fmt::format("\\u{:04x}", static_cast<unsigned>(point));
    else to += fmt::format("\\U{:08x}", static_cast<unsigned>(point));
  });
  out.append(std::string_view(&quote, 1));
}

void represent_at(workspace& ws, text_builder& out, const value& v, std::size_t depth);

void represent_mapping(workspace& ws, text_builder& out, const mapping_object& m, std::size_t depth) {
  out.append("{");
  bool first = true;
  for (const auto& entry : m.entries()) {
    if (!first)
      out.append(", ");
    first = false;
    represent_at(ws, out, entry.key, depth + 1);
    out.append(": ");
    represent_at(ws, out, entry.item, depth + 1);
  }
  out.append("}");
}

void represent_sequence(workspace& ws, text_builder& out, const sequence_object& s, std::size_t depth) {
  if (s.form == sequence_form::range) {
    out.append(fmt::format("range({}, {}", s.bounds[0], s.bounds[1]));
    if (s.bounds[2] != 1)
      out.append(fmt::format(", {}", s.bounds[2]));
    out.append(")");
    return;
  }
  bool tuple = s.form == sequence_form::tuple;
  out.append(s.form == sequence_form::generator ? "<generator [" : s.form == sequence_form::view ? "dict_view(["
             : tuple ? "(" : "[");
  for (std::size_t i = 0; i < s.items.size(); ++i) {
    if (i > 0)
      out.append(", ");
    represent_at(ws, out, s.items[i], depth + 1);
  }
  if (tuple && s.items.size() == 1)
    out.append(",");
  out.append(s.form == sequence_form::generator ? "]>" : s.form == sequence_form::view ? "])" : tuple ? ")" : "]");
}

void represent_at(workspace& ws, text_builder& out, const value& v, std::size_t depth) {
  check_nesting(ws, depth);
  switch (v.kind()) {
    case kind::undefined: return out.append("Undefined");
    case kind::none: return out.append("None");
    case kind::boolean: return out.append(v.as_integer() ? "True" : "False");
    case kind::integer: return out.append(std::to_string(v.as_integer()));
    case kind::real: return out.append(represent(v.as_real()));
    case kind::string:
      if (v.as_string().markup)
        out.append("Markup(");
      represent_string(out, v.as_string());
      if (v.as_string().markup)
        out.append(")");
      return;
    case kind::sequence: return represent_sequence(ws, out, v.as_sequence(), depth);
    case kind::mapping: return represent_mapping(ws, out, v.as_mapping(), depth);
    case kind::name_space:
      out.append("<Namespace ");
      represent_mapping(ws, out, v.as_mapping(), depth);
      return out.append(">");
    case kind::function: return out.append("<function " + v.as_function().name + ">");
    case kind::loop: return out.append("<LoopContext>");
  }
}

class json_writer {
public:
  json_writer(workspace& ws, text_builder& out, const json_style& style) : ws_(ws), out_(out), style_(style) {}

  void write(const value& v, std::size_t depth) {
    check_nesting(ws_, depth);
    switch (v.kind()) {
      case kind::none: return out_.append("null");
      case kind::boolean: return out_.append(v.as_integer() ? "true" : "false");
      case kind::integer: return out_.append(std::to_string(v.as_integer()));
      case kind::real: return out_.append(number(v.as_real()));
      case kind::string: return write_string(v.as_string());
      case kind::sequence:
        if (v.as_sequence().form != sequence_form::view && v.as_sequence().form != sequence_form::range)
          return write_sequence(v.as_sequence(), depth);
        break;
      case kind::mapping: return write_mapping(v.as_mapping(), depth);
      case kind::undefined: refuse(v.undefined_reason());
      default: break;
    }
    refuse("a value of the type " + std::string(type_name(v)) + " cannot be written as JSON");
  }

private:
  static std::string number(double d) {
    if (std::isnan(d))
      return "NaN";
    if (std::isinf(d))
      return d < 0 ? "-Infinity" : "Infinity";
    return represent(d);
  }

  void new_line(std::size_t depth) {
    if (!style_.multiline)
      return;
    out_.append("\n");
    for (std::size_t i = 0; i < depth; ++i)
      out_.append(style_.indent);
  }

  void write_sequence(const sequence_object& s, std::size_t depth) {
    if (s.items.empty())
      return out_.append("[]");
    out_.append("[");
    for (std::size_t i = 0; i < s.items.size(); ++i) {
      if (i > 0)
        out_.append(style_.item_separator);
      new_line(depth + 1);
      write(s.items[i], depth + 1);
    }
    new_line(depth);
    out_.append("]");
  }

  void write_mapping(const mapping_object& m, std::size_t depth) {
    if (m.entries().empty())
      return out_.append("{}");
    std::vector<const mapping_object::entry*> entries;
    for (const auto& entry : m.entries())
      entries.push_back(&entry);
    if (style_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(),
                       [&](auto* a, auto* b) { return compare(ws_, a->key, b->key) < 0; });
    out_.append("{");
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0)
        out_.append(style_.item_separator);
      new_line(depth + 1);
      write_key(entries[i]->key, depth);
      out_.append(style_.key_separator);
      write(entries[i]->item, depth + 1);
    }
    new_line(depth);
    out_.append("}");
  }

  void write_key(const value& key, std::size_t depth) {
    if (key.is_string())
      return write_string(key.as_string());
    if (!key.is_number() && !key.is_none())
      refuse("a key of the type " + std::string(type_name(key)) + " cannot be written as JSON");
    out_.append("\"");
    write(key, depth);
    out_.append("\"");
  }

  void write_string(const string_object& s) {
    out_.append("\"");
    spell_out(s.content, out_, [this](char32_t point, std::string_view bytes, std::string& to) {
      if (point == '"') to += "\\\"";
      else if (point == '\\') to += "\\\\";
      else if (point == '\n') to += "\\n";
      else if (point == '\r') to += "\\r";
      else if (point == '\t') to += "\\t";
      else if (point == '\b') to += "\\b";
      else if (point == '\f') to += "\\f";
      else if (point < 0x20) to += fmt::format("\\u{:04x}", static_cast<unsigned>(point));
      else if (point < 0x7F || !style_.ascii_only) to += bytes;
      else if (point < 0x10000) to += fmt::format("\\u{:04x}", static_cast<unsigned>(point));
      else
        to += fmt::format("\\u{:04x}\\u{:04x}", 0xD7C0 + (static_cast<unsigned>(point) >> 10),
                          0xDC00 + (static_cast<unsigned>(point) & 0x3FF));
    });
    out_.append("\"");
  }

  workspace& ws_;
  text_builder& out_;
  const json_style& style_;
};

} // namespace

// Python's repr of a float: the shortest digits that read back as the same number, with an exponent only below 1e-4
// and from 1e16 on.
std::string represent(double number) {
  if (std::isnan(number))
    return "nan";
  if (std::isinf(number))
    return number < 0 ? "-inf" : "inf";
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
  std::string_view all(buffer, static_cast<std::size_t>(end - buffer));
  std::string sign = all.front() == '-' ? "-" : "";
  all.remove_prefix(sign.size());
  std::size_t e = all.find('e');
  std::string digits(1, all[0]);
  if (e > 2)
    digits += all.substr(2, e - 2);
  int exponent = std::stoi(std::string(all.substr(e + 1)));
  if (exponent < -4 || exponent >= 16)
    return fmt::format("{}{}{}{}e{}{:02}", sign, digits[0], digits.size() > 1 ? "." : "", digits.substr(1),
                       exponent < 0 ? '-' : '+', std::abs(exponent));
  if (exponent < 0)
    return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole)
    return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

void print(workspace& ws, text_builder& out, const value& v) {
  if (v.is_string())
    out.append(v.as_string().content);
  else if (!v.is_undefined())
    represent_at(ws, out, v, 0);
}

void represent(workspace& ws, text_builder& out, const value& v) { represent_at(ws, out, v, 0); }

value to_string(workspace& ws, const value& v) {
  if (v.is_string())
    return v;
  text_builder out(ws);
  print(ws, out, v);
  return out.finish();
}

value escape_markup(workspace& ws, const value& v) {
  value s = to_string(ws, v);
  if (s.as_string().markup)
    return s;
  text_builder out(ws);
  spell_out(s.as_string().content, out, [](char32_t point, std::string_view bytes, std::string& to) {
    switch (point) {
      case '&': to += "&amp;"; break;
      case '<': to += "&lt;"; break;
      case '>': to += "&gt;"; break;
      case '\'': to += "&#39;"; break;
      case '"': to += "&#34;"; break;
      default: to += bytes;
    }
  });
  return out.finish(true);
}

void write_json(workspace& ws, text_builder& out, const value& v, const json_style& style) {
  json_writer(ws, out, style).write(v, 0);
}

} // namespace troupe::jinja
