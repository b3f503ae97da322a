// Element-wise kernels over `lanes`; included by each instruction set's translation unit after its `lanes`.
//
// What an instruction set provides: `lanes`, sixteen floats, with the arithmetic of IEEE 754 rounded to nearest;
// sum_of and largest_of in one fixed order; `larger` and `smaller` as x86 has them (the second operand where one is
// not a number).
#include "cpu/panel_lanes.hpp"

namespace {

using troupe::kv_cache_dtype;

/// Adding this to a float of magnitude below 2^22 leaves the nearest integer (ties to even) in the low bits.
constexpr float integer_magic = 12582912.0f; // 1.5 * 2^23

/// e^x. x is taken as within [-80, 80], so that neither the result nor 1 + result leaves the normal numbers.
/// exp_of(0) is exactly 1. Source of the polynomial: Cephes, expf.
inline lanes exp_of(lanes x) {
  x = smaller(larger(x, lanes::all(-80.0f)), lanes::all(80.0f));
  const lanes shifted = fma(x, lanes::all(1.44269504088896341f), lanes::all(integer_magic));
  const lanes n = shifted - lanes::all(integer_magic);
  lanes r = fma(n, lanes::all(-0.693359375f), x);
  r = fma(n, lanes::all(2.12194440e-4f), r);
  lanes p = lanes::all(1.9875691500e-4f);
  p = fma(p, r, lanes::all(1.3981999507e-3f));
  p = fma(p, r, lanes::all(8.3334519073e-3f));
  p = fma(p, r, lanes::all(4.1665795894e-2f));
  p = fma(p, r, lanes::all(1.6666665459e-1f));
  p = fma(p, r, lanes::all(5.0000001201e-1f));
  p = fma(p, r * r, r) + lanes::all(1.0f);
  return add_exponent(p, shifted);
}

inline unsigned smaller_of(std::size_t a, unsigned b) {
  return a < b ? static_cast<unsigned>(a) : b;
}

/// Calls f(offset, count) for each 16 of `width` elements; `count` is less than 16 for the last ones only.
template <class Function>
inline void for_lanes(std::size_t width, Function f) {
  std::size_t i = 0;
  for (; i + 16 <= width; i += 16)
    f(i, 16u);
  if (i < width)
    f(i, static_cast<unsigned>(width - i));
}

void rms_norm(const float* x, const float* weight, std::size_t width, float epsilon, float* out) {
  lanes squares = lanes::zero();
  for_lanes(width, [&](std::size_t i, unsigned n) {
    const lanes v = load_some(x + i, n);
    squares = fma(v, v, squares);
  });
  const float mean = sum_of(squares) / static_cast<float>(width);
  const lanes factor = lanes::all(1.0f / __builtin_sqrtf(mean + epsilon));
  for_lanes(width, [&](std::size_t i, unsigned n) {
    store_some(load_some(x + i, n) * factor * load_some(weight + i, n), out + i, n);
  });
}

void swiglu(const float* gate, const float* up, std::size_t width, float* out) {
  for_lanes(width, [&](std::size_t i, unsigned n) {
    const lanes g = load_some(gate + i, n);
    const lanes silu = g / (lanes::all(1.0f) + exp_of(lanes::zero() - g));
    store_some(silu * load_some(up + i, n), out + i, n);
  });
}

void add(const float* x, std::size_t width, float* out) {
  for_lanes(width,
            [&](std::size_t i, unsigned n) { store_some(load_some(out + i, n) + load_some(x + i, n), out + i, n); });
}

/// 16 integers of a row: their digits, and their sum.
template <unsigned Bytes>
inline float store_integers(lanes scaled, activation_block<Bytes>& block, unsigned row, unsigned column) {
  const lanes magic = lanes::all(integer_magic), shifted = scaled + magic, whole = shifted - magic;
  if constexpr (Bytes == 1) {
    shifted.store_low_bytes(block.digits[0][row] + column);
  } else {
    const lanes high = fma(whole, lanes::all(1.0f / 16), magic);
    const lanes rest = fma(high - magic, lanes::all(-16.0f), whole); // -8 to 8
    high.store_low_bytes(block.digits[0][row] + column);
    (rest + magic).store_low_bytes(block.digits[1][row] + column);
  }
  return sum_of(whole); // Of small integers: exact.
}

template <unsigned Bytes>
void quantise(const float* x, std::size_t columns, activation_block<Bytes>* tile, unsigned row) {
  for (std::size_t k = 0; k < columns; k += block_columns, ++tile, x += block_columns) {
    const lanes a = lanes::load(x), b = lanes::load(x + 16);
    const float largest = largest_of(larger(magnitude(a), magnitude(b)));
    const bool some = largest > 1e-30f; // Below it the inverse would overflow, and the values mean nothing.
    const float scale = some ? largest / largest_activation<Bytes> : 0.0f;
    const lanes inverse = lanes::all(some ? largest_activation<Bytes> / largest : 0.0f);
    const float first = store_integers(a * inverse, *tile, row, 0);
    const float second = store_integers(b * inverse, *tile, row, 16);
    // What is no number has no integers; its scale makes every product of it no number either, which the worker
    // reports.
    const bool number = first + second == first + second;
    constexpr float no_number = std::numeric_limits<float>::quiet_NaN();
    tile->scale[row] = number ? scale : no_number;
    tile->sum[row] = number ? scale * (first + second) : no_number;
    tile->offset[0][row] = number ? -128 * static_cast<std::int32_t>(first) : 0;
    tile->offset[1][row] = number ? -128 * static_cast<std::int32_t>(second) : 0;
  }
}

/// As many chains as there are registers for, so that a result is never waited for.
std::uint64_t multiply_floats(std::uint64_t rounds) {
  lanes acc[float_chains], factor = lanes::all(0.5f);
  for (auto& a : acc)
    a = lanes::all(1.0f);
  for (std::uint64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (auto& a : acc)
      a = fma(a, factor, factor);
    keep(factor);
  }
  for (auto& a : acc)
    keep(a);
  return rounds * float_chains * 16;
}

float read(const float* from, std::size_t count) {
  lanes acc[8];
  for (auto& a : acc)
    a = lanes::zero();
  for (std::size_t i = 0; i < count; i += 128)
#pragma GCC unroll 8
    for (unsigned j = 0; j < 8; ++j)
      acc[j] = acc[j] + lanes::load(from + i + j * 16);
  float sum = 0;
  for (const auto& a : acc)
    sum += sum_of(a);
  return sum;
}

void rope(float* x, unsigned heads, unsigned head_size, const rope_angles& angles) {
  const unsigned half = angles.size / 2;
  const auto turned = [&](lanes v, lanes partner, std::size_t i, unsigned n) {
    return fma(partner, load_some(angles.sin + i, n), v * load_some(angles.cos + i, n));
  };
  for (unsigned h = 0; h < heads; ++h, x += head_size)
    if (angles.interleaved)
      for_lanes(angles.size, [&](std::size_t i, unsigned n) {
        const lanes v = load_some(x + i, n);
        store_some(turned(v, swap_neighbours(v), i, n), x + i, n);
      });
    else
      for_lanes(half, [&](std::size_t i, unsigned n) {
        const lanes a = load_some(x + i, n), b = load_some(x + half + i, n);
        store_some(turned(a, b, i, n), x + i, n);
        store_some(turned(b, a, half + i, n), x + half + i, n);
      });
}

/// Rounded to the nearest bfloat16, ties to even; not a number stays that.
inline std::uint16_t to_bfloat(float x) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return 0x7fc0;
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/// The integers of `size` floats, given 16 at a time to put(index, integers, count). Returns their scale, which is no number
/// where one of the floats is none.
template <class Put>
inline float put_integers(const float* x, unsigned size, Put put) {
  lanes most = lanes::zero(), sum = lanes::zero();
  for_lanes(size, [&](std::size_t i, unsigned n) { most = larger(most, magnitude(load_some(x + i, n))); });
  const float largest = largest_of(most);
  const bool some = largest > 1e-30f; // As in `quantise`.
  const lanes inverse = lanes::all(some ? 127.0f / largest : 0.0f), magic = lanes::all(integer_magic);
  for_lanes(size, [&](std::size_t i, unsigned n) {
    std::int8_t integers[16];
    const lanes shifted = fma(load_some(x + i, n), inverse, magic);
    shifted.store_low_bytes(integers);
    put(i, integers, n);
    sum = sum + (shifted - magic);
  });
  const float whole = sum_of(sum);
  if (whole != whole)
    return std::numeric_limits<float>::quiet_NaN();
  return some ? largest / 127.0f : 0.0f;
}

void store_kv_as_bfloats(const float* key, const float* value, const kv_shape& shape, unsigned position,
                         std::uint16_t* block) {
  std::uint16_t* keys = block + position;
  std::uint16_t* values = block + shape.keys() + std::size_t{position} * shape.padded;
  for (unsigned i = 0; i < shape.head_size; ++i)
    keys[std::size_t{i} * 16] = to_bfloat(key[i]);
  for (unsigned i = 0; i < shape.head_size; ++i)
    values[i] = to_bfloat(value[i]);
}

void store_kv_as_integers(const float* key, const float* value, const kv_shape& shape, unsigned position,
                          std::int8_t* block) {
  std::int8_t* keys = block + position;
  std::int8_t* values = block + shape.keys() + std::size_t{position} * shape.padded;
  auto* scales = reinterpret_cast<float*>(block + shape.numbers());
  scales[position] =
    put_integers(key, shape.head_size, [&](std::size_t at, const std::int8_t* integers, unsigned count) {
      for (unsigned i = 0; i < count; ++i)
        keys[(at + i) * 16] = integers[i];
    });
  scales[16 + position] =
    put_integers(value, shape.head_size, [&](std::size_t at, const std::int8_t* integers, unsigned) {
      __builtin_memcpy(values + at, integers, 16); // There is room for whole chunks of 16.
    });
}

void store_kv(const float* key, const float* value, const kv_shape& shape, unsigned position, std::byte* block) {
  if (shape.dtype == kv_cache_dtype::int8)
    store_kv_as_integers(key, value, shape, position, reinterpret_cast<std::int8_t*>(block));
  else
    store_kv_as_bfloats(key, value, shape, position, reinterpret_cast<std::uint16_t*>(block));
}

} // namespace
