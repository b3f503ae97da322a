// v.name, v[index] and v[start:stop:step].
#include <algorithm>
#include <charconv>

#include "model/jinja/builtins.hpp"
#include "model/jinja/unicode.hpp"

namespace troupe::jinja {

namespace {

value bound_method(workspace& ws, const value& self, const builtin& method) {
  return make_function(ws, method.name, [self, &method](workspace& w, arguments& args) {
    args.positional.insert(args.positional.begin(), self);
    return call_builtin(w, method, std::move(args));
  });
}

value undefined_attribute(workspace& ws, const value& v, std::string_view name) {
  return make_undefined(ws, "a value of the type " + std::string(type_name(v)) + " has no attribute or item '"
                              + std::string(name) + "'");
}

/// loop.cycle(a, b, ...) and loop.changed(...).
value loop_function(workspace& ws, const value& loop, std::string_view name) {
  if (name == "cycle")
    return make_function(ws, name, [loop](workspace&, arguments& args) {
      if (args.positional.empty())
        refuse("loop.cycle needs something to cycle through");
      return args.positional[loop.as_loop().index % args.positional.size()];
    });
  if (name == "changed")
    return make_function(ws, name, [loop](workspace& w, arguments& args) {
      auto& last = loop.as_loop().changed;
      bool same = last.size() == args.positional.size() && !last.empty();
      for (std::size_t i = 0; same && i < last.size(); ++i)
        same = equal(w, last[i], args.positional[i]);
      last = args.positional;
      return value::boolean(!same);
    });
  return undefined_attribute(ws, loop, name);
}

/// Python's index from the end; false where there is none.
bool resolve_index(std::int64_t& index, std::size_t size) {
  if (index < 0)
    index += static_cast<std::int64_t>(size);
  return index >= 0 && index < static_cast<std::int64_t>(size);
}

value character_at(workspace& ws, const value& v, std::int64_t index) {
  const string_object& s = v.as_string();
  if (!resolve_index(index, length_of(ws, v)))
    return make_undefined(ws, "a string has no character " + std::to_string(index));
  auto point = static_cast<std::size_t>(index);
  if (!s.ascii)
    ws.step_bytes(s.bytes().size());
  std::size_t begin = s.ascii ? point : offset_of_point(s.bytes(), point);
  text_builder out(ws);
  out.append(s.content, begin, begin + decode(s.bytes(), begin).bytes);
  return out.finish(s.markup);
}

struct slice_range {
  std::int64_t start, stop, step;
  std::size_t count() const {
    if (step > 0)
      return start < stop ? static_cast<std::size_t>((stop - start - 1) / step + 1) : 0;
    return stop < start ? static_cast<std::size_t>((start - stop - 1) / -step + 1) : 0;
  }
};

std::int64_t clamp_index(const value& v, std::int64_t fallback, std::int64_t low, std::int64_t high,
                         std::int64_t size) {
  if (v.is_none())
    return fallback;
  std::int64_t index = v.as_integer() < 0 ? v.as_integer() + size : v.as_integer();
  return index < low ? low : index > high ? high : index;
}

slice_range resolve_slice(const value& start, const value& stop, const value& step, std::size_t length) {
  for (const value* part : {&start, &stop, &step}) {
    require_defined(*part);
    if (!part->is_none() && !part->is_integral())
      refuse("the parts of a slice must be integers, not " + std::string(type_name(*part)));
  }
  auto size = static_cast<std::int64_t>(length);
  std::int64_t by = step.is_none() ? 1 : step.as_integer();
  if (by == 0)
    refuse("the step of a slice cannot be 0");
  by = std::max<std::int64_t>(-size - 1, std::min<std::int64_t>(by, size + 1));
  if (by > 0)
    return {clamp_index(start, 0, 0, size, size), clamp_index(stop, size, 0, size, size), by};
  return {clamp_index(start, size - 1, -1, size - 1, size), clamp_index(stop, -1, -1, size - 1, size), by};
}

value slice_string(workspace& ws, const string_object& s, const slice_range& range) {
  ws.step_bytes(s.bytes().size());
  text_builder out(ws);
  auto offset = [&](std::int64_t point) {
    auto p = static_cast<std::size_t>(point);
    return s.ascii ? p : offset_of_point(s.bytes(), p);
  };
  if (range.step == 1) {
    if (range.start < range.stop)
      out.append(s.content, offset(range.start), offset(range.stop));
    return out.finish(s.markup);
  }
  std::vector<std::size_t> offsets; // Of every code point, as they are not taken in order.
  for (std::size_t at = 0; at < s.bytes().size(); at += decode(s.bytes(), at).bytes)
    offsets.push_back(at);
  offsets.push_back(s.bytes().size());
  ws.step(offsets.size());
  std::int64_t at = range.start;
  for (std::size_t i = 0, n = range.count(); i < n; ++i, at += range.step)
    out.append(s.content, offsets[static_cast<std::size_t>(at)], offsets[static_cast<std::size_t>(at) + 1]);
  return out.finish(s.markup);
}

} // namespace

value attribute_of(workspace& ws, const value& v, std::string_view name) {
  switch (v.kind()) {
    case kind::undefined: refuse(v.undefined_reason());
    case kind::loop: {
      value found = v.as_loop().attribute(name);
      return found.is_undefined() ? loop_function(ws, v, name) : found;
    }
    case kind::function:
      if (name == "name")
        return make_string(ws, v.as_function().name);
      return undefined_attribute(ws, v, name);
    default: break;
  }
  if (const builtin* method = find_method(v, name)) // As in Python, dict.items is the method, even if there is a key.
    return bound_method(ws, v, *method);
  if (v.is_mapping() || v.is(kind::name_space))
    if (const value* found = v.as_mapping().find(name))
      return *found;
  return undefined_attribute(ws, v, name);
}

value item_of(workspace& ws, const value& v, const value& index) {
  require_defined(v);
  if (v.is_mapping()) {
    bool hashable = !index.is_mapping() && (!index.is_sequence() || index.as_sequence().form == sequence_form::tuple);
    if (const value* found = hashable ? v.as_mapping().find(index) : nullptr)
      return *found;
  }
  if (index.is_integral() && v.is_string())
    return character_at(ws, v, index.as_integer());
  if (index.is_integral() && v.is_sequence()) {
    const sequence_object& s = v.as_sequence();
    std::int64_t at = index.as_integer();
    if (s.form != sequence_form::view && s.form != sequence_form::generator && resolve_index(at, s.items.size()))
      return s.items[static_cast<std::size_t>(at)];
    return make_undefined(ws, "a " + std::string(type_name(v)) + " of " + std::to_string(s.items.size())
                                + " items has no item " + std::to_string(index.as_integer()));
  }
  if (index.is_string())
    return attribute_of(ws, v, index.as_string().bytes());
  return undefined_attribute(ws, v, type_name(index));
}

value path_of(workspace& ws, const value& v, const value& path, const value& fallback) {
  auto or_fallback = [&](value found) { return found.is_undefined() && !fallback.is_none() ? fallback : found; };
  if (!path.is_string())
    return or_fallback(item_of(ws, v, path));
  value at = v;
  std::string_view rest = path.as_string().bytes();
  for (;;) {
    std::string_view name = rest.substr(0, rest.find('.'));
    std::int64_t index;
    auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), index);
    bool number = problem == std::errc{} && end == name.data() + name.size() && name[0] != '-';
    at = or_fallback(item_of(ws, at, number ? value::integer(index) : make_string(ws, name)));
    if (name.size() == rest.size())
      return at;
    rest.remove_prefix(name.size() + 1);
  }
}

value slice_of(workspace& ws, const value& v, const value& start, const value& stop, const value& step) {
  require_defined(v);
  bool sliceable = v.is_string() || (v.is_sequence() && v.as_sequence().form != sequence_form::view
                                     && v.as_sequence().form != sequence_form::generator);
  if (!sliceable)
    return make_undefined(ws, "a value of the type " + std::string(type_name(v)) + " cannot be sliced");
  slice_range range = resolve_slice(start, stop, step, length_of(ws, v));
  if (v.is_string())
    return slice_string(ws, v.as_string(), range);
  value out = make_sequence(ws, v.as_sequence().form == sequence_form::tuple ? sequence_form::tuple
                                                                              : sequence_form::list);
  std::int64_t at = range.start;
  ws.step(range.count() / 16);
  for (std::size_t i = 0, n = range.count(); i < n; ++i, at += range.step)
    out.as_sequence().push(v.as_sequence().items[static_cast<std::size_t>(at)]);
  return out;
}

} // namespace troupe::jinja
