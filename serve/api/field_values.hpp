// One value of a body, read as a kind of ours. What a value may be beside its kind (a range) is for protocol/validate,
// which names the field in the same way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/messages.hpp"
#include "serve/api/json_body.hpp"

namespace troupe::serve {

/// A value, and where it stands: "messages[2].content".
struct place {
  std::string path;
  const json& value;

  place item(std::size_t index) const { return {path + "[" + std::to_string(index) + "]", value[index]}; }
};

/// "Field 'n' is a string, but must be an integer."
tl::unexpected<error> wrong_kind(const place& at, std::string_view wanted);
tl::unexpected<error> wrong_kind(std::string_view path, const json& value, std::string_view wanted);

/// "Field 'x' is ..., but <what>."
tl::unexpected<error> wrong_value(const place& at, std::string_view what);

/// An integer in a range. A float is none, even if it is whole.
expected<std::int64_t> integer_at(const place& at, std::int64_t lowest, std::int64_t highest);

// Each sets `to`, or says what is wrong: invalid_argument.
expected<void> read_into(const place& at, bool& to);
expected<void> read_into(const place& at, float& to); ///< What is too small for a float stays over 0.
expected<void> read_into(const place& at, std::uint32_t& to);
expected<void> read_into(const place& at, std::int32_t& to);
expected<void> read_into(const place& at, std::string& to);
expected<void> read_into(const place& at, std::vector<std::string>& to);
expected<void> read_into(const place& at, std::vector<token_id>& to);

template <class T>
expected<void> read_into(const place& at, std::optional<T>& to) {
  return read_into(at, to.emplace());
}

} // namespace troupe::serve
