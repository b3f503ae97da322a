// Reads the base64 of committed oracles.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace troupe::test {

inline std::vector<std::byte> from_base64(std::string_view text) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('='))
    text.remove_suffix(1);
  std::vector<std::byte> out;
  unsigned bits = 0;
  int held = 0;
  for (char c : text) {
    const auto value = alphabet.find(c);
    if (value == std::string_view::npos)
      throw std::invalid_argument("from_base64: not base64");
    bits = bits << 6 | static_cast<unsigned>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      out.push_back(static_cast<std::byte>(bits >> held));
    }
  }
  return out;
}

} // namespace troupe::test
