// A template's tokens. Follows Jinja 3.1 with the settings that chat templates are written for: trim_blocks and
// lstrip_blocks on, keep_trailing_newline off.
// Source: https://jinja.palletsprojects.com/en/stable/templates/#whitespace-control
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/jinja/limits.hpp"
#include "protocol/error.hpp"

namespace troupe::jinja {

enum class token_kind : std::uint8_t {
  data, variable_begin, variable_end, block_begin, block_end, name, string, integer, real, symbol, end,
};

struct token {
  token_kind kind;
  std::uint32_t line;
  std::uint32_t column; ///< In bytes, from 1.
  std::string text;     ///< Data, name, a string's content, or the symbol.
  std::int64_t integer = 0;
  double real = 0;
};

/// Throws a `failure` whose message begins with the position.
[[noreturn]] void refuse_at(std::uint32_t line, std::uint32_t column, const std::string& message);

/// Ends with a token of kind `end`. Throws `failure`.
std::vector<token> tokenize(std::string_view source, const limits& bounds);

} // namespace troupe::jinja
