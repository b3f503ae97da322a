// A number that whoever runs a test may choose: how many cases, which seed.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace troupe::test {

inline std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

} // namespace troupe::test
