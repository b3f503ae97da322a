// What the tests of kernels share: numbers, and which instruction sets to compare.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "cpu/bf16_kernels.hpp"
#include "cpu/kernels.hpp"

namespace troupe::test {

inline std::vector<cpu::instruction_set> available() {
  std::vector<cpu::instruction_set> out;
  for (auto which : cpu::instruction_sets)
    if (cpu::has_instruction_set(which))
      out.push_back(which);
  return out;
}

constexpr kv_cache_dtype kv_dtypes[] = {kv_cache_dtype::bf16, kv_cache_dtype::int8};

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

inline constexpr cpu::panel_kind all_kinds[] = {
  cpu::panel_kind::q4,  cpu::panel_kind::q8,  cpu::panel_kind::q8_min, cpu::panel_kind::q8_halves,
  cpu::panel_kind::f32, cpu::panel_kind::f16, cpu::panel_kind::bf16};

/// A panel with random contents, and the memory that it views.
struct made_panel {
  cpu::panel view;
  std::vector<std::uint8_t> quants, scales;
};

inline made_panel make_panel(cpu::panel_kind kind, bool half_scales, unsigned columns, random_numbers& random) {
  made_panel out;
  const auto put = [&](std::vector<std::uint8_t>& to, float x, unsigned bytes) {
    std::uint8_t raw[4];
    std::memcpy(raw, &x, 4);
    if (bytes == 2) { // Any half with a small exponent.
      const auto bits = static_cast<std::uint16_t>(random.below(0x3c00) | random.below(2) << 15);
      std::memcpy(raw, &bits, 2);
    }
    to.insert(to.end(), raw, raw + bytes);
  };
  if (cpu::is_quantised(kind)) {
    for (std::size_t i = 0; i < columns / cpu::block_columns * cpu::quant_bytes(kind); ++i)
      out.quants.push_back(static_cast<std::uint8_t>(random.below(256)));
    for (unsigned i = 0; i < columns / cpu::block_columns * cpu::scale_vectors(kind) * 16; ++i)
      put(out.scales, random.number() * 0.01f, half_scales ? 2 : 4);
  } else {
    for (unsigned i = 0; i < columns * 16; ++i) {
      const float x = random.number();
      if (kind == cpu::panel_kind::bf16) {
        const auto bits = bfloat_bits(x);
        out.quants.push_back(static_cast<std::uint8_t>(bits));
        out.quants.push_back(static_cast<std::uint8_t>(bits >> 8));
      } else {
        put(out.quants, x, kind == cpu::panel_kind::f16 ? 2 : 4);
      }
    }
  }
  out.view = {.kind = kind,
              .half_scales = half_scales,
              .columns = columns,
              .quants = out.quants.data(),
              .scales = out.scales.data()};
  return out;
}

/// Equal in every bit, so that 0 and -0 differ.
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

} // namespace troupe::test
