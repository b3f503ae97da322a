#include "cpu/sine.hpp"

#include <cmath>

namespace troupe::cpu {

namespace {

// pi / 2 in three parts; the first two have 33 bits each, so that their products with n < 2^20 are exact.
constexpr double half_pi_1 = 1.57079632673412561417e+00;
constexpr double half_pi_2 = 6.07710050630396597660e-11;
constexpr double half_pi_3 = 2.02226624879595063154e-21;

// Taylor's series up to r^17 and r^18: on |r| <= pi / 4 what is left out is below 1e-17.
double sine_near_zero(double r) {
  const double z = r * r;
  double sum = 0;
  for (int k = 17; k >= 3; k -= 2)
    sum = (1 + sum) * -z / (k * (k - 1));
  return r + r * sum;
}

double cosine_near_zero(double r) {
  const double z = r * r;
  double sum = 0;
  for (int k = 18; k >= 2; k -= 2)
    sum = (1 + sum) * -z / (k * (k - 1));
  return 1 + sum;
}

} // namespace

sine_cosine sine_and_cosine(double x) {
  const double n = std::floor(x * 0.63661977236758134308 + 0.5);
  const double r = ((x - n * half_pi_1) - n * half_pi_2) - n * half_pi_3;
  const double s = sine_near_zero(r), c = cosine_near_zero(r);
  switch (static_cast<long long>(n) & 3) {
  case 0:
    return {s, c};
  case 1:
    return {c, -s};
  case 2:
    return {-s, -c};
  default:
    return {-c, s};
  }
}

} // namespace troupe::cpu
