#include "tests/gpu/product_case.hpp"

using namespace troupe::gpu;
using namespace troupe::gpu::test;

BOOST_AUTO_TEST_SUITE(products_suite)

BOOST_AUTO_TEST_CASE(products_of_every_format_are_right_to_a_millionth_of_what_is_added) {
  for (const auto format : all_formats)
    for (const auto inputs : widths_of(format))
      for (const std::uint32_t rows : {1u, 2u, 3u, 8u}) {
        product_case some(format, rows == 1 ? 64 : 18, inputs, rows); // 18: neither whole blocks nor whole warps.
        some.expect_right(some.run(0, rows), rows);
      }
}

BOOST_AUTO_TEST_CASE(the_smallest_matrices_are_right) {
  for (const auto format : all_formats) {
    product_case some(format, 1, block_columns(format), 5);
    some.expect_right(some.run(0, 5), 5);
  }
}

BOOST_AUTO_TEST_CASE(a_row_has_the_same_bits_alone_and_among_any_number_of_others) {
  for (const auto format : all_formats) {
    constexpr std::uint32_t outputs = 22, most = 11; // More than one pass.
    const auto inputs = widths_of(format)[1];
    product_case some(format, outputs, inputs, most);
    const auto all = some.run(0, most);
    some.expect_right(all, most);
    for (const auto& [first, rows] :
         {std::pair{0u, 1u}, {4u, 1u}, {10u, 1u}, {3u, 2u}, {5u, 3u}, {7u, 4u}, {1u, 5u}, {2u, 8u}})
      some.expect_same_bits(all, first, rows);
  }
}

BOOST_AUTO_TEST_CASE(weights_are_read_once_for_all_rows, *only_on_the_shim()) {
  for (const auto format : all_formats)
    for (const auto inputs : widths_of(format))
      for (const std::uint32_t rows : {1u, 2u, 4u, 8u}) {
        constexpr std::uint32_t outputs = 80;
        product_case some(format, outputs, inputs, rows);
        some.device.count_apart(some.matrix.bytes.at, some.own.bytes.size());
        some.run(0, rows);
        std::size_t needed = rows * (inputs * 2 + outputs * 4);
        for (unsigned part = 0; part < most_weight_parts; ++part)
          needed += outputs * part_row_bytes(format, part, inputs);
        BOOST_TEST(some.traffic_over(needed) <= 1.05, to_string(format) << " " << inputs << " " << rows);
        const auto weights = needed - rows * (inputs * 2 + outputs * 4);
        const auto sectors = some.device.moved_at(some.matrix.bytes.at).read_by_block;
        BOOST_TEST(static_cast<double>(sectors * 32) <= 1.05 * static_cast<double>(weights),
                   "by blocks: " << to_string(format));
      }
}

BOOST_AUTO_TEST_CASE(a_bias_and_what_was_there_are_added_and_other_columns_of_y_are_left_alone) {
  product_case some(weight_format::q4_0, 10, 512, 3);
  some.expect_right_with_all_that_is_added(3, 17);
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
