#include "model/tokenizer/utf8.hpp"

#include <algorithm>

namespace troupe {
namespace {

// What may follow a leading byte: how many bytes, and which values the first of them may have. The later ones are
// always 80 to BF. Overlong forms, surrogates and what is above U+10FFFF are excluded by the range of the first.
struct continuation {
  std::size_t count;
  unsigned char low;
  unsigned char high;
};

continuation after(unsigned char lead) {
  if (lead < 0xC2 || lead > 0xF4)
    return {0, 0, 0};
  if (lead < 0xE0)
    return {1, 0x80, 0xBF};
  if (lead < 0xF0)
    return {2, static_cast<unsigned char>(lead == 0xE0 ? 0xA0 : 0x80),
            static_cast<unsigned char>(lead == 0xED ? 0x9F : 0xBF)};
  return {3, static_cast<unsigned char>(lead == 0xF0 ? 0x90 : 0x80),
          static_cast<unsigned char>(lead == 0xF4 ? 0x8F : 0xBF)};
}

} // namespace

utf8_unit first_utf8_unit(std::string_view text) {
  auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80)
    return {utf8_kind::character, 1};
  auto [count, low, high] = after(lead);
  if (count == 0)
    return {utf8_kind::invalid, 1};
  auto there = std::min(count, text.size() - 1);
  for (std::size_t i = 1; i <= there; ++i) {
    auto byte = static_cast<unsigned char>(text[i]);
    if (byte < low || byte > high)
      return {utf8_kind::invalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {there == count ? utf8_kind::character : utf8_kind::partial, there + 1};
}

} // namespace troupe
