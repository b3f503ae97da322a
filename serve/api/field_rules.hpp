// Bodies as tables: each field that is known, how it is read, or why it is refused. One table of rules is what is
// read by, what docs/openai-fields.md is made of, and what its test walks.
//
// A field that is in no table is refused; one that is null counts as absent.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "protocol/utf8.hpp"
#include "serve/api/field_values.hpp"

namespace troupe::serve {

template <class Target>
struct field_rule {
  std::string_view name;
  std::string_view kind;                                         ///< With its range, in words.
  expected<void> (*read)(const place& at, Target& to) = nullptr; ///< Null: refused, whatever the value.
  std::string_view note{}; ///< Why it is refused; or what is done, where that does not go without saying.
};

template <class Target>
using field_table = std::span<const field_rule<Target>>;

/// A sentence for a field that is known and cannot be had.
inline tl::unexpected<error> refused_field(std::string_view path, std::string_view why) {
  return fail(errc::unsupported, fmt::format("Field '{}' is not supported: {}. Leave it out.", path, why));
}

/// Reads all members of `object` by the first table that has them. Errors: unknown_field, unsupported, and those of
/// the rules; each names the field.
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

/// Of the right kind, and then nothing is done: that is all that the field asks of a server like this one.
template <class Kind, class Target>
expected<void> read_ignored(const place& at, Target&) {
  Kind ignored{};
  return read_into(at, ignored);
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
