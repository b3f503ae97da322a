#include "protocol/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace troupe {
namespace {

constexpr std::size_t max_quoted_bytes = 40;

/// The length of the well-formed character at the beginning of `text`, or 0. `text` must not be empty.
std::size_t character_bytes(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  auto continues = [&](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned char lead = byte(0);
  if (lead < 0x80)
    return 1;
  if (lead >= 0xc2 && lead <= 0xdf)
    return text.size() >= 2 && continues(1) ? 2 : 0;
  // The second byte's range is what rules out overlong forms, surrogates and what is over U+10FFFF.
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (lead == 0xe0)
      low = 0xa0;
    if (lead == 0xed)
      high = 0x9f;
    return text.size() >= 3 && byte(1) >= low && byte(1) <= high && continues(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (lead == 0xf0)
      low = 0x90;
    if (lead == 0xf4)
      high = 0x8f;
    return text.size() >= 4 && byte(1) >= low && byte(1) <= high && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

} // namespace

std::size_t valid_utf8_bytes(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    // Most text is ASCII for long stretches: look at eight bytes at once.
    std::uint64_t word = 0;
    while (at + sizeof(word) <= text.size()) {
      std::memcpy(&word, text.data() + at, sizeof(word));
      if ((word & 0x8080808080808080u) != 0)
        break;
      at += sizeof(word);
    }
    if (at == text.size())
      break;
    const std::size_t bytes = character_bytes(text.substr(at));
    if (bytes == 0)
      return at;
    at += bytes;
  }
  return at;
}

std::string_view cut_utf8(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes)
    return text;
  std::size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
    --end;
  return text.substr(0, end);
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::size_t valid = valid_utf8_bytes(text);
    result.append(text.substr(0, valid));
    text.remove_prefix(valid);
    if (!text.empty()) {
      result.append("\xef\xbf\xbd");
      text.remove_prefix(1);
    }
  }
  return result;
}

std::string in_quotes(std::string_view text) {
  const bool is_long = text.size() > max_quoted_bytes;
  // Four bytes more than are shown, so that a character at the cut is not taken for a broken one.
  const std::string clean = replace_invalid_utf8(text.substr(0, max_quoted_bytes + 4));
  std::string result = "'";
  for (char c : cut_utf8(clean, max_quoted_bytes))
    result.push_back(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c);
  return result + (is_long ? "...'" : "'");
}

} // namespace troupe
