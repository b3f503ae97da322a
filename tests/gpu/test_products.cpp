#include "tests/gpu/kernel_fixture.hpp"

#include <cmath>

using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

template <unsigned Rows>
void expect_products(std::uint32_t rows, std::uint32_t outputs, std::uint32_t inputs) {
  kernel_fixture f(outputs);
  std::vector<std::int8_t> quants(std::size_t{outputs} * inputs);
  for (auto& each : quants)
    each = static_cast<std::int8_t>(static_cast<int>(f.random() % 255) - 127);
  std::vector<half> scales(quants.size() / 32);
  for (auto& each : scales)
    each = {static_cast<std::uint16_t>(f.random() % 0x2c00 + (f.random() % 2 << 15))}; // Denormals, too.
  const auto x = f.numbers(std::size_t{rows} * inputs);
  const auto y = f.space<float>(std::size_t{rows} * outputs);
  const auto quants_there = f.upload_counted(quants);
  const auto scales_there = f.upload_counted(scales);
  const extent3 blocks{(outputs + 3) / 4, (rows + Rows - 1) / Rows};
  f.launch<product_q8_0<Rows>>({quants_there, scales_there, f.upload(x), y, rows, outputs, inputs}, blocks);
  BOOST_TEST(f.read_over(quants_there, quants.size() * blocks.y) <= 1.0);
  std::size_t sectors = 0; // Of a block's scales, which begin and end within one.
  for (unsigned first = 0; first < outputs; first += 4)
    sectors += (std::min(first + 4, outputs) * (inputs / 32) * 2 + 31) / 32 - first * (inputs / 32) * 2 / 32;
  BOOST_TEST(f.device.moved_at(scales_there.at).read_by_block == sectors * blocks.y);
  BOOST_TEST(f.traffic_over(quants.size() + scales.size() * 2 + x.size() * 4 + std::size_t{rows} * outputs * 4) <=
             1.05);
  std::vector<double> wanted;
  for (std::uint32_t r = 0; r < rows; ++r)
    for (std::uint32_t n = 0; n < outputs; ++n) {
      double sum = 0;
      for (std::uint32_t k = 0; k < inputs; ++k)
        sum +=
          static_cast<double>(x[r * inputs + k]) * quants[n * inputs + k] * to_float(scales[(n * inputs + k) / 32]);
      wanted.push_back(sum);
    }
  expect_close(f.download(y, wanted.size()), wanted, 1e-5);
}

} // namespace

BOOST_AUTO_TEST_SUITE(products_suite)

BOOST_AUTO_TEST_CASE(rows_times_a_matrix_of_q8_0_read_its_weights_once_a_block) {
  expect_products<1>(1, 64, 576);
  expect_products<1>(1, 30, 1536);
  expect_products<4>(4, 64, 576);
  expect_products<4>(3, 66, 32);
  expect_products<4>(10, 30, 576); // Once for every four rows.
}

BOOST_AUTO_TEST_CASE(halves_are_the_numbers_that_they_stand_for) {
  BOOST_TEST(to_float(half{0x3c00}) == 1.0f);
  BOOST_TEST(to_float(half{0xc000}) == -2.0f);
  BOOST_TEST(to_float(half{0x0001}) == std::ldexp(1.0f, -24));
  BOOST_TEST(to_float(half{0x7bff}) == 65504.0f);
  BOOST_TEST(std::isinf(to_float(half{0x7c00})));
  BOOST_TEST(std::isnan(to_float(half{0x7e01})));
  BOOST_TEST(to_bf16(1.00390625f).bits == 0x3f80); // A tie, to the even one.
  BOOST_TEST(to_bf16(1.01171875f).bits == 0x3f82);
  BOOST_TEST(std::isnan(to_float(to_bf16(std::nanf("")))));
}

BOOST_AUTO_TEST_SUITE_END()
