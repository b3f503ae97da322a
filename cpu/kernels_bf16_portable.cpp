// Products in bfloat16 in plain C++, with denormals made zeros number by number; see bf16_kernels.hpp.
#include "cpu/bf16_kernels.hpp"

#include "cpu/lanes_portable.hpp"

#include "cpu/panel_lanes.hpp"

namespace {

constexpr unsigned row_pieces[] = {4, 2, 1};
constexpr unsigned both_chains_up_to = 4;

struct call_setup {
  call_setup() {} // Nothing: the operations below do it all.
};

// What computes sixteen numbers is not inlined: it takes so long that a call does not matter, and compiling would take longer.

constexpr float least_normal = 0x1p-126f;

inline float flushed(float x) {
  return __builtin_fabsf(x) < least_normal ? __builtin_copysignf(0.0f, x) : x;
}

/// Flushed as hardware does it: what is less than the least normal number after its significand was rounded, and before
/// the exponent's end cost it bits. Where those two differ the result is just the least normal number.
inline float fma_flushed(float a, float b, float c) {
  const float x = __builtin_fmaf(a, b, c);
  if (__builtin_fabsf(x) != least_normal)
    return flushed(x);
  const double exact = static_cast<double>(a) * b + c;
  return __builtin_fabs(exact) < 0x1p-126 - 0x1p-151 ? __builtin_copysignf(0.0f, x) : x;
}

__attribute__((noinline)) lanes flushed(lanes a) {
  return each([&](unsigned i) { return flushed(a.v[i]); });
}
/// The sum of two floats is exact where it is denormal.
__attribute__((noinline)) lanes sum_flushed(lanes a, lanes b) {
  return flushed(a + b);
}
__attribute__((noinline)) lanes fma_flushed(lanes a, lanes b, lanes c) {
  return each([&](unsigned i) { return fma_flushed(a.v[i], b.v[i], c.v[i]); });
}

inline void add_product(lanes& to, lanes weights, const float* x) {
  to = fma_flushed(weights, lanes::all(*x), to);
}

inline float rounded(float x) {
  if (x != x)
    return __builtin_bit_cast(float, 0x7fc00000u);
  const auto bits = __builtin_bit_cast(std::uint32_t, flushed(x));
  return __builtin_bit_cast(float, (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
}
__attribute__((noinline)) lanes rounded(lanes a) {
  return each([&](unsigned i) { return rounded(a.v[i]); });
}

inline lanes rounded_normal(lanes a) {
  return rounded(a);
}
inline lanes plain_nan(lanes a) {
  return a;
}

struct quads {
  const std::uint8_t* p;
};
inline quads load_quads(const std::uint8_t* p) {
  return {p};
}
__attribute__((noinline)) lanes nibbles(quads a, unsigned shift) {
  return each([&](unsigned i) { return static_cast<float>(a.p[4 * i + shift / 8] >> shift % 8 & 15); });
}
__attribute__((noinline)) lanes bytes(quads a, unsigned shift) {
  return each([&](unsigned i) { return static_cast<float>(a.p[4 * i + shift / 8] - 128); });
}

} // namespace

#include "cpu/bf16_rows.hpp"

#include "cpu/bf16_products.hpp"

namespace troupe::cpu {

constinit const bf16_kernels bf16_portable_kernels = bf16_table;

} // namespace troupe::cpu
