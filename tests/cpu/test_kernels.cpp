// Every instruction set that this machine has computes the same bits as the portable kernels.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/cpu/kernel_support.hpp"

using namespace troupe::cpu;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(kernels)

namespace {

/// The same rows as integers of one and of two bytes.
struct tile_memory {
  explicit tile_memory(unsigned columns)
      : count(columns / block_columns), one(std::make_unique<activation_block<1>[]>(count)),
        two(std::make_unique<activation_block<2>[]>(count)) {}
  unsigned count;
  std::unique_ptr<activation_block<1>[]> one;
  std::unique_ptr<activation_block<2>[]> two;
};

/// What row 0 of a tile says that its number `column` is.
template <unsigned Bytes>
double value_of(const activation_block<Bytes>* tile, unsigned column) {
  const auto& block = tile[column / block_columns];
  double integer = 0;
  for (const auto& digit : block.digits)
    integer = integer * 16 + digit[0][column % block_columns];
  return integer * double{block.scale[0]};
}

constexpr unsigned stride = 20; // Wider than a panel: what lies between must stay.

/// [2][16][stride]: the products with activations of one byte and of two.
std::vector<float> multiply(const kernel_table& kernels, const panel& weights, const tile_memory& tile,
                            const float* x, unsigned rows, unsigned outputs, const float* bias, bool accumulate) {
  std::vector<float> out(2 * 16 * stride, 0.25f);
  product_target target{
    .out = out.data(), .stride = stride, .outputs = outputs, .bias = bias, .accumulate = accumulate};
  if (!is_quantised(weights.kind)) {
    kernels.matmul_float(weights, x, weights.columns, rows, target);
    return out;
  }
  kernels.matmul_one_byte(weights, tile.one.get(), rows, target);
  target.out += 16 * stride;
  kernels.matmul_two_bytes(weights, tile.two.get(), rows, target);
  return out;
}

/// Runs `body` for panels of all kinds, with activations for them.
void for_panels(const std::function<void(const panel&, const std::vector<float>&, random_numbers&)>& body) {
  random_numbers random(7);
  for (auto kind : all_kinds)
    for (bool half : {false, true})
      for (unsigned columns : {32u, 96u, 576u}) {
        if (half && (!is_quantised(kind) || kind == panel_kind::q8_halves))
          continue;
        const auto made = make_panel(kind, half, columns, random);
        body(made.view, random.numbers(std::size_t{16} * columns), random);
      }
}

tile_memory quantised(const kernel_table& kernels, const std::vector<float>& x, unsigned columns, unsigned rows) {
  tile_memory tile(columns);
  for (unsigned r = 0; r < rows; ++r) {
    kernels.quantise_one_byte(x.data() + r * columns, columns, tile.one.get(), r);
    kernels.quantise_two_bytes(x.data() + r * columns, columns, tile.two.get(), r);
  }
  return tile;
}

} // namespace

BOOST_AUTO_TEST_CASE(products_have_the_same_bits_on_every_instruction_set) {
  for_panels([](const panel& weights, const std::vector<float>& x, random_numbers& random) {
    const auto tile = quantised(portable_kernels, x, weights.columns, 16);
    const auto bias = random.numbers(16);
    for (unsigned rows : {1u, 2u, 3u, 5u, 8u, 12u, 13u, 16u})
      for (unsigned outputs : {16u, 5u}) {
        const bool accumulate = rows % 2 == 0;
        const float* added = outputs == 5 ? bias.data() : nullptr;
        const auto wanted = multiply(portable_kernels, weights, tile, x.data(), rows, outputs, added, accumulate);
        for (auto which : available())
          BOOST_TEST(same_bits(wanted, multiply(kernels_for(which), weights, tile, x.data(), rows, outputs, added,
                                                accumulate)),
                     to_string(which) << ", kind " << static_cast<int>(weights.kind) << ", " << rows << " rows of "
                                      << weights.columns);
      }
  });
}

BOOST_AUTO_TEST_CASE(what_is_no_number_stays_none_and_only_in_its_own_row) {
  for_panels([](const panel& weights, const std::vector<float>& given, random_numbers&) {
    auto x = given;
    x[weights.columns + 5] = std::numeric_limits<float>::quiet_NaN();     // row 1
    x[2 * weights.columns + 17] = std::numeric_limits<float>::infinity(); // row 2
    for (auto which : available()) {
      const auto& kernels = kernels_for(which);
      const auto tile = quantised(kernels, x, weights.columns, 4);
      const auto out = multiply(kernels, weights, tile, x.data(), 4, 16, nullptr, false);
      for (unsigned row = 0; row < 4; ++row)
        for (unsigned i = 0; i < 16; ++i) {
          // A float times infinity is infinity, or none where the float is 0.
          const bool finite = std::isfinite(out[row * stride + i]);
          BOOST_TEST(finite == (row == 0 || row == 3), to_string(which)
                                                         << ", kind " << static_cast<int>(weights.kind));
          BOOST_TEST(std::isfinite(out[(16 + row) * stride + i]) ==
                     (row == 0 || row == 3 || !is_quantised(weights.kind)));
        }
    }
  });
}

BOOST_AUTO_TEST_CASE(a_row_of_a_product_does_not_depend_on_the_rows_beside_it) {
  for_panels([](const panel& weights, const std::vector<float>& x, random_numbers&) {
    for (auto which : available()) {
      const auto& kernels = kernels_for(which);
      const auto together_tile = quantised(kernels, x, weights.columns, 16);
      const auto together = multiply(kernels, weights, together_tile, x.data(), 16, 16, nullptr, false);
      for (unsigned r : {0u, 7u, 15u}) {
        const std::vector<float> own(x.begin() + r * weights.columns, x.begin() + (r + 1) * weights.columns);
        const auto tile = quantised(kernels, own, weights.columns, 1);
        const auto alone = multiply(kernels, weights, tile, own.data(), 1, 16, nullptr, false);
        for (unsigned bytes : {0u, 1u})
          if (bytes == 0 || is_quantised(weights.kind))
            BOOST_TEST(std::memcmp(alone.data() + bytes * 16 * stride, together.data() + (bytes * 16 + r) * stride,
                                   16 * sizeof(float)) == 0,
                       to_string(which));
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(a_product_is_what_its_definition_says) {
  for_panels([](const panel& weights, const std::vector<float>& x, random_numbers&) {
    if (!is_quantised(weights.kind) || weights.half_scales)
      return;
    const auto tile = quantised(portable_kernels, x, weights.columns, 1);
    const auto out = multiply(portable_kernels, weights, tile, x.data(), 1, 16, nullptr, false);
    const auto* scales = reinterpret_cast<const float*>(weights.scales);
    const unsigned vectors = scale_vectors(weights.kind);
    for (unsigned c = 0; c < 16; ++c) {
      double sum[2] = {}, size = 0;
      for (unsigned k = 0; k < weights.columns; ++k) {
        const unsigned b = k / 32, i = k % 32;
        const auto* quants = weights.quants + b * quant_bytes(weights.kind);
        const float* scale = scales + b * vectors * 16 + c;
        double w = 0;
        if (weights.kind == panel_kind::q4)
          w = (quants[i % 16 / 4 * 64 + c * 4 + i % 4] >> (i < 16 ? 0 : 4) & 15) * double{scale[0]} + scale[16];
        else
          w = (quants[i / 4 * 64 + c * 4 + i % 4] - 128) *
                double{scale[weights.kind == panel_kind::q8_halves && i >= 16 ? 16 : 0]} +
              (weights.kind == panel_kind::q8_min ? scale[16] : 0);
        sum[0] += w * value_of(tile.one.get(), k);
        sum[1] += w * value_of(tile.two.get(), k);
        size += std::abs(w * x[k]);
      }
      for (unsigned bytes : {0u, 1u})
        BOOST_TEST(std::abs(out[bytes * 16 * stride + c] - sum[bytes]) <= 1e-5 * size,
                   "kind " << static_cast<int>(weights.kind) << ", bytes " << bytes + 1);
    }
  });
}

BOOST_AUTO_TEST_CASE(activations_are_quantised_to_the_same_bytes_within_half_a_step) {
  random_numbers random(3);
  auto x = random.numbers(640);
  std::fill_n(x.begin() + 32, 32, 0.0f); // A block of zeros, one of tiny numbers, one of large ones.
  for (unsigned i = 64; i < 96; ++i)
    x[i] *= 1e-36f;
  for (unsigned i = 96; i < 128; ++i)
    x[i] *= 1e30f;
  for (auto which : available()) {
    const auto wanted = quantised(portable_kernels, x, 640, 1), got = quantised(kernels_for(which), x, 640, 1);
    BOOST_TEST(std::memcmp(wanted.one.get(), got.one.get(), sizeof(activation_block<1>) * got.count) == 0,
               to_string(which));
    BOOST_TEST(std::memcmp(wanted.two.get(), got.two.get(), sizeof(activation_block<2>) * got.count) == 0,
               to_string(which));
    for (unsigned k = 0; k < 640; ++k) {
      BOOST_TEST(std::abs(value_of(got.one.get(), k) - x[k]) <= 0.5001 * got.one[k / 32].scale[0] + 1e-30);
      BOOST_TEST(std::abs(value_of(got.two.get(), k) - x[k]) <= 0.5001 * got.two[k / 32].scale[0] + 1e-30);
    }
  }
}

BOOST_AUTO_TEST_CASE(element_wise_kernels_have_the_same_bits_on_every_instruction_set) {
  random_numbers random(5);
  for (auto which : available())
    for (std::size_t width : {1u, 15u, 16u, 31u, 64u, 100u, 576u}) {
      const auto x = random.numbers(width), y = random.numbers(width);
      const auto both = [&](auto run) {
        auto a = y, b = y;
        run(portable_kernels, a);
        run(kernels_for(which), b);
        return same_bits(a, b);
      };
      BOOST_TEST(both([&](const kernel_table& k, std::vector<float>& out) {
        k.rms_norm(x.data(), y.data(), width, 1e-5f, out.data());
      }));
      BOOST_TEST(both(
        [&](const kernel_table& k, std::vector<float>& out) { k.swiglu(x.data(), y.data(), width, out.data()); }));
      BOOST_TEST(both([&](const kernel_table& k, std::vector<float>& out) { k.add(x.data(), width, out.data()); }));
    }
}

BOOST_AUTO_TEST_CASE(swiglu_is_within_rounding_of_its_definition) {
  std::vector<float> x, one;
  for (float v = -100; v <= 100; v += 0.37f)
    x.push_back(v);
  one.assign(x.size(), 1.0f);
  auto out = x;
  kernels_for(best_instruction_set()).swiglu(x.data(), one.data(), x.size(), out.data());
  for (std::size_t i = 0; i < x.size(); ++i)
    BOOST_TEST(std::abs(out[i] - x[i] / (1 + std::exp(-double{x[i]}))) <= 1e-6 * std::abs(x[i]) + 1e-30);
}

BOOST_AUTO_TEST_CASE(rope_has_the_same_bits_on_every_instruction_set) {
  random_numbers random(11);
  for (auto which : available())
    for (bool interleaved : {false, true})
      for (unsigned size : {16u, 38u, 40u}) {
        const auto x = random.numbers(3 * 40), cos = random.numbers(size), sin = random.numbers(size);
        auto a = x, b = x;
        for (unsigned h = 0; h < 3; ++h)
          for (unsigned i = 0; i < size; ++i) {
            const unsigned partner = interleaved ? i ^ 1 : (i + size / 2) % size;
            a[h * 40 + i] = std::fma(x[h * 40 + partner], sin[i], x[h * 40 + i] * cos[i]);
          }
        kernels_for(which).rope(b.data(), 3, 40, {cos.data(), sin.data(), size, interleaved});
        BOOST_TEST(same_bits(a, b), to_string(which));
      }
}

BOOST_AUTO_TEST_SUITE_END()
