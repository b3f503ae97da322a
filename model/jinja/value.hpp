// The values of a template: Python's, as far as chat templates know them.
//
// A `value` is 16 bytes: numbers lie in it, everything else is a counted object of its workspace. Copying one shares
// the object, as in Python. Not for several threads.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/jinja/text.hpp"
#include "model/jinja/workspace.hpp"

namespace troupe::jinja {

enum class kind : std::uint8_t {
  undefined, none, boolean, integer, real, string, sequence, mapping, name_space, function, loop,
};

class string_object;
class sequence_object;
class mapping_object;
class function_object;
class loop_object;

class value {
public:
  value() : integer_(0) {} ///< Undefined, without a name.
  value(const value& other) : kind_(other.kind_), counted_(other.counted_), integer_(other.integer_) {
    if (counted_)
      object_->acquire();
  }
  value(value&& other) noexcept : kind_(other.kind_), counted_(other.counted_), integer_(other.integer_) {
    other.counted_ = false;
    other.kind_ = kind::undefined;
  }
  value& operator=(value other) noexcept {
    std::swap(kind_, other.kind_);
    std::swap(counted_, other.counted_);
    std::swap(integer_, other.integer_);
    return *this;
  }
  ~value() {
    if (counted_)
      object_->release();
  }

  static value none() { return value(kind::none, 0); }
  static value boolean(bool b) { return value(kind::boolean, b); }
  static value integer(std::int64_t i) { return value(kind::integer, i); }
  static value real(double d) {
    value v(kind::real, 0);
    v.real_ = d;
    return v;
  }
  value(jinja::kind k, object& o) : kind_(k), counted_(true), object_(&o) { o.acquire(); }

  jinja::kind kind() const { return kind_; }
  bool is(jinja::kind k) const { return kind_ == k; }
  bool is_undefined() const { return kind_ == kind::undefined; }
  bool is_none() const { return kind_ == kind::none; }
  bool is_string() const { return kind_ == kind::string; }
  bool is_sequence() const { return kind_ == kind::sequence; }
  bool is_mapping() const { return kind_ == kind::mapping; }
  /// Integers, and booleans, which count as 0 and 1.
  bool is_integral() const { return kind_ == kind::integer || kind_ == kind::boolean; }
  bool is_number() const { return is_integral() || kind_ == kind::real; }

  // Only for values of that kind.
  std::int64_t as_integer() const { return integer_; } ///< Of booleans too.
  double as_real() const { return kind_ == kind::real ? real_ : static_cast<double>(integer_); } ///< Of any number.
  const string_object& as_string() const;
  sequence_object& as_sequence() const;
  mapping_object& as_mapping() const; ///< Of a namespace too.
  function_object& as_function() const;
  loop_object& as_loop() const;

  /// What an undefined value says when it is used.
  std::string undefined_reason() const;
  /// The identity of an object; nullptr for what has none.
  const object* identity() const { return counted_ ? object_ : nullptr; }

private:
  value(jinja::kind k, std::int64_t i) : kind_(k), integer_(i) {}

  jinja::kind kind_ = kind::undefined;
  bool counted_ = false;
  union {
    std::int64_t integer_;
    double real_;
    object* object_;
  };
};

class string_object : public object {
public:
  string_object(workspace& ws, text content, bool is_markup);
  std::string_view bytes() const { return content.bytes(); }

  const text content;
  const bool ascii;  ///< Offsets are code points.
  const bool markup; ///< Came through `safe` or `escape`: what is added to it gets escaped.
};

/// What Python has several types for.
enum class sequence_form : std::uint8_t {
  list, tuple,
  view,      ///< dict.items() and the like: has a length, but no elements by number.
  generator, ///< Of map, select and others: can be walked once, and counts as true.
  range,
};

class sequence_object : public object {
public:
  sequence_object(workspace& ws, sequence_form f) : object(ws), form(f) { charge(sizeof(*this)); }
  void clear() noexcept override { items.clear(); }
  void push(value v) {
    charge(sizeof(value));
    items.push_back(std::move(v));
  }

  const sequence_form form;
  std::vector<value> items;
  std::array<std::int64_t, 3> bounds{0, 0, 1}; ///< Of a range: start, stop, step.
};

/// Insertion-ordered, with Python's equality of keys (1 is 1.0 is True). Also what a namespace is made of.
class mapping_object : public object {
public:
  struct entry {
    value key;
    value item;
    std::size_t hash;
  };

  explicit mapping_object(workspace& ws) : object(ws) { charge(sizeof(*this)); }
  void clear() noexcept override { entries_.clear(); }

  const value* find(const value& key) const;
  const value* find(std::string_view key) const;
  void set(const value& key, value item);
  bool erase(const value& key);
  void erase_all();
  const std::vector<entry>& entries() const { return entries_; }

private:
  template <class Equal>
  std::size_t locate(std::size_t hash, Equal equal) const; ///< entries_.size() where there is none.
  void index(std::size_t entry);
  void rebuild();

  std::vector<entry> entries_;
  std::vector<std::uint32_t> slots_; ///< Open addressing, entry + 1; empty while a scan is quicker.
};

struct named_value {
  std::string name;
  value item;
};

struct arguments {
  std::vector<value> positional;
  std::vector<named_value> named;
};

class function_object : public object {
public:
  using body_type = std::function<value(workspace&, arguments&)>;
  function_object(workspace& ws, std::string_view n, body_type b) : object(ws), name(n), body(std::move(b)) {
    charge(sizeof(*this));
  }
  void clear() noexcept override { body = nullptr; }

  const std::string name;
  body_type body;
};

/// What `loop` is inside a for.
class loop_object : public object {
public:
  loop_object(workspace& ws, value sequence) : object(ws), items(std::move(sequence)) { charge(sizeof(*this)); }
  void clear() noexcept override {
    items = {};
    changed = {};
  }
  value attribute(std::string_view name) const; ///< Undefined where there is no such attribute.

  value items; ///< A sequence.
  std::size_t index = 0;
  std::vector<value> changed; ///< The last arguments of loop.changed.
};

// Makers.
value make_string(workspace& ws, text content, bool markup = false);
inline value make_string(workspace& ws, std::string_view bytes, bool trusted = true) {
  return make_string(ws, text(std::string(bytes), trusted));
}
value make_sequence(workspace& ws, sequence_form form = sequence_form::list);
value make_sequence(workspace& ws, std::vector<value> items, sequence_form form = sequence_form::list);
value make_mapping(workspace& ws);
value make_function(workspace& ws, std::string_view name, function_object::body_type body);
value make_undefined(workspace& ws, std::string reason);

/// A text in the making, whose bytes count already.
class text_builder {
public:
  explicit text_builder(workspace& ws) : ws_(ws) {}
  ~text_builder() { ws_.refund(charged_); }
  text_builder(const text_builder&) = delete;
  text_builder& operator=(const text_builder&) = delete;

  void append(std::string_view bytes, bool trusted = true) {
    reserve(bytes.size());
    content_.append(bytes, trusted);
    settle();
  }
  void append(const text& other) { append(other, 0, other.size()); }
  void append(const text& other, std::size_t begin, std::size_t end) {
    reserve(end - begin);
    content_.append(other, begin, end);
    settle();
  }
  std::size_t size() const { return content_.size(); }
  const text& content() const { return content_; }
  value finish(bool markup = false);

private:
  void reserve(std::size_t bytes);
  void settle(); ///< Counts what provenance took beyond the bytes.

  workspace& ws_;
  text content_;
  std::size_t charged_ = 0;
};

// Python's notions.
bool truthy(const value& v);
std::string_view type_name(const value& v); ///< As Python calls it: "str", "NoneType".
bool equal(workspace& ws, const value& a, const value& b);
std::size_t hash_of(workspace& ws, const value& v); ///< Refuses what is unhashable.
std::size_t hash_of(std::string_view s);            ///< The same as that of a string value.
/// Negative, zero, positive. Refuses what Python cannot order.
int compare(workspace& ws, const value& a, const value& b);
bool contains(workspace& ws, const value& container, const value& item);
/// The items that a for walks over, as a sequence value: a list itself, so what is done to it meanwhile shows. Uses a
/// generator up. Refuses what is not iterable.
value iterate(workspace& ws, const value& v);
/// len(v); refuses what has none.
std::size_t length_of(workspace& ws, const value& v);
/// Refuses undefined values with what is undefined about them.
void require_defined(const value& v);

} // namespace troupe::jinja
