// "..." % x and "...".format(x).
// Sources: https://docs.python.org/3/library/stdtypes.html#printf-style-string-formatting,
// https://docs.python.org/3/library/string.html#format-specification-mini-language
#include <algorithm>
#include <optional>

#include "model/jinja/layout.hpp"
#include "model/jinja/numbers.hpp"
#include "model/jinja/print.hpp"
#include "model/jinja/strings.hpp"
#include "model/jinja/unicode.hpp"

namespace troupe::jinja {

namespace {

class percent_formatter {
public:
  percent_formatter(workspace& ws, const string_object& format, const value& args)
    : ws_(ws), format_(format), s_(format.bytes()), args_(args), out_(ws) {}

  value run() {
    std::size_t at = 0;
    while (at < s_.size()) {
      std::size_t mark = std::min(s_.find('%', at), s_.size());
      out_.append(format_.content, at, mark);
      at = mark;
      if (at < s_.size())
        at = directive(at + 1);
    }
    bool all_used = args_.is_mapping() || next_ >= (is_tuple() ? args_.as_sequence().items.size() : 1);
    if (!all_used)
      refuse("not all arguments of a % format are used");
    return out_.finish(format_.markup);
  }

private:
  bool is_tuple() const { return args_.is_sequence() && args_.as_sequence().form == sequence_form::tuple; }

  value next() {
    if (is_tuple() ? next_ < args_.as_sequence().items.size() : next_ == 0)
      return is_tuple() ? args_.as_sequence().items[next_++] : (++next_, args_);
    refuse("a % format has fewer arguments than it needs");
  }

  value named(std::string_view name) {
    if (!args_.is_mapping())
      refuse("a % format with names needs a dict");
    const value* found = args_.as_mapping().find(name);
    if (!found)
      refuse("a % format finds no '" + std::string(name) + "'");
    return *found;
  }

  /// What begins after the % at `at`; the offset after it.
  std::size_t directive(std::size_t at) {
    ws_.step();
    layout l;
    std::optional<std::string_view> name;
    if (at < s_.size() && s_[at] == '(') {
      std::size_t close = s_.find(')', at);
      if (close == std::string_view::npos)
        refuse("a name in a % format has no end");
      name = s_.substr(at + 1, close - at - 1);
      at = close + 1;
    }
    for (; at < s_.size() && std::string_view("-+ #0").find(s_[at]) != std::string_view::npos; ++at) {
      if (s_[at] == '-') l.align = '<';
      else if (s_[at] == '#') l.alternate = true;
      else if (s_[at] == '0') l.fill = "0";
      else l.sign = s_[at];
    }
    l.width = take_number(s_, at, max_format_width, 0);
    if (at < s_.size() && s_[at] == '.')
      l.precision = take_number(s_, ++at, max_format_precision, 0);
    if (at >= s_.size())
      refuse("a % format ends in the middle");
    l.type = s_[at++];
    if (l.type == '%') {
      out_.append(format_.content, at - 1, at);
      return at;
    }
    write(l, name ? named(*name) : next());
    return at;
  }

  void write(layout& l, const value& v) {
    if (std::string_view("diuxXofFeEgG").find(l.type) != std::string_view::npos) {
      require_defined(v);
      if (!v.is_number())
        refuse(std::string("the format %") + l.type + " needs a number, not " + std::string(type_name(v)));
      bool whole = std::string_view("diu").find(l.type) != std::string_view::npos;
      if (l.fill == "0")
        l.align = l.align == '<' ? '<' : '=';
      if (l.align == '<')
        l.fill = " ";
      return lay_out_number(out_, l, whole && !v.is_integral() ? truncated(v.as_real()) : v);
    }
    if (l.type != 's' && l.type != 'r' && l.type != 'a')
      refuse(std::string("a % format knows no '%") + l.type + "'");
    l.fill = " ";
    l.align = l.align == '<' ? '<' : '>';
    value text = v;
    if (l.type != 's') {
      text_builder represented(ws_);
      represent(ws_, represented, v);
      text = represented.finish();
    }
    lay_out_string(ws_, out_, l, format_.markup ? escape_markup(ws_, text) : to_string(ws_, text));
  }

  static value truncated(double d) {
    if (!(d >= -9e18 && d <= 9e18))
      refuse_limit("an integer does not fit 64 bits");
    return value::integer(static_cast<std::int64_t>(d));
  }

  workspace& ws_;
  const string_object& format_;
  std::string_view s_;
  const value& args_;
  text_builder out_;
  std::size_t next_ = 0;
};

layout parse_layout(std::string_view s) {
  layout l;
  std::size_t at = 0;
  auto is_align = [&](std::size_t i) {
    return i < s.size() && std::string_view("<>^=").find(s[i]) != std::string_view::npos;
  };
  std::size_t fill = s.empty() ? 0 : decode(s, 0).bytes;
  if (fill > 0 && is_align(fill)) {
    l.fill = s.substr(0, fill);
    l.align = s[fill];
    at = fill + 1;
  } else if (is_align(0)) {
    l.align = s[at++];
  }
  auto skip = [&](char c) { return at < s.size() && s[at] == c ? (++at, true) : false; };
  if (at < s.size() && (s[at] == '+' || s[at] == '-' || s[at] == ' '))
    l.sign = s[at++];
  l.alternate = skip('#');
  if (skip('0') && l.align == '\0') {
    l.fill = "0";
    l.align = '=';
  }
  l.width = take_number(s, at, max_format_width, 0);
  l.grouped = skip(',');
  if (skip('.'))
    l.precision = take_number(s, at, max_format_precision, 0);
  if (at < s.size())
    l.type = s[at++];
  if (at < s.size())
    refuse("the format '" + std::string(s) + "' is not supported");
  return l;
}

class brace_formatter {
public:
  brace_formatter(workspace& ws, const string_object& format, const arguments& args)
    : ws_(ws), format_(format), s_(format.bytes()), args_(args), out_(ws) {}

  value run() {
    for (std::size_t at = 0; at < s_.size();) {
      std::size_t brace = std::min(s_.find_first_of("{}", at), s_.size());
      out_.append(format_.content, at, brace);
      at = brace;
      if (at >= s_.size())
        break;
      if (at + 1 < s_.size() && s_[at + 1] == s_[at]) {
        out_.append(format_.content, at, at + 1);
        at += 2;
      } else if (s_[at] == '}') {
        refuse("a '}' in a format closes nothing");
      } else {
        at = field(at + 1);
      }
    }
    return out_.finish(format_.markup);
  }

private:
  std::size_t field(std::size_t at) {
    ws_.step();
    std::size_t close = s_.find('}', at);
    if (close == std::string_view::npos)
      refuse("a '{' in a format has no end");
    std::string_view inside = s_.substr(at, close - at);
    if (inside.find('{') != std::string_view::npos)
      refuse("a field inside the field of a format is not supported");
    std::size_t colon = std::min(inside.find(':'), inside.size());
    std::size_t mark = std::min(inside.find('!'), colon);
    value v = lookup(inside.substr(0, mark));
    std::string_view conversion = inside.substr(mark, colon - mark);
    if (conversion == "!r") {
      text_builder represented(ws_);
      represent(ws_, represented, v);
      v = represented.finish();
    } else if (conversion == "!s") {
      v = to_string(ws_, v);
    } else if (!conversion.empty()) {
      refuse("the conversion '" + std::string(conversion) + "' in a format is not supported");
    }
    write(colon < inside.size() ? inside.substr(colon + 1) : std::string_view(), v);
    return close + 1;
  }

  value lookup(std::string_view path) {
    std::size_t end = std::min(path.find_first_of(".["), path.size());
    value v = argument(path.substr(0, end));
    while (end < path.size()) {
      bool attribute = path[end] == '.';
      std::size_t begin = end + 1;
      end = std::min(path.find_first_of(attribute ? ".[" : "]", begin), path.size());
      std::string_view name = path.substr(begin, end - begin);
      if (!attribute && end < path.size())
        ++end;
      auto index = attribute ? std::nullopt : read_integer(name, 10);
      v = attribute ? attribute_of(ws_, v, name)
          : item_of(ws_, v, index ? value::integer(*index) : make_string(ws_, name));
    }
    return v;
  }

  value argument(std::string_view name) {
    auto index = name.empty() ? std::optional(next_++) : read_integer(name, 10);
    if (index) {
      if (*index < 0 || static_cast<std::size_t>(*index) >= args_.positional.size())
        refuse("a format has no argument " + std::to_string(*index));
      return args_.positional[static_cast<std::size_t>(*index)];
    }
    for (const named_value& each : args_.named)
      if (each.name == name)
        return each.item;
    refuse("a format has no argument '" + std::string(name) + "'");
  }

  void write(std::string_view spec, const value& v) {
    if (spec.empty())
      return print(ws_, out_, format_.markup ? escape_markup(ws_, v) : v);
    layout l = parse_layout(spec);
    if (v.is_number() && l.type != 's')
      return lay_out_number(out_, l, v);
    if (!v.is_string() || (l.type != '\0' && l.type != 's') || l.align == '=')
      refuse("the format '" + std::string(spec) + "' does not go with the type " + std::string(type_name(v)));
    lay_out_string(ws_, out_, l, format_.markup ? escape_markup(ws_, v) : v);
  }

  workspace& ws_;
  const string_object& format_;
  std::string_view s_;
  const arguments& args_;
  text_builder out_;
  std::int64_t next_ = 0;
};

} // namespace

value format_percent(workspace& ws, const string_object& format, const value& args) {
  return percent_formatter(ws, format, args).run();
}

value format_braces(workspace& ws, const string_object& format, const arguments& args) {
  return brace_formatter(ws, format, args).run();
}

} // namespace troupe::jinja
