// UTF-8 at the border: what a client sends is checked here once, and everything behind may rely on it.
//
// Source: Unicode 15, table 3-7 (well-formed byte sequences): no overlong forms, no surrogates, nothing over
// U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace troupe {

/// The length in bytes of the longest prefix of `text` that is well-formed; `text.size()` where all of it is.
std::size_t valid_utf8_bytes(std::string_view text);

inline bool is_valid_utf8(std::string_view text) {
  return valid_utf8_bytes(text) == text.size();
}

/// The longest prefix of at most `max_bytes` bytes that does not end within a character. `text` must be well-formed.
std::string_view cut_utf8(std::string_view text, std::size_t max_bytes);

/// Each byte that belongs to no well-formed character becomes U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

/// `text` in single quotes for an error's sentence: control characters become '?', and what is over 40 bytes is cut.
/// `text` may be any bytes.
std::string in_quotes(std::string_view text);

} // namespace troupe
