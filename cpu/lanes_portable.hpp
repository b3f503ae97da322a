// Sixteen floats in an array, in plain C++; see kernels_math.hpp for what each operation means.

namespace {

struct lanes {
  float v[16];

  static lanes zero() { return all(0); }
  static lanes all(float x) {
    lanes r;
    for (float& y : r.v)
      y = x;
    return r;
  }
  static lanes load(const float* p) { return load_first(p, 16); }
  static lanes load_first(const float* p, unsigned n) {
    lanes r = zero();
    for (unsigned i = 0; i < n; ++i)
      r.v[i] = p[i];
    return r;
  }
  static lanes load_half(const std::uint8_t* p) {
    lanes r;
    for (unsigned i = 0; i < 16; ++i)
      r.v[i] = widen_half(static_cast<std::uint16_t>(p[2 * i] | p[2 * i + 1] << 8));
    return r;
  }
  static lanes load_bfloat(const std::uint16_t* p) {
    lanes r;
    for (unsigned i = 0; i < 16; ++i)
      r.v[i] = __builtin_bit_cast(float, static_cast<std::uint32_t>(p[i]) << 16);
    return r;
  }
  static lanes load_int8(const std::int8_t* p) {
    lanes r;
    for (unsigned i = 0; i < 16; ++i)
      r.v[i] = static_cast<float>(p[i]);
    return r;
  }
  void store(float* p) const { store_first(p, 16); }
  void store_first(float* p, unsigned n) const {
    for (unsigned i = 0; i < n; ++i)
      p[i] = v[i];
  }
  /// The lowest byte of each lane's bits.
  void store_low_bytes(std::int8_t* p) const {
    for (unsigned i = 0; i < 16; ++i)
      p[i] = static_cast<std::int8_t>(__builtin_bit_cast(std::uint32_t, v[i]) & 0xff);
  }

  /// IEEE 754 binary16 to binary32, exactly.
  static float widen_half(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16, rest = half & 0x7fffu;
    if (rest < 0x400u) { // Zero and subnormal: a multiple of 2^-24.
      const float value = static_cast<float>(rest) * 0x1p-24f;
      return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, value) | sign);
    }
    const std::uint32_t exponent = rest >= 0x7c00u ? 0x7f800000u : (rest & 0x7c00u) * 0x2000u + 0x38000000u;
    return __builtin_bit_cast(float, sign | exponent | (rest & 0x3ffu) << 13);
  }
};

template <class Function>
inline lanes each(Function f) {
  lanes r;
  for (unsigned i = 0; i < 16; ++i)
    r.v[i] = f(i);
  return r;
}

inline lanes operator+(lanes a, lanes b) {
  return each([&](unsigned i) { return a.v[i] + b.v[i]; });
}
inline lanes operator-(lanes a, lanes b) {
  return each([&](unsigned i) { return a.v[i] - b.v[i]; });
}
inline lanes operator*(lanes a, lanes b) {
  return each([&](unsigned i) { return a.v[i] * b.v[i]; });
}
inline lanes operator/(lanes a, lanes b) {
  return each([&](unsigned i) { return a.v[i] / b.v[i]; });
}
inline lanes fma(lanes a, lanes b, lanes c) {
  return each([&](unsigned i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
}
inline float larger(float a, float b) {
  return a > b ? a : b;
} // Of x86: the second where one is not a number.
inline lanes larger(lanes a, lanes b) {
  return each([&](unsigned i) { return larger(a.v[i], b.v[i]); });
}
inline lanes smaller(lanes a, lanes b) {
  return each([&](unsigned i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline lanes magnitude(lanes a) {
  return each([&](unsigned i) { return __builtin_fabsf(a.v[i]); });
}
inline lanes swap_neighbours(lanes a) {
  return each([&](unsigned i) { return a.v[i ^ 1]; });
}
inline lanes keep_first(unsigned n, lanes a, lanes otherwise) {
  return each([&](unsigned i) { return i < n ? a.v[i] : otherwise.v[i]; });
}
/// Adds the lanes of `exponent`, as the bits of integers, to the exponents of `a`.
inline lanes add_exponent(lanes a, lanes exponent) {
  return each([&](unsigned i) {
    return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, a.v[i]) +
                                       (__builtin_bit_cast(std::uint32_t, exponent.v[i]) << 23));
  });
}
inline bool all_equal(lanes a, lanes b) {
  bool equal = true;
  for (unsigned i = 0; i < 16; ++i)
    equal = equal && a.v[i] == b.v[i];
  return equal;
}

inline float sum_of(lanes a) {
  for (unsigned half = 8; half; half /= 2)
    for (unsigned i = 0; i < half; ++i)
      a.v[i] += a.v[i + half];
  return a.v[0];
}
inline float largest_of(lanes a) {
  for (unsigned half = 8; half; half /= 2)
    for (unsigned i = 0; i < half; ++i)
      a.v[i] = larger(a.v[i], a.v[i + half]);
  return a.v[0];
}

constexpr unsigned float_chains = 2; ///< Of `lanes` at once.

/// Makes the compiler believe that the value is used, and changed.
inline void keep(lanes& a) {
  __asm__ volatile("" : "+m"(a.v));
}

} // namespace
