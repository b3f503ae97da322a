// Bodies as tables: each field that is known, how it is read, or why it is refused. One table of rules is what is
// read by, what docs/openai-fields.md and /openapi.json are made of, and what their tests walk.
//
// A field that is in no table is refused; one that is null counts as absent.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "protocol/utf8.hpp"
#include "serve/api/field_kinds.hpp"
#include "serve/api/field_values.hpp"

namespace troupe::serve {

template <class Target>
struct field_rule {
  std::string_view name;
  field_kind kind;                                               ///< With its range.
  expected<void> (*read)(const place& at, Target& to) = nullptr; ///< Null: refused, whatever the value.
  std::string_view note{}; ///< Why it is refused; or what is done, where that does not go without saying.
  bool needed = false;     ///< A body without it is refused.
};

inline constexpr bool is_needed = true;

template <class Target>
using field_table = std::span<const field_rule<Target>>;

/// A row of a table, whatever it is read into: what documents tell of it.
struct field_row {
  std::string_view name;
  field_kind kind;
  bool done;
  std::string_view note;
  bool needed;
};

template <class... Tables>
std::vector<field_row> rows_of(const Tables&... tables) {
  std::vector<field_row> rows;
  const auto add = [&](const auto& table) {
    for (const auto& rule : table)
      rows.push_back({rule.name, rule.kind, rule.read != nullptr, rule.note, rule.needed});
  };
  (add(tables), ...);
  return rows;
}

/// An object with the fields that are done, and no others.
json schema_of(const std::vector<field_row>& rows);

namespace kind {

/// An object that is read by a table.
template <const auto& Rules>
json members() {
  return schema_of(rows_of(Rules));
}

} // namespace kind

/// A sentence for a field that is known and cannot be had.
inline tl::unexpected<error> refused_field(std::string_view path, std::string_view why) {
  return fail(errc::unsupported, fmt::format("Field '{}' is not supported: {}. Leave it out.", path, why));
}

/// Reads all members of `object` by the first table that has them. Errors: unknown_field, unsupported, invalid_argument (a
/// field that is needed is missing), and those of the rules; each names the field.
template <class Target>
expected<void> read_members(std::string_view path, const json& object, std::span<const field_table<Target>> tables,
                            Target& to) {
  for (const auto& [key, value] : object.items()) {
    const field_rule<Target>* rule = nullptr;
    for (const auto& table : tables)
      for (const auto& each : table)
        if (!rule && each.name == key)
          rule = &each;
    const std::string name(cut_utf8(key, 64));
    const std::string full = path.empty() ? name : std::string(path) + "." + name;
    if (!rule)
      return fail(errc::unknown_field, fmt::format("Field '{}' does not exist. Check its name.", full));
    if (value.is_null())
      continue;
    if (!rule->read)
      return refused_field(full, rule->note);
    if (auto read = rule->read(place{full, value}, to); !read)
      return read;
  }
  const auto is_there = [&](std::string_view name) {
    const auto found = object.find(name);
    return found != object.end() && !found->is_null();
  };
  for (const auto& table : tables)
    for (const auto& rule : table)
      if (rule.needed && !is_there(rule.name))
        return fail(errc::invalid_argument,
                    fmt::format("Field '{}{}{}' is missing, but needed.", path, path.empty() ? "" : ".", rule.name));
  return {};
}

/// The same for an object within a body, by one table.
template <class Target>
expected<void> read_object(const place& at, field_table<Target> table, Target& to) {
  if (!at.value.is_object())
    return wrong_kind(at, "an object");
  const field_table<Target> tables[] = {table};
  return read_members<Target>(at.path, at.value, tables, to);
}

/// For a member of `Target`.
template <auto Member, class Target>
expected<void> read_member(const place& at, Target& to) {
  return read_into(at, to.*Member);
}

/// The same for text that must not be empty.
template <auto Member, class Target>
expected<void> read_filled(const place& at, Target& to) {
  auto read = read_into(at, to.*Member);
  return read && (to.*Member).empty() ? wrong_value(at, "must not be empty") : std::move(read);
}

/// Of the right kind, and then nothing is done: that is all that the field asks of a server like this one.
template <class Kind, class Target>
expected<void> read_ignored(const place& at, Target&) {
  Kind ignored{};
  return read_into(at, ignored);
}

/// One of a few words.
template <fixed_text... Words>
expected<std::string> word_at(const place& at) {
  std::string word;
  if (auto read = read_into(at, word); !read)
    return tl::unexpected(std::move(read.error()));
  if (((word == Words.view()) || ...))
    return word;
  std::string all;
  ((all += (all.empty() ? "" : " or ") + in_quotes(Words.view())), ...);
  return wrong_value(at, "must be " + all);
}

/// The same, where none of them changes anything.
template <class Target, fixed_text... Words>
expected<void> read_word(const place& at, Target&) {
  return word_at<Words...>(at).map([](const std::string&) {});
}

/// A boolean that may only say what is done in any case.
template <bool Only, class Target>
expected<void> read_only(const place& at, Target&) {
  bool value = Only;
  if (auto read = read_into(at, value); !read)
    return read;
  if (value != Only)
    return fail(errc::unsupported, fmt::format("Field '{}' is {}, but only {} is supported.", at.path, value, Only));
  return {};
}

} // namespace troupe::serve
