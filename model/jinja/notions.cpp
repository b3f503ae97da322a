// Python's notions of values: truth, equality, order, length, membership.
#include <algorithm>
#include <cstring>

#include "model/jinja/unicode.hpp"
#include "model/jinja/value.hpp"

namespace troupe::jinja {

bool truthy(const value& v) {
  switch (v.kind()) {
    case kind::undefined: case kind::none: return false;
    case kind::boolean: case kind::integer: return v.as_integer() != 0;
    case kind::real: return v.as_real() != 0;
    case kind::string: return !v.as_string().bytes().empty();
    case kind::sequence:
      return v.as_sequence().form == sequence_form::generator || !v.as_sequence().items.empty();
    case kind::mapping: return !v.as_mapping().entries().empty();
    case kind::name_space: case kind::function: case kind::loop: return true;
  }
  return false;
}

std::string_view type_name(const value& v) {
  switch (v.kind()) {
    case kind::undefined: return "Undefined";
    case kind::none: return "NoneType";
    case kind::boolean: return "bool";
    case kind::integer: return "int";
    case kind::real: return "float";
    case kind::string: return "str";
    case kind::mapping: return "dict";
    case kind::name_space: return "Namespace";
    case kind::function: return "function";
    case kind::loop: return "LoopContext";
    case kind::sequence: break;
  }
  switch (v.as_sequence().form) {
    case sequence_form::list: return "list";
    case sequence_form::tuple: return "tuple";
    case sequence_form::view: return "dict_view";
    case sequence_form::generator: return "generator";
    case sequence_form::range: return "range";
  }
  return "object";
}

void require_defined(const value& v) {
  if (v.is_undefined())
    refuse(v.undefined_reason());
}

namespace {

/// Counts how deep lists lie in lists, which a template can make as deep as it likes.
struct nesting {
  explicit nesting(workspace& ws, std::size_t depth) {
    ws.step();
    if (depth > ws.bounds().max_value_nesting)
      refuse_limit("lists or dicts are nested more than " + std::to_string(ws.bounds().max_value_nesting) + " deep");
  }
};

bool numbers_equal(const value& a, const value& b) {
  if (a.is_integral() && b.is_integral())
    return a.as_integer() == b.as_integer();
  return a.as_real() == b.as_real();
}

bool equal_at(workspace& ws, const value& a, const value& b, std::size_t depth);

bool mappings_equal(workspace& ws, const mapping_object& a, const mapping_object& b, std::size_t depth) {
  if (a.entries().size() != b.entries().size())
    return false;
  for (const auto& entry : a.entries()) {
    const value* other = b.find(entry.key);
    if (!other || !equal_at(ws, entry.item, *other, depth + 1))
      return false;
  }
  return true;
}

bool sequences_equal(workspace& ws, const sequence_object& a, const sequence_object& b, std::size_t depth) {
  if (a.form != b.form || a.items.size() != b.items.size())
    return false;
  for (std::size_t i = 0; i < a.items.size(); ++i)
    if (!equal_at(ws, a.items[i], b.items[i], depth + 1))
      return false;
  return true;
}

bool equal_at(workspace& ws, const value& a, const value& b, std::size_t depth) {
  nesting guard(ws, depth);
  if (a.is_number() && b.is_number())
    return numbers_equal(a, b);
  if (a.kind() != b.kind())
    return false;
  switch (a.kind()) {
    case kind::undefined: case kind::none: return true;
    case kind::string:
      ws.step_bytes(a.as_string().bytes().size());
      return a.as_string().bytes() == b.as_string().bytes();
    case kind::sequence:
      return a.identity() == b.identity() || sequences_equal(ws, a.as_sequence(), b.as_sequence(), depth);
    case kind::mapping: return a.identity() == b.identity() || mappings_equal(ws, a.as_mapping(), b.as_mapping(), depth);
    default: return a.identity() == b.identity();
  }
}

int compare_at(workspace& ws, const value& a, const value& b, std::size_t depth) {
  nesting guard(ws, depth);
  if (a.is_integral() && b.is_integral())
    return a.as_integer() < b.as_integer() ? -1 : a.as_integer() > b.as_integer();
  if (a.is_number() && b.is_number())
    return a.as_real() < b.as_real() ? -1 : a.as_real() > b.as_real();
  require_defined(a);
  require_defined(b);
  if (a.is_string() && b.is_string()) {
    ws.step_bytes(std::min(a.as_string().bytes().size(), b.as_string().bytes().size()));
    return a.as_string().bytes().compare(b.as_string().bytes()); // UTF-8 sorts as its code points do.
  }
  if (a.is_sequence() && b.is_sequence() && a.as_sequence().form == b.as_sequence().form
      && a.as_sequence().form <= sequence_form::tuple) {
    const auto& left = a.as_sequence().items;
    const auto& right = b.as_sequence().items;
    for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i)
      if (!equal(ws, left[i], right[i]))
        return compare_at(ws, left[i], right[i], depth + 1);
    return left.size() < right.size() ? -1 : left.size() > right.size();
  }
  refuse("values of the types " + std::string(type_name(a)) + " and " + std::string(type_name(b))
         + " have no order");
}

std::size_t hash_at(workspace& ws, const value& v, std::size_t depth) {
  nesting guard(ws, depth);
  switch (v.kind()) {
    case kind::undefined: return 1;
    case kind::none: return 2;
    case kind::boolean: case kind::integer: return std::hash<double>{}(static_cast<double>(v.as_integer()));
    case kind::real: return std::hash<double>{}(v.as_real());
    case kind::string:
      ws.step_bytes(v.as_string().bytes().size());
      return hash_of(v.as_string().bytes());
    case kind::sequence: {
      if (v.as_sequence().form != sequence_form::tuple)
        break;
      std::size_t hash = 3;
      for (const value& item : v.as_sequence().items)
        hash = hash * 1000003 ^ hash_at(ws, item, depth + 1);
      return hash;
    }
    case kind::mapping: break;
    default: return std::hash<const void*>{}(v.identity());
  }
  refuse("a value of the type " + std::string(type_name(v)) + " cannot be a key");
}

} // namespace

bool equal(workspace& ws, const value& a, const value& b) { return equal_at(ws, a, b, 0); }
int compare(workspace& ws, const value& a, const value& b) { return compare_at(ws, a, b, 0); }
std::size_t hash_of(workspace& ws, const value& v) { return hash_at(ws, v, 0); }
std::size_t hash_of(std::string_view s) { return std::hash<std::string_view>{}(s); }

bool contains(workspace& ws, const value& container, const value& item) {
  if (container.is_string()) {
    require_defined(item);
    if (!item.is_string())
      refuse("'in' needs a string on the left of a string, not " + std::string(type_name(item)));
    ws.step_bytes(container.as_string().bytes().size());
    return memmem(container.as_string().bytes().data(), container.as_string().bytes().size(),
                  item.as_string().bytes().data(), item.as_string().bytes().size()) != nullptr;
  }
  if (container.is_mapping())
    return container.as_mapping().find(item) != nullptr;
  value items = iterate(ws, container);
  for (const value& each : items.as_sequence().items)
    if (equal(ws, each, item))
      return true;
  return false;
}

value iterate(workspace& ws, const value& v) {
  switch (v.kind()) {
    case kind::undefined: return make_sequence(ws);
    case kind::sequence: {
      ws.step(v.as_sequence().items.size() / 64);
      if (v.as_sequence().form != sequence_form::generator)
        return v;
      value items = make_sequence(ws);
      std::swap(items.as_sequence().items, v.as_sequence().items);
      return items;
    }
    case kind::string: {
      const string_object& s = v.as_string();
      value items = make_sequence(ws);
      for (std::size_t at = 0; at < s.bytes().size();) {
        std::size_t size = decode(s.bytes(), at).bytes;
        text_builder point(ws);
        point.append(s.content, at, at + size);
        items.as_sequence().push(point.finish(s.markup));
        at += size;
      }
      return items;
    }
    case kind::mapping: {
      value items = make_sequence(ws);
      for (const auto& entry : v.as_mapping().entries())
        items.as_sequence().push(entry.key);
      ws.step(items.as_sequence().items.size() / 64);
      return items;
    }
    default: refuse("a value of the type " + std::string(type_name(v)) + " cannot be iterated over");
  }
}

std::size_t length_of(workspace& ws, const value& v) {
  switch (v.kind()) {
    case kind::undefined: return 0;
    case kind::string:
      if (v.as_string().ascii)
        return v.as_string().bytes().size();
      ws.step_bytes(v.as_string().bytes().size());
      return count_points(v.as_string().bytes());
    case kind::mapping: return v.as_mapping().entries().size();
    case kind::sequence:
      if (v.as_sequence().form != sequence_form::generator)
        return v.as_sequence().items.size();
      [[fallthrough]];
    default: refuse("a value of the type " + std::string(type_name(v)) + " has no length");
  }
}

} // namespace troupe::jinja
