#include "tests/gpu/product_case.hpp"

using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

/// Weights are what the kernel rounds them to.
struct skinny_case : product_case {
  skinny_case(weight_format format, std::uint32_t outputs, std::uint32_t inputs, std::uint32_t rows)
      : product_case(format, outputs, inputs, rows) {
    plan = plan_skinny_product;
    exactness = 3e-6; // Longer chains of additions than `product` has.
    for (auto& weight : own.weights)
      weight = to_float(to_bf16(static_cast<float>(weight)));
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(skinny_product_suite)

BOOST_AUTO_TEST_CASE(skinny_products_of_every_format_are_right) {
  for (const auto format : all_formats)
    for (const auto inputs : widths_of(format))
      for (const std::uint32_t rows : {1u, 9u, 64u}) {
        skinny_case some(format, 34, inputs, rows); // 34: neither whole blocks nor whole warps.
        some.expect_right(some.run(0, rows), rows);
      }
}

BOOST_AUTO_TEST_CASE(skinny_products_with_the_smallest_matrices_are_right) {
  for (const auto format : all_formats) {
    skinny_case some(format, 1, block_columns(format), 12);
    some.expect_right(some.run(0, 12), 12);
  }
}

BOOST_AUTO_TEST_CASE(a_row_of_a_skinny_product_has_the_same_bits_alone_and_among_any_number_of_others) {
  for (const auto format : all_formats) {
    constexpr std::uint32_t outputs = 22, most = 70; // More than one pass.
    const auto inputs = widths_of(format)[1];
    skinny_case some(format, outputs, inputs, most);
    const auto all = some.run(0, most);
    some.expect_right(all, most);
    for (const auto& [first, rows] : {std::pair{0u, 1u}, {69u, 1u}, {3u, 9u}, {60u, 10u}, {5u, 64u}})
      some.expect_same_bits(all, first, rows);
  }
}

BOOST_AUTO_TEST_CASE(skinny_products_read_weights_once_for_all_rows, *only_on_the_shim()) {
  for (const auto format : all_formats)
    for (const auto inputs : widths_of(format))
      for (const std::uint32_t rows : {9u, 64u}) {
        constexpr std::uint32_t outputs = 96;
        skinny_case some(format, outputs, inputs, rows);
        some.device.count_apart(some.matrix.bytes.at, some.own.bytes.size());
        some.run(0, rows);
        std::size_t weights = 0;
        for (unsigned part = 0; part < most_weight_parts; ++part)
          weights += outputs * part_row_bytes(format, part, inputs);
        BOOST_TEST(some.traffic_over(weights + rows * (inputs * 2 + outputs * 4)) <= 1.05,
                   to_string(format) << " " << inputs << " " << rows);
        const auto sectors = some.device.moved_at(some.matrix.bytes.at).read_by_block;
        BOOST_TEST(static_cast<double>(sectors * 32) <= 1.05 * static_cast<double>(weights),
                   "by blocks: " << to_string(format));
      }
}

BOOST_AUTO_TEST_CASE(a_skinny_product_adds_bias_and_what_was_there_and_leaves_other_columns_alone) {
  skinny_case some(weight_format::q4_1, 10, 512, 11);
  some.expect_right_with_all_that_is_added(11, 17);
}

BOOST_AUTO_TEST_SUITE_END()
