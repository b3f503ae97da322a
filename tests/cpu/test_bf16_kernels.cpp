// Products in bfloat16: every instruction set, and AMX's kernel over emulated tiles, against the definition, bit for bit.
#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "tests/cpu/kernel_support.hpp"
#if defined(__x86_64__)
#include <xmmintrin.h>

#include "tests/cpu/emulated_tiles.hpp"
#endif

using namespace troupe::cpu;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(bf16_products)

namespace {

// The definition, one number at a time.

float flush(float x) {
  return std::abs(x) < FLT_MIN ? std::copysign(0.0f, x) : x;
}

/// What is too small with a whole significand is zero, even where IEEE 754 rounds it up to the least normal number.
float fma_flush(float a, float b, float c) {
  const float x = std::fma(a, b, c);
  const bool rounded_up = std::abs(x) == FLT_MIN && std::abs(double{a} * double{b} + c) < 0x1p-126 - 0x1p-151;
  return rounded_up ? std::copysign(0.0f, x) : flush(x);
}

float to_bfloat(float x) {
  std::uint32_t bits;
  x = flush(x);
  std::memcpy(&bits, &x, 4);
  const std::uint32_t rest = bits & 0xffffu;
  bits -= rest;
  if (rest > 0x8000u || (rest == 0x8000u && (bits & 0x10000u)))
    bits += 0x10000u;
  std::memcpy(&x, &bits, 4);
  return x;
}

float half_to_float(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const float size = exponent ? std::ldexp(static_cast<float>(1024 + (half & 1023)), exponent - 25)
                              : std::ldexp(static_cast<float>(half & 1023), -24);
  return half & 0x8000u ? -size : size;
}

template <class T>
T read(const std::uint8_t* from, std::size_t index) {
  T out;
  std::memcpy(&out, from + index * sizeof(T), sizeof(T));
  return out;
}

/// Number `index` of a panel's scales.
float scale_of(const panel& from, std::size_t index) {
  return flush(from.half_scales ? half_to_float(read<std::uint16_t>(from.scales, index))
                                : read<float>(from.scales, index));
}

float number_of(const panel& from, std::size_t index) {
  if (from.kind == panel_kind::f32)
    return read<float>(from.quants, index);
  const auto bits = read<std::uint16_t>(from.quants, index);
  if (from.kind == panel_kind::f16)
    return half_to_float(bits);
  float out;
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  std::memcpy(&out, &wide, 4);
  return out;
}

/// The weight of column k of output c, rounded.
float weight_of(const panel& from, unsigned k, unsigned c) {
  if (k >= from.columns)
    return 0;
  if (!is_quantised(from.kind))
    return to_bfloat(number_of(from, std::size_t{k} * 16 + c));
  const unsigned b = k / 32, i = k % 32;
  const auto* quants = from.quants + b * quant_bytes(from.kind);
  const std::size_t scales = std::size_t{b} * scale_vectors(from.kind) * 16 + c;
  const float scale = scale_of(from, scales);
  if (from.kind == panel_kind::q4)
    return to_bfloat(fma_flush(scale,
                               static_cast<float>(quants[i % 16 / 4 * 64 + c * 4 + i % 4] >> (i < 16 ? 0 : 4) & 15),
                               scale_of(from, scales + 16)));
  const auto q = static_cast<float>(quants[i / 4 * 64 + c * 4 + i % 4] - 128);
  if (from.kind == panel_kind::q8_min)
    return to_bfloat(fma_flush(scale, q, scale_of(from, scales + 16)));
  return to_bfloat(flush((from.kind == panel_kind::q8_halves && i >= 16 ? scale_of(from, scales + 16) : scale) * q));
}

float product_of(const panel& from, const float* x, unsigned c) {
  float sum = 0;
  for (unsigned k = 0; k < from.columns; k += 32) {
    float chains[2] = {};
    for (unsigned i = 0; i < 32; ++i)
      chains[i % 2] =
        fma_flush(k + i < from.columns ? to_bfloat(x[k + i]) : 0, weight_of(from, k + i, c), chains[i % 2]);
    sum = flush(sum + flush(chains[0] + chains[1]));
  }
  return sum;
}

// The kernels.

struct named_kernels {
  std::string name;
  const bf16_kernels& kernels;
};

std::vector<named_kernels> all_kernels() {
  std::vector<named_kernels> out;
  for (auto which : available())
    out.push_back({std::string(to_string(which)), bf16_kernels_for(which)});
#if defined(__x86_64__)
  if (has_instruction_set(instruction_set::avx512vnni))
    out.push_back({"emulated tiles", emulated_tile_kernels});
#endif
  return out;
}

struct free_it {
  void operator()(std::byte* p) const { std::free(p); }
};
using aligned_bytes = std::unique_ptr<std::byte, free_it>;

aligned_bytes zeroed(std::size_t bytes) {
  const std::size_t whole = (bytes + 63) / 64 * 64;
  aligned_bytes out(static_cast<std::byte*>(std::aligned_alloc(64, whole)));
  std::memset(out.get(), 0, whole);
  return out;
}

/// Some panels of one matrix, and rows to multiply them with.
struct problem {
  problem(panel_kind kind, bool half_scales, unsigned columns, unsigned panels, unsigned rows_,
          random_numbers& random)
      : rows(rows_), outputs(panels * 16), x(random.numbers(std::size_t{rows_} * columns)) {
    for (unsigned p = 0; p < panels; ++p)
      made.push_back(make_panel(kind, half_scales, columns, random));
    for (const auto& each : made)
      weights.push_back(each.view);
  }
  unsigned columns() const { return weights[0].columns; }
  const float* row(unsigned r) const { return x.data() + std::size_t{r} * columns(); }

  unsigned rows, outputs;
  std::vector<float> x, bias;
  std::vector<made_panel> made;
  std::vector<panel> weights;
  bool accumulate = false;
};

constexpr float before = 0.25f; // What is in a target already.

/// [rows][all panels' outputs + 3]: what lies between must stay.
std::vector<float> multiply(const bf16_kernels& kernels, const problem& of) {
  const std::size_t row_numbers = bf16_blocks(of.columns()) * bf16_tile_numbers, tiles = (of.rows + 15) / 16;
  const auto memory = zeroed(tiles * row_numbers * kernels.number_bytes), scratch = zeroed(bf16_scratch_bytes);
  for (unsigned r = 0; r < of.rows; ++r)
    kernels.round(of.row(r), of.columns(), memory.get() + r / 16 * row_numbers * kernels.number_bytes, r % 16);
  const std::size_t stride = of.weights.size() * 16 + 3;
  std::vector<float> out(of.rows * stride, before);
  kernels.matmul(of.weights.data(), static_cast<unsigned>(of.weights.size()), memory.get(), of.rows,
                 {.out = out.data(),
                  .stride = stride,
                  .outputs = of.outputs,
                  .bias = of.bias.empty() ? nullptr : of.bias.data(),
                  .accumulate = of.accumulate},
                 scratch.get());
  return out;
}

/// Compares all kernels with each other, and `samples` of their outputs with the definition.
void check(const problem& of, unsigned samples, random_numbers& random) {
  const auto kernels = all_kernels();
  const auto wanted = multiply(kernels[0].kernels, of);
  const auto what = "kind " + std::to_string(static_cast<int>(of.weights[0].kind)) + ", " + std::to_string(of.rows) +
                    " rows of " + std::to_string(of.columns()) + ", " + std::to_string(of.outputs) + " outputs";
  for (const auto& other : kernels)
    BOOST_TEST(same_bits(wanted, multiply(other.kernels, of)), other.name << ", " << what);
  const std::size_t stride = of.weights.size() * 16 + 3;
  for (unsigned i = 0; i < samples; ++i) {
    const unsigned r = random.below(of.rows), n = random.below(of.outputs);
    float sum = product_of(of.weights[n / 16], of.row(r), n % 16);
    if (!of.bias.empty())
      sum = flush(sum + flush(of.bias[n]));
    if (of.accumulate)
      sum = flush(before + sum);
    BOOST_TEST(same_bits({sum}, {wanted[r * stride + n]}), what << ": row " << r << ", output " << n);
  }
  for (unsigned r = 0; r < of.rows; ++r)
    for (std::size_t n = of.outputs; n < stride; ++n)
      BOOST_REQUIRE(wanted[r * stride + n] == before);
}

/// Runs `body` for panels of all kinds, with halves as scales and without.
void for_kinds(const std::function<void(panel_kind, bool)>& body) {
  for (auto kind : all_kinds)
    for (bool half : {false, true})
      if (!half || (is_quantised(kind) && kind != panel_kind::q8_halves))
        body(kind, half);
}

void check_tiles() {
#if defined(__x86_64__)
  BOOST_TEST(!tile_violation(), (tile_violation() ? tile_violation() : ""));
#endif
}

} // namespace

BOOST_AUTO_TEST_CASE(products_of_random_shapes_are_what_their_definition_says_bit_for_bit) {
  random_numbers random(21);
  for_kinds([&](panel_kind kind, bool half) {
    for (unsigned rows : {1u, 2u, 15u, 17u, 40u, 1 + random.below(257)}) {
      const unsigned columns = is_quantised(kind) ? 32 * (1 + random.below(18)) : 1 + random.below(400);
      const unsigned panels = 1 + random.below(rows > 40 ? 3 : 8);
      problem one(kind, half, columns, panels, rows, random);
      one.outputs -= random.below(16);
      one.accumulate = random.below(2);
      if (random.below(2))
        one.bias = random.numbers(one.outputs);
      check(one, 40, random);
    }
  });
  check_tiles();
}

BOOST_AUTO_TEST_CASE(more_rows_than_a_block_of_them_and_more_columns_than_are_unpacked_at_once) {
  random_numbers random(22);
  for (unsigned rows : {255u, 256u, 257u, 530u})
    check(problem(panel_kind::q4, true, 32 * 19, 3, rows, random), 100, random);
  for (unsigned blocks : {7u, 8u, 9u, 15u, 16u, 17u, 32u, 48u})
    check(problem(panel_kind::q4, true, 32 * blocks, 5, 33, random), 50, random);
  check_tiles();
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_the_rows_beside_it) {
  random_numbers random(23);
  for_kinds([&](panel_kind kind, bool half) {
    const problem all(kind, half, 96, 2, 37, random);
    for (const auto& each : all_kernels()) {
      const auto together = multiply(each.kernels, all);
      for (unsigned r : {0u, 7u, 15u, 16u, 30u, 36u}) {
        problem one = all;
        one.rows = 1;
        one.x.assign(all.row(r), all.row(r) + 96);
        const auto alone = multiply(each.kernels, one);
        BOOST_TEST(std::memcmp(alone.data(), together.data() + r * alone.size(), alone.size() * sizeof(float)) == 0,
                   each.name << ", row " << r);
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(denormal_numbers_are_zeros_everywhere) {
  random_numbers random(24);
  for (float size : {0x1p-126f, 0x1p-120f, 0x1p-63f, 0x1p-60f})
    for_kinds([&](panel_kind kind, bool) {
      problem one(kind, false, 64, 2, 20, random);
      for (auto& each : one.made) { // Products near the least normal number, and weights too.
        auto& bytes = is_quantised(kind) ? each.scales : each.quants;
        if (kind == panel_kind::f32 || is_quantised(kind))
          for (std::size_t i = 0; i < bytes.size(); i += 4) {
            const float x = read<float>(bytes.data() + i, 0) * (size < 0x1p-100f ? size : 0x1p-63f);
            std::memcpy(bytes.data() + i, &x, 4);
          }
      }
      for (auto& x : one.x)
        x *= size;
      one.x[5] = 0x1p-126f - 0x1p-149f; // Would round up to a normal number.
      one.accumulate = true;
      check(one, 60, random);
    });
  check_tiles();
}

BOOST_AUTO_TEST_CASE(a_sum_is_zero_where_it_is_too_small_before_its_exponent_costs_it_bits) {
  std::vector<float> weights(32 * 16, 0.0f), x(32, 0.0f);
  weights[0] = 0x1p-63f; // 2^-126 - 1.5 * 2^-151: nearest to 2^-126 among denormals, but less with 24 bits.
  x[0] = 0x1p-63f;
  weights[2 * 16] = -0x1.8p-75f;
  x[2] = 0x1p-76f;
  weights[1] = 0x1p-63f; // And 2^-126 - 2^-151, which is nearest to it in both.
  weights[2 * 16 + 1] = -0x1p-75f;
  panel view{.kind = panel_kind::f32, .columns = 32, .quants = reinterpret_cast<const std::uint8_t*>(weights.data())};
  random_numbers random(1);
  problem one(panel_kind::f32, false, 32, 1, 1, random);
  one.weights = {view};
  one.x = x;
  for (const auto& each : all_kernels()) {
    const auto out = multiply(each.kernels, one);
    BOOST_TEST(out[0] == 0.0f, each.name);
    BOOST_TEST(out[1] == 0x1p-126f, each.name);
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_number_stays_none_and_only_in_its_own_row) {
  random_numbers random(25);
  for_kinds([&](panel_kind kind, bool half) {
    problem one(kind, half, 96, 1, 20, random);
    one.x[96 + 5] = std::numeric_limits<float>::quiet_NaN();
    one.x[18 * 96 + 40] = -std::numeric_limits<float>::quiet_NaN();
    std::uint32_t bits = 0x7fffffffu; // Which a carry would make a number of.
    std::memcpy(&one.x[3 * 96 + 7], &bits, 4);
    for (const auto& each : all_kernels()) {
      const auto out = multiply(each.kernels, one);
      for (unsigned r = 0; r < 20; ++r)
        for (unsigned n = 0; n < 16; ++n)
          BOOST_TEST(std::isfinite(out[r * 19 + n]) == (r != 1 && r != 3 && r != 18), each.name << ", row " << r);
    }
  });
}

BOOST_AUTO_TEST_CASE(a_weight_that_is_no_number_is_seen_in_its_own_output_alone) {
  random_numbers random(28);
  for_kinds([&](panel_kind kind, bool half) {
    problem one(kind, half, 64, 1, 3, random);
    const bool wide = is_quantised(kind) ? !half : kind == panel_kind::f32;
    auto& bytes = is_quantised(kind) ? one.made[0].scales : one.made[0].quants; // Its output 4 in the first block.
    const std::size_t index = is_quantised(kind) ? 4 : 3 * 16 + 4, size = wide ? 4 : 2;
    const std::uint8_t all_ones[] = {0xff, 0xff, 0xff, 0x7f}; // To which a rounding must not add.
    std::memcpy(bytes.data() + index * size, all_ones + 4 - size, size);
    for (const auto& each : all_kernels()) {
      const auto out = multiply(each.kernels, one);
      for (unsigned i = 0; i < 3 * 16; ++i)
        BOOST_TEST(std::isfinite(out[i / 16 * 19 + i % 16]) == (i % 16 != 4),
                   each.name << ", kind " << static_cast<int>(kind));
    }
  });
}

#if defined(__x86_64__)
BOOST_AUTO_TEST_CASE(a_call_leaves_the_rounding_of_its_thread_as_it_was) {
  random_numbers random(26);
  const problem one(panel_kind::q4, true, 64, 1, 3, random);
  const unsigned own = _mm_getcsr();
  for (const auto& each : all_kernels()) {
    const auto wanted = multiply(each.kernels, one);
    _mm_setcsr(0x1f80 | 0x6000); // Towards zero, which no kernel may take over.
    const auto got = multiply(each.kernels, one);
    BOOST_TEST((_mm_getcsr() & 0xe040) == 0x6000u);
    _mm_setcsr(own);
    if (each.name != "portable") // Whose operations are the thread's.
      BOOST_TEST(same_bits(wanted, got), each.name);
  }
}
#endif

BOOST_AUTO_TEST_CASE(products_are_near_those_of_real_numbers) {
  random_numbers random(27);
  for_kinds([&](panel_kind kind, bool half) {
    const problem one(kind, half, 320, 1, 3, random);
    const auto out = multiply(bf16_kernels_for(best_instruction_set()), one);
    for (unsigned r = 0; r < 3; ++r)
      for (unsigned c = 0; c < 16; ++c) {
        double sum = 0, size = 0;
        for (unsigned k = 0; k < 320; ++k) {
          const double product = double{one.row(r)[k]} * weight_of(one.weights[0], k, c);
          sum += product;
          size += std::abs(product);
        }
        BOOST_TEST(std::abs(out[r * 19 + c] - sum) <= size / 256 + 1e-30);
      }
  });
}

BOOST_AUTO_TEST_SUITE_END()
