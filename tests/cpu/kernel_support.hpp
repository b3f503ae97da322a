// What the tests of kernels share: numbers, and which instruction sets to compare.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "cpu/kernels.hpp"

namespace troupe::test {

inline std::vector<cpu::instruction_set> available() {
  std::vector<cpu::instruction_set> out;
  for (auto which : cpu::instruction_sets)
    if (cpu::has_instruction_set(which))
      out.push_back(which);
  return out;
}

class random_numbers {
public:
  explicit random_numbers(std::uint64_t seed) : engine_(seed) {}

  /// Of several magnitudes, both signs, and some zeros.
  float number() {
    const auto bits = engine_();
    if (bits % 16 == 0)
      return 0;
    const float x = static_cast<float>(static_cast<std::int64_t>(engine_()) >> 40) * 0x1p-23f;
    return x * (bits % 7 == 0 ? 40.0f : bits % 5 == 0 ? 1e-3f : 1.0f);
  }
  std::vector<float> numbers(std::size_t count) {
    std::vector<float> out(count);
    for (auto& x : out)
      x = number();
    return out;
  }
  unsigned below(unsigned limit) { return static_cast<unsigned>(engine_() % limit); }

private:
  std::mt19937_64 engine_;
};

inline std::uint16_t bfloat_bits(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<std::uint16_t>(bits >> 16);
}

/// Equal in every bit, so that 0 and -0 differ.
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

} // namespace troupe::test
