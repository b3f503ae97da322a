// Weights and noise of tokens, with the bits that the CPU's sampler has: model/sampling/kernels.hpp, noise.hpp and logarithm.hpp say
// what each is and where it is from.
#pragma once

#include <limits>

#include "gpu/kernels/sampling_rows.hpp"

namespace troupe::gpu {

inline constexpr float infinity = std::numeric_limits<float>::infinity();
inline constexpr float lowest_float = std::numeric_limits<float>::lowest();

/// Floats in ascending order as integers: more than 0, and of +infinity the largest of what is a number.
TROUPE_GPU std::uint32_t ascending_key(float value) {
  const auto bits = bits_as<std::uint32_t>(value);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
TROUPE_GPU float from_ascending_key(std::uint32_t key) {
  return bits_as<float>((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

/// t of 2^t, which is a token's weight.
TROUPE_GPU float exponent_of(float value, float largest, float scale) {
  const float t = rounded::multiply(rounded::subtract(value, largest), scale);
  return t > -126.0f ? t : -126.0f;
}

/// 2^t for t from -126 to 0.
TROUPE_GPU float power_of_two(float t) {
  constexpr float shift = 0x1.8p23f;
  constexpr float factors[] = {0x1.3cea88p-7f, 0x1.c6b752p-5f, 0x1.ebf9bcp-3f, 0x1.62e42ap-1f, 1.0f};
  const float shifted = rounded::add(t, shift);
  const float f = rounded::subtract(t, rounded::subtract(shifted, shift));
  float p = 0x1.5bba14p-10f;
  TROUPE_UNROLL
  for (unsigned i = 0; i < 5; ++i)
    p = rounded::add(rounded::multiply(p, f), factors[i]);
  return bits_as<float>(bits_as<std::uint32_t>(p) + (bits_as<std::uint32_t>(shifted) << 23));
}

/// |value| in units of 2^-40, to nearest, ties to even; of values up to 2^17.
TROUPE_GPU wide units_of(float value) {
  const auto bits = bits_as<std::uint32_t>(value) & 0x7fffffffu;
  const wide mantissa = (bits & 0x7fffffu) | 0x800000u;
  const int down = 110 - static_cast<int>(bits >> 23); // value = mantissa * 2^(bits >> 23) * 2^-150
  if (down <= 0)
    return mantissa << -down;
  if (down > 25)
    return 0;
  return (mantissa + (wide{1} << (down - 1)) - 1 + (mantissa >> down & 1)) >> down;
}

/// The natural logarithm, of what is over 0, not denormal, finite.
TROUPE_GPU double logarithm(double x) {
  using namespace rounded;
  constexpr std::uint64_t root = 0x3fe6a09e667f3bcd;                            // sqrt(1/2)
  constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33; // The first times 2048 is exact.
  const auto bits = bits_as<std::uint64_t>(x);
  const auto exponent = static_cast<std::int64_t>(bits - root) >> 52;
  const auto m = bits_as<double>(bits - (static_cast<std::uint64_t>(exponent) << 52));
  const double s = divide(subtract(m, 1.0), add(m, 1.0)), z = multiply(s, s), z2 = multiply(z, z);
  double even = multiply(z2, 1.0 / 21);
  even = multiply(add(even, 1.0 / 17), z2);
  even = multiply(add(even, 1.0 / 13), z2);
  even = multiply(add(even, 1.0 / 9), z2);
  even = multiply(add(even, 1.0 / 5), z2);
  double odd = multiply(z2, 1.0 / 19);
  odd = multiply(add(odd, 1.0 / 15), z2);
  odd = multiply(add(odd, 1.0 / 11), z2);
  odd = multiply(add(odd, 1.0 / 7), z2);
  odd = add(odd, 1.0 / 3);
  const auto e = static_cast<double>(exponent);
  const double twice = multiply(2.0, s), series = multiply(twice, add(even, multiply(odd, z)));
  return add(multiply(e, ln2_high), add(twice, add(series, multiply(e, ln2_low))));
}

/// The finaliser of SplitMix64.
TROUPE_GPU std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// What a block of 32 tokens draws.
TROUPE_GPU std::uint64_t random_of_block(std::uint64_t key, std::uint32_t block) {
  return mix(key ^ mix(block | std::uint64_t{1} << 63));
}

/// 1 - u of the block's uniform draw u, within one part in a million.
TROUPE_GPU float rarity_of(std::uint64_t random) {
  return (static_cast<float>(~random >> 12) + 0.5f) * 0x1p-52f;
}

TROUPE_GPU double exponential_from(std::uint64_t random) {
  return -logarithm(rounded::multiply(rounded::add(static_cast<double>(random >> 12), 0.5), 0x1p-52));
}

/// That of the token, of whose block `random` is.
TROUPE_GPU double noise_of(std::uint64_t key, std::uint64_t random, std::uint32_t token) {
  double x = rounded::multiply(exponential_from(random), 1.0 / tokens_a_block);
  if (random % tokens_a_block != token % tokens_a_block)
    x = rounded::add(x, exponential_from(mix(key ^ mix(token))));
  return -logarithm(x);
}

} // namespace troupe::gpu
