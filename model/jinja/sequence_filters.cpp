// Filters on lists, dicts and what else can be walked over.
#include <algorithm>

#include "model/jinja/builtins.hpp"
#include "model/jinja/operators.hpp"
#include "model/jinja/print.hpp"
#include "model/jinja/strings.hpp"

namespace troupe::jinja {

namespace {

value do_list(workspace& ws, bound& a) {
  value items = iterate(ws, a[0]);
  ws.step(items.as_sequence().items.size() / 16);
  return make_sequence(ws, items.as_sequence().items);
}

value do_first(workspace& ws, bound& a) {
  value items = iterate(ws, a[0]);
  if (items.as_sequence().items.empty())
    return make_undefined(ws, "there is no first item, the sequence is empty");
  return items.as_sequence().items.front();
}

value do_last(workspace& ws, bound& a) {
  if (a[0].is_sequence() && a[0].as_sequence().form == sequence_form::generator)
    refuse("'last' does not go with a generator: put a 'list' before it");
  value items = iterate(ws, a[0]);
  if (items.as_sequence().items.empty())
    return make_undefined(ws, "there is no last item, the sequence is empty");
  return items.as_sequence().items.back();
}

value do_reverse(workspace& ws, bound& a) {
  if (a[0].is_string())
    return slice_of(ws, a[0], value::none(), value::none(), value::integer(-1));
  value items = iterate(ws, a[0]);
  const auto& in = items.as_sequence().items;
  ws.step(in.size() / 16);
  return make_sequence(ws, std::vector<value>(in.rbegin(), in.rend()), sequence_form::generator);
}

value do_items(workspace& ws, bound& a) {
  value out = make_sequence(ws, sequence_form::generator);
  if (a[0].is_undefined())
    return out;
  if (!a[0].is_mapping())
    refuse("'items' needs a dict, not " + std::string(type_name(a[0])));
  for (const auto& entry : a[0].as_mapping().entries())
    out.as_sequence().push(make_sequence(ws, {entry.key, entry.item}, sequence_form::tuple));
  return out;
}

value do_join(workspace& ws, bound& a) {
  value items = iterate(ws, a[0]);
  value separator = a.has(1) ? to_string(ws, a[1]) : make_string(ws, "");
  if (!a.has_some(2))
    return join(ws, separator.as_string(), items.as_sequence().items, false);
  std::vector<value> attributes;
  for (const value& item : items.as_sequence().items)
    attributes.push_back(path_of(ws, item, a[2]));
  return join(ws, separator.as_string(), attributes, false);
}

// ---- order

/// What an item is sorted or compared by.
value key_of(workspace& ws, const value& item, const value& path, bool case_sensitive) {
  value key = path.is_none() || path.is_undefined() ? item : path_of(ws, item, path);
  return case_sensitive ? key : folded(ws, key);
}

struct keyed {
  std::vector<value> keys;
  value item;
};

bool before(workspace& ws, const keyed& a, const keyed& b) {
  for (std::size_t i = 0; i < a.keys.size(); ++i)
    if (!equal(ws, a.keys[i], b.keys[i]))
      return compare(ws, a.keys[i], b.keys[i]) < 0;
  return false;
}

value sorted(workspace& ws, std::vector<keyed> all, bool reverse) {
  ws.step(all.size());
  if (reverse)
    std::stable_sort(all.begin(), all.end(), [&](const keyed& a, const keyed& b) { return before(ws, b, a); });
  else
    std::stable_sort(all.begin(), all.end(), [&](const keyed& a, const keyed& b) { return before(ws, a, b); });
  value out = make_sequence(ws);
  for (keyed& each : all)
    out.as_sequence().push(std::move(each.item));
  return out;
}

value do_sort(workspace& ws, bound& a) {
  value items = iterate(ws, a[0]);
  std::vector<value> paths; // "a,b" sorts by a, then by b.
  if (a.has_some(3) && a[3].is_string()) {
    const string_object& all = a.string(3);
    for (std::size_t begin = 0; begin <= all.bytes().size();) {
      std::size_t comma = std::min(all.bytes().find(',', begin), all.bytes().size());
      paths.push_back(substring(ws, all, begin, comma));
      begin = comma + 1;
    }
  } else {
    paths.push_back(a.has(3) ? a[3] : value::none());
  }
  std::vector<keyed> all;
  for (const value& item : items.as_sequence().items) {
    keyed next{{}, item};
    for (const value& path : paths)
      next.keys.push_back(key_of(ws, item, path, a.flag_or(2, false)));
    all.push_back(std::move(next));
  }
  return sorted(ws, std::move(all), a.flag_or(1, false));
}

value do_dictsort(workspace& ws, bound& a) {
  require_defined(a[0]);
  if (!a[0].is_mapping())
    refuse("'dictsort' needs a dict, not " + std::string(type_name(a[0])));
  std::string_view by = a.has(2) ? a.string(2).bytes() : "key";
  if (by != "key" && by != "value")
    refuse("'dictsort' sorts by key or value");
  std::vector<keyed> all;
  for (const auto& entry : a[0].as_mapping().entries()) {
    value key = key_of(ws, by == "key" ? entry.key : entry.item, value::none(), a.flag_or(1, false));
    all.push_back({{std::move(key)}, make_sequence(ws, {entry.key, entry.item}, sequence_form::tuple)});
  }
  return sorted(ws, std::move(all), a.flag_or(3, false));
}

template <bool Max>
value do_extreme(workspace& ws, bound& a) {
  value items = iterate(ws, a[0]);
  if (items.as_sequence().items.empty())
    return make_undefined(ws, "there is no item, the sequence is empty");
  value best, best_key;
  for (const value& item : items.as_sequence().items) {
    value key = key_of(ws, item, a.or_undefined(2), a.flag_or(1, false));
    if (best_key.is_undefined() || (Max ? compare(ws, key, best_key) > 0 : compare(ws, key, best_key) < 0)) {
      best = item;
      best_key = key;
    }
  }
  return best;
}

value do_unique(workspace& ws, bound& a) {
  value items = iterate(ws, a[0]);
  value seen = make_mapping(ws);
  value out = make_sequence(ws, sequence_form::generator);
  for (const value& item : items.as_sequence().items) {
    value key = key_of(ws, item, a.or_undefined(2), a.flag_or(1, false));
    if (seen.as_mapping().find(key))
      continue;
    seen.as_mapping().set(key, value::none());
    out.as_sequence().push(item);
  }
  return out;
}

value do_sum(workspace& ws, bound& a) {
  value items = iterate(ws, a[0]);
  value sum = a.has(2) ? a[2] : value::integer(0);
  for (const value& item : items.as_sequence().items)
    sum = apply(ws, operation::add, sum, a.has_some(1) ? path_of(ws, item, a[1]) : item);
  return sum;
}

// ---- map, select, reject

const builtin& named(const value& name, bool filter) {
  if (!name.is_string())
    refuse("the name of a filter or test must be a string");
  const builtin* found = filter ? find_filter(name.as_string().bytes()) : find_test(name.as_string().bytes());
  if (!found)
    throw failure{errc::unsupported, std::string("there is no ") + (filter ? "filter" : "test") + " named '"
                                       + std::string(name.as_string().bytes()) + "'"};
  return *found;
}

/// The arguments beyond the first `skip`, after the item that they are applied to.
value apply_to(workspace& ws, const builtin& b, const value& item, const arguments& more, std::size_t skip) {
  arguments args;
  args.positional.push_back(item);
  args.positional.insert(args.positional.end(), more.positional.begin() + static_cast<std::ptrdiff_t>(skip),
                         more.positional.end());
  args.named = more.named;
  return call_builtin(ws, b, std::move(args));
}

/// Jinja does not look into what counts as false, so that None has no items here and is no error.
value items_if_any(workspace& ws, const value& v) {
  return truthy(v) ? iterate(ws, v) : make_sequence(ws);
}

value do_map(workspace& ws, bound& a) {
  deeper guard(ws); // map('map', ...)
  value items = items_if_any(ws, a[0]);
  value out = make_sequence(ws, sequence_form::generator);
  if (a.more.positional.empty() && !a.more.named.empty()) {
    value path, fallback = value::none();
    for (const named_value& each : a.more.named) {
      if (each.name != "attribute" && each.name != "default")
        refuse("'map' has no argument '" + each.name + "'");
      (each.name == "attribute" ? path : fallback) = each.item;
    }
    for (const value& item : items.as_sequence().items)
      out.as_sequence().push(path_of(ws, item, path, fallback));
    return out;
  }
  if (a.more.positional.empty())
    refuse("'map' needs the name of a filter, or attribute=");
  const builtin& filter = named(a.more.positional[0], true);
  for (const value& item : items.as_sequence().items)
    out.as_sequence().push(apply_to(ws, filter, item, a.more, 1));
  return out;
}

/// select, reject and their twins that look at an attribute.
template <bool Keep, bool Attribute>
value do_select(workspace& ws, bound& a) {
  deeper guard(ws);
  value items = items_if_any(ws, a[0]);
  constexpr std::size_t test_at = Attribute ? 1 : 0;
  if (Attribute && a.more.positional.empty())
    refuse("'" + std::string(a.callee) + "' needs the name of an attribute");
  const builtin* test = a.more.positional.size() > test_at ? &named(a.more.positional[test_at], false) : nullptr;
  value out = make_sequence(ws, sequence_form::generator);
  for (const value& item : items.as_sequence().items) {
    value subject = Attribute ? path_of(ws, item, a.more.positional[0]) : item;
    if (truthy(test ? apply_to(ws, *test, subject, a.more, test_at + 1) : subject) == Keep)
      out.as_sequence().push(item);
  }
  return out;
}

// ---- pieces

value do_batch(workspace& ws, bound& a) {
  value items = iterate(ws, a[0]);
  std::int64_t size = a.integer(1);
  if (size <= 0 || size > ws.bounds().max_range_items)
    refuse("'batch' needs a size from 1 to " + std::to_string(ws.bounds().max_range_items));
  value out = make_sequence(ws, sequence_form::generator);
  auto full = static_cast<std::size_t>(size);
  for (std::size_t i = 0; i < items.as_sequence().items.size(); ++i) {
    if (i % full == 0)
      out.as_sequence().push(make_sequence(ws));
    out.as_sequence().items.back().as_sequence().push(items.as_sequence().items[i]);
  }
  if (a.has_some(2) && !out.as_sequence().items.empty()) {
    sequence_object& last = out.as_sequence().items.back().as_sequence();
    while (last.items.size() < full)
      last.push(a[2]);
  }
  return out;
}

value do_slice(workspace& ws, bound& a) {
  value items = iterate(ws, a[0]);
  std::int64_t slices = a.integer(1);
  if (slices <= 0 || slices > ws.bounds().max_range_items)
    refuse("'slice' needs a number of slices from 1 to " + std::to_string(ws.bounds().max_range_items));
  const auto& in = items.as_sequence().items;
  auto count = static_cast<std::size_t>(slices);
  std::size_t each = in.size() / count, longer = in.size() % count, at = 0;
  value out = make_sequence(ws, sequence_form::generator);
  for (std::size_t i = 0; i < count; ++i) {
    value part = make_sequence(ws);
    for (std::size_t j = 0; j < each + (i < longer); ++j)
      part.as_sequence().push(in[at++]);
    if (a.has_some(2) && i >= longer)
      part.as_sequence().push(a[2]);
    out.as_sequence().push(part);
  }
  return out;
}

} // namespace

std::span<const builtin> sequence_filters() {
  static const builtin all[] = {
    {"list", {"value"}, do_list},
    {"first", {"seq"}, do_first},
    {"last", {"seq"}, do_last},
    {"reverse", {"value"}, do_reverse},
    {"items", {"value"}, do_items},
    {"join", {"value", "d", "attribute"}, do_join},
    {"sort", {"value", "reverse", "case_sensitive", "attribute"}, do_sort},
    {"dictsort", {"value", "case_sensitive", "by", "reverse"}, do_dictsort},
    {"min", {"value", "case_sensitive", "attribute"}, do_extreme<false>},
    {"max", {"value", "case_sensitive", "attribute"}, do_extreme<true>},
    {"unique", {"value", "case_sensitive", "attribute"}, do_unique},
    {"sum", {"iterable", "attribute", "start"}, do_sum},
    {"map", {"value"}, do_map, true},
    {"select", {"value"}, do_select<true, false>, true},
    {"reject", {"value"}, do_select<false, false>, true},
    {"selectattr", {"value"}, do_select<true, true>, true},
    {"rejectattr", {"value"}, do_select<false, true>, true},
    {"batch", {"value", "linecount", "fill_with"}, do_batch},
    {"slice", {"value", "slices", "fill_with"}, do_slice},
  };
  return all;
}

} // namespace troupe::jinja
