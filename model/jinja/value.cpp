#include "model/jinja/value.hpp"

#include <functional>

#include "model/jinja/unicode.hpp"

namespace troupe::jinja {

const string_object& value::as_string() const { return static_cast<const string_object&>(*object_); }
sequence_object& value::as_sequence() const { return static_cast<sequence_object&>(*object_); }
mapping_object& value::as_mapping() const { return static_cast<mapping_object&>(*object_); }
function_object& value::as_function() const { return static_cast<function_object&>(*object_); }
loop_object& value::as_loop() const { return static_cast<loop_object&>(*object_); }

std::string value::undefined_reason() const {
  return counted_ ? std::string(as_string().bytes()) : std::string("a value that is needed is undefined");
}

string_object::string_object(workspace& ws, text t, bool is_markup)
  : object(ws), content(std::move(t)), ascii(is_ascii(content.bytes())), markup(is_markup) {
  charge(sizeof(*this) + content.footprint());
}

// ---- mapping

namespace {
constexpr std::size_t scanned_entries = 8; ///< Up to so many, a scan is quicker than a table.
} // namespace

template <class Equal>
std::size_t mapping_object::locate(std::size_t hash, Equal equal) const {
  if (slots_.empty()) {
    for (std::size_t i = 0; i < entries_.size(); ++i)
      if (entries_[i].hash == hash && equal(entries_[i].key))
        return i;
    return entries_.size();
  }
  std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = hash & mask; slots_[slot] != 0; slot = (slot + 1) & mask) {
    std::size_t i = slots_[slot] - 1;
    if (entries_[i].hash == hash && equal(entries_[i].key))
      return i;
  }
  return entries_.size();
}

const value* mapping_object::find(const value& key) const {
  std::size_t i = locate(hash_of(owner(), key), [&](const value& other) { return equal(owner(), key, other); });
  return i < entries_.size() ? &entries_[i].item : nullptr;
}

const value* mapping_object::find(std::string_view key) const {
  std::size_t i = locate(hash_of(key), [&](const value& other) {
    return other.is_string() && other.as_string().bytes() == key;
  });
  return i < entries_.size() ? &entries_[i].item : nullptr;
}

void mapping_object::set(const value& key, value item) {
  std::size_t hash = hash_of(owner(), key);
  std::size_t i = locate(hash, [&](const value& other) { return equal(owner(), key, other); });
  if (i < entries_.size()) {
    entries_[i].item = std::move(item);
    return;
  }
  charge(sizeof(entry) + 2 * sizeof(std::uint32_t));
  entries_.push_back({key, std::move(item), hash});
  if (entries_.size() * 2 > slots_.size())
    rebuild();
  else
    index(entries_.size() - 1);
}

void mapping_object::index(std::size_t entry) {
  std::size_t mask = slots_.size() - 1;
  std::size_t slot = entries_[entry].hash & mask;
  while (slots_[slot] != 0)
    slot = (slot + 1) & mask;
  slots_[slot] = static_cast<std::uint32_t>(entry + 1);
}

void mapping_object::rebuild() {
  slots_.clear();
  if (entries_.size() <= scanned_entries)
    return;
  std::size_t size = 32;
  while (size < entries_.size() * 4)
    size *= 2;
  slots_.resize(size);
  for (std::size_t i = 0; i < entries_.size(); ++i)
    index(i);
}

bool mapping_object::erase(const value& key) {
  std::size_t i = locate(hash_of(owner(), key), [&](const value& other) { return equal(owner(), key, other); });
  if (i == entries_.size())
    return false;
  owner().step(entries_.size());
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(i));
  rebuild();
  return true;
}

void mapping_object::erase_all() {
  entries_.clear();
  slots_.clear();
}

// ---- loop

value loop_object::attribute(std::string_view name) const {
  const auto& all = items.as_sequence().items;
  auto number = [](std::size_t n) { return value::integer(static_cast<std::int64_t>(n)); }; // Wraps below zero.
  if (name == "index") return number(index + 1);
  if (name == "index0") return number(index);
  if (name == "revindex") return number(all.size() - index);
  if (name == "revindex0") return number(all.size() - index - 1);
  if (name == "first") return value::boolean(index == 0);
  if (name == "last") return value::boolean(index + 1 == all.size());
  if (name == "length") return number(all.size());
  if (name == "depth") return number(1); // Only recursive loops have depth.
  if (name == "depth0") return number(0);
  if (name == "previtem" && index > 0) return all[index - 1];
  if (name == "nextitem" && index + 1 < all.size()) return all[index + 1];
  return value();
}

// ---- makers

value make_string(workspace& ws, text content, bool markup) {
  return value(kind::string, *new string_object(ws, std::move(content), markup));
}

value make_sequence(workspace& ws, sequence_form form) {
  return value(kind::sequence, *new sequence_object(ws, form));
}

value make_sequence(workspace& ws, std::vector<value> items, sequence_form form) {
  value v = make_sequence(ws, form);
  v.as_sequence().charge(items.size() * sizeof(value));
  v.as_sequence().items = std::move(items);
  return v;
}

value make_mapping(workspace& ws) { return value(kind::mapping, *new mapping_object(ws)); }

value make_function(workspace& ws, std::string_view name, function_object::body_type body) {
  return value(kind::function, *new function_object(ws, name, std::move(body)));
}

value make_undefined(workspace& ws, std::string reason) {
  return value(kind::undefined, *new string_object(ws, text(std::move(reason), true), false));
}

void text_builder::reserve(std::size_t bytes) {
  ws_.charge(bytes);
  charged_ += bytes;
  ws_.step_bytes(bytes);
}

void text_builder::settle() {
  if (std::size_t all = content_.footprint(); all > charged_) {
    ws_.charge(all - charged_);
    charged_ = all;
  }
}

value text_builder::finish(bool markup) {
  ws_.refund(charged_);
  charged_ = 0;
  return make_string(ws_, std::move(content_), markup);
}

} // namespace troupe::jinja
