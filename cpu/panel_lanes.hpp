// What lies in memory, as `lanes`: the beginning of a row, a panel's scales and numbers. Included by each instruction set's
// translation units after their `lanes`.
#pragma once

namespace {

using namespace troupe::cpu;

/// How far ahead of its use a weight is asked for, which the hardware does too late: a step of few rows waits for its
/// weights and for nothing else.
constexpr std::size_t prefetch_bytes = 4096;

inline lanes load_some(const float* p, unsigned n) {
  return n == 16 ? lanes::load(p) : lanes::load_first(p, n);
}
inline void store_some(lanes a, float* p, unsigned n) {
  if (n == 16)
    a.store(p);
  else
    a.store_first(p, n);
}

template <bool Half>
inline lanes load_scale(const std::uint8_t* p, unsigned index) {
  if constexpr (Half)
    return lanes::load_half(p + index * 32);
  else
    return lanes::load(reinterpret_cast<const float*>(p) + index * 16);
}

template <panel_kind Kind>
inline lanes load_weights(const std::uint8_t* p, std::size_t column) {
  if constexpr (Kind == panel_kind::f32)
    return lanes::load(reinterpret_cast<const float*>(p) + column * 16);
  else if constexpr (Kind == panel_kind::f16)
    return lanes::load_half(p + column * 32);
  else
    return lanes::load_bfloat(reinterpret_cast<const std::uint16_t*>(p) + column * 16);
}

} // namespace
