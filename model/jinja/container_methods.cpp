// The methods of list and dict. transformers' sandbox forbids those that change a list or dict; templates written for
// other engines use them, so they are here.
#include <algorithm>
#include <ctime>

#include "model/jinja/builtins.hpp"

namespace troupe::jinja {

namespace {

std::vector<value>& items_of(bound& a) { return a[0].as_sequence().items; }

value do_append(workspace&, bound& a) {
  a[0].as_sequence().push(a[1]);
  return value::none();
}

value do_extend(workspace& ws, bound& a) {
  std::vector<value> more = iterate(ws, a[1]).as_sequence().items; // A copy: it may be the list itself.
  ws.step(more.size());
  for (value& item : more)
    a[0].as_sequence().push(std::move(item));
  return value::none();
}

value do_insert(workspace& ws, bound& a) {
  auto& items = items_of(a);
  auto size = static_cast<std::int64_t>(items.size());
  std::int64_t at = a.integer(1) < 0 ? std::max<std::int64_t>(a.integer(1) + size, 0) : std::min(a.integer(1), size);
  ws.step(1 + items.size() / 16);
  a[0].as_sequence().push(a[2]);
  std::rotate(items.begin() + at, items.end() - 1, items.end());
  return value::none();
}

value do_list_pop(workspace& ws, bound& a) {
  auto& items = items_of(a);
  auto size = static_cast<std::int64_t>(items.size());
  std::int64_t at = a.integer_or(1, -1);
  if (at < 0)
    at += size;
  if (at < 0 || at >= size)
    refuse("'pop' from a list of " + std::to_string(size) + " items is out of range");
  ws.step(1 + items.size() / 16);
  value item = items[static_cast<std::size_t>(at)];
  items.erase(items.begin() + at);
  return item;
}

value do_remove(workspace& ws, bound& a) {
  auto& items = items_of(a);
  for (std::size_t i = 0; i < items.size(); ++i)
    if (equal(ws, items[i], a[1])) {
      items.erase(items.begin() + static_cast<std::ptrdiff_t>(i));
      return value::none();
    }
  refuse("'remove' finds no such item in the list");
}

value do_index(workspace& ws, bound& a) {
  auto& items = items_of(a);
  for (std::size_t i = 0; i < items.size(); ++i)
    if (equal(ws, items[i], a[1]))
      return value::integer(static_cast<std::int64_t>(i));
  refuse("'index' finds no such item in the list");
}

value do_count(workspace& ws, bound& a) {
  std::int64_t count = 0;
  for (const value& item : items_of(a))
    count += equal(ws, item, a[1]);
  return value::integer(count);
}

value reverse_list(workspace& ws, bound& a) {
  ws.step(items_of(a).size() / 16);
  std::reverse(items_of(a).begin(), items_of(a).end());
  return value::none();
}

value do_clear(workspace&, bound& a) {
  items_of(a).clear();
  return value::none();
}

value do_copy(workspace& ws, bound& a) {
  ws.step(items_of(a).size() / 16);
  return make_sequence(ws, items_of(a));
}

// ---- dict

value do_get(workspace&, bound& a) {
  const value* found = a[0].as_mapping().find(a[1]);
  return found ? *found : a.has(2) ? a[2] : value::none();
}

template <bool Keys, bool Items>
value do_view(workspace& ws, bound& a) {
  value out = make_sequence(ws, sequence_form::view);
  ws.step(a[0].as_mapping().entries().size() / 16);
  for (const auto& entry : a[0].as_mapping().entries()) {
    if (Keys && Items)
      out.as_sequence().push(make_sequence(ws, {entry.key, entry.item}, sequence_form::tuple));
    else
      out.as_sequence().push(Keys ? entry.key : entry.item);
  }
  return out;
}

void update(workspace& ws, mapping_object& to, const value& from) {
  if (from.is_mapping()) {
    auto entries = from.as_mapping().entries(); // A copy: it may be the dict itself.
    ws.step(entries.size());
    for (const auto& entry : entries)
      to.set(entry.key, entry.item);
    return;
  }
  value pairs = iterate(ws, from);
  for (const value& pair : pairs.as_sequence().items) {
    value both = iterate(ws, pair);
    if (both.as_sequence().items.size() != 2)
      refuse("a dict is made of pairs");
    to.set(both.as_sequence().items[0], both.as_sequence().items[1]);
  }
}

void update_named(workspace& ws, mapping_object& to, const std::vector<named_value>& named) {
  for (const named_value& each : named)
    to.set(make_string(ws, each.name), each.item);
}

value do_update(workspace& ws, bound& a) {
  if (a.has(1))
    update(ws, a[0].as_mapping(), a[1]);
  update_named(ws, a[0].as_mapping(), a.more.named);
  return value::none();
}

value do_dict_pop(workspace&, bound& a) {
  const value* found = a[0].as_mapping().find(a[1]);
  if (!found && a.has(2))
    return a[2];
  if (!found)
    refuse("'pop' finds no such key in the dict");
  value item = *found;
  a[0].as_mapping().erase(a[1]);
  return item;
}

value do_setdefault(workspace&, bound& a) {
  if (const value* found = a[0].as_mapping().find(a[1]))
    return *found;
  value item = a.has(2) ? a[2] : value::none();
  a[0].as_mapping().set(a[1], item);
  return item;
}

value do_dict_copy(workspace& ws, bound& a) {
  value out = make_mapping(ws);
  update(ws, out.as_mapping(), a[0]);
  return out;
}

value do_dict_clear(workspace&, bound& a) {
  a[0].as_mapping().erase_all();
  return value::none();
}

// ---- functions

value do_dict(workspace& ws, bound& a) {
  value out = make_mapping(ws);
  if (a.has(0))
    update(ws, out.as_mapping(), a[0]);
  update_named(ws, out.as_mapping(), a.more.named);
  return out;
}

value do_namespace(workspace& ws, bound& a) {
  value made = do_dict(ws, a);
  return value(kind::name_space, made.as_mapping());
}

value do_range(workspace& ws, bound& a) {
  std::int64_t start = a.has(1) ? a.integer(0) : 0;
  std::int64_t stop = a.has(1) ? a.integer(1) : a.integer(0);
  std::int64_t step = a.integer_or(2, 1);
  if (step == 0)
    refuse("the step of a range cannot be 0");
  bool some = step > 0 ? start < stop : start > stop;
  // Unsigned, because stop - start may need 64 bits and its sign.
  auto distance = step > 0 ? static_cast<std::uint64_t>(stop) - static_cast<std::uint64_t>(start)
                           : static_cast<std::uint64_t>(start) - static_cast<std::uint64_t>(stop);
  auto stride = step > 0 ? static_cast<std::uint64_t>(step) : std::uint64_t{0} - static_cast<std::uint64_t>(step);
  std::uint64_t count = some ? (distance - 1) / stride + 1 : 0;
  if (count > static_cast<std::uint64_t>(ws.bounds().max_range_items))
    refuse_limit("a range has more than " + std::to_string(ws.bounds().max_range_items) + " items");
  value out = make_sequence(ws, sequence_form::range);
  out.as_sequence().bounds = {start, stop, step};
  ws.step(count / 16);
  for (std::uint64_t i = 0; i < count; ++i)
    out.as_sequence().push(value::integer(start + static_cast<std::int64_t>(i) * step));
  return out;
}

value do_raise(workspace&, bound& a) {
  throw failure{errc::invalid_argument, a[0].is_string() ? std::string(a[0].as_string().bytes())
                                                         : "the template refuses these messages"};
}

/// The local time, as in Python's datetime.now().strftime(format).
value do_strftime_now(workspace& ws, bound& a) {
  constexpr std::size_t max_bytes = 1024;
  const string_object& format = a.string(0);
  std::time_t now = static_cast<std::time_t>(ws.now());
  std::tm fields{};
  localtime_r(&now, &fields);
  char buffer[max_bytes];
  std::string pattern(format.bytes());
  std::size_t size = std::strftime(buffer, sizeof buffer, pattern.c_str(), &fields);
  if (size == 0 && !pattern.empty())
    refuse_limit("strftime_now makes more than " + std::to_string(max_bytes) + " bytes, or none");
  return make_string(ws, std::string_view(buffer, size), format.content.all_trusted());
}

} // namespace

std::span<const builtin> list_methods() {
  static const builtin all[] = {
    {"append", {"self", "object"}, do_append},
    {"extend", {"self", "iterable"}, do_extend},
    {"insert", {"self", "index", "object"}, do_insert},
    {"pop", {"self", "index"}, do_list_pop},
    {"remove", {"self", "value"}, do_remove},
    {"index", {"self", "value"}, do_index},
    {"count", {"self", "value"}, do_count},
    {"reverse", {"self"}, reverse_list},
    {"clear", {"self"}, do_clear},
    {"copy", {"self"}, do_copy},
  };
  return all;
}

std::span<const builtin> mapping_methods() {
  static const builtin all[] = {
    {"get", {"self", "key", "default"}, do_get},
    {"keys", {"self"}, do_view<true, false>},
    {"values", {"self"}, do_view<false, true>},
    {"items", {"self"}, do_view<true, true>},
    {"update", {"self", "other"}, do_update, true},
    {"pop", {"self", "key", "default"}, do_dict_pop},
    {"setdefault", {"self", "key", "default"}, do_setdefault},
    {"copy", {"self"}, do_dict_copy},
    {"clear", {"self"}, do_dict_clear},
  };
  return all;
}

std::span<const builtin> global_functions() {
  static const builtin all[] = {
    {"range", {"start", "stop", "step"}, do_range},
    {"dict", {"mapping"}, do_dict, true},
    {"namespace", {"mapping"}, do_namespace, true},
    {"raise_exception", {"message"}, do_raise},
    {"strftime_now", {"format"}, do_strftime_now},
  };
  return all;
}

} // namespace troupe::jinja
