// The one place that decides what is a UTF-8 character and what is not, for encoding and for incremental decoding.
// Source: the Unicode Standard, section 3.9 (table 3-7, and "maximal subparts" for what one U+FFFD replaces).
#pragma once

#include <cstddef>
#include <string_view>

namespace troupe {

enum class utf8_kind {
  character, ///< A well-formed character.
  invalid,   ///< Bytes that begin no character, whatever follows.
  partial,   ///< The text ends inside what may become a character.
};

struct utf8_unit {
  utf8_kind kind;
  std::size_t bytes; ///< At least 1. Of `invalid`: what one U+FFFD stands for; of `partial`: all that is left.
};

/// What `text`, which is not empty, begins with.
utf8_unit first_utf8_unit(std::string_view text);

/// U+FFFD, the replacement character.
inline constexpr std::string_view utf8_replacement = "\xEF\xBF\xBD";

} // namespace troupe
