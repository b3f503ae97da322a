#include "model/sampling/logarithm.hpp"

#include <bit>
#include <cstdint>

namespace troupe::sampling {

// x = m * 2^e with m from sqrt(1/2) to sqrt(2), and log(m) = 2 artanh(s) with s = (m - 1) / (m + 1), whose series in
// s^2 (at most 0.0295) ends after eleven terms; even and odd ones apart, so that they need not wait for each other.
double logarithm(double x) {
  constexpr std::uint64_t root = 0x3fe6a09e667f3bcd;                            // sqrt(1/2)
  constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33; // The first times 2048 is exact.
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const auto exponent = static_cast<std::int64_t>(bits - root) >> 52;
  const auto m = std::bit_cast<double>(bits - (static_cast<std::uint64_t>(exponent) << 52));
  const double s = (m - 1) / (m + 1), z = s * s, z2 = z * z;
  const double even = ((((z2 * (1.0 / 21) + 1.0 / 17) * z2 + 1.0 / 13) * z2 + 1.0 / 9) * z2 + 1.0 / 5) * z2;
  const double odd = (((z2 * (1.0 / 19) + 1.0 / 15) * z2 + 1.0 / 11) * z2 + 1.0 / 7) * z2 + 1.0 / 3;
  const auto e = static_cast<double>(exponent);
  return e * ln2_high + (2 * s + (2 * s * (even + odd * z) + e * ln2_low));
}

} // namespace troupe::sampling
