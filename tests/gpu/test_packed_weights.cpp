#include "tests/gpu/stored_matrix.hpp"

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

std::vector<std::byte> packed(const gguf::tensor& from, const weight_slice& part = {}) {
  const auto plan = must(packed_weights::plan(from, part));
  std::vector<std::byte> bytes(plan.layout().bytes);
  plan.pack(from, bytes);
  return bytes;
}

void expect_error(const gguf::tensor& from, const weight_slice& part, errc code, std::string_view text) {
  const auto plan = packed_weights::plan(from, part);
  BOOST_REQUIRE(!plan);
  BOOST_TEST((plan.error().code == code));
  BOOST_TEST(plan.error().message.find(text) != std::string::npos, plan.error().message);
}

} // namespace

BOOST_AUTO_TEST_SUITE(packed_weights_suite)

BOOST_AUTO_TEST_CASE(a_packed_matrix_has_no_more_bytes_than_its_file_but_for_the_parts_alignment) {
  std::mt19937 random(1);
  for (const auto type :
       {gguf::tensor_type::q8_0, gguf::tensor_type::q4_0, gguf::tensor_type::q4_1, gguf::tensor_type::q4_k,
        gguf::tensor_type::q6_k, gguf::tensor_type::bf16, gguf::tensor_type::f16}) {
    stored_matrix stored(type, 300, 1536, random);
    const auto layout = must(packed_weights::plan(stored.tensor)).layout();
    BOOST_TEST(layout.bytes >= stored.bytes.size());
    BOOST_TEST(layout.bytes < stored.bytes.size() + most_weight_parts * weight_part_alignment);
    for (const auto part : layout.parts)
      BOOST_TEST(part % weight_part_alignment == 0u);
  }
}

BOOST_AUTO_TEST_CASE(a_part_of_a_matrix_is_packed_as_if_it_were_one_of_its_own) {
  std::mt19937 random(1);
  for (const auto type :
       {gguf::tensor_type::q8_0, gguf::tensor_type::q4_0, gguf::tensor_type::q4_1, gguf::tensor_type::q4_k,
        gguf::tensor_type::q6_k, gguf::tensor_type::f32, gguf::tensor_type::f16}) {
    stored_matrix stored(type, 9, 1024, random);
    const auto block = gguf::format_of(type);
    const weight_slice part{.first_row = 2, .rows = 5, .first_column = 256, .columns = 512};
    std::vector<std::byte> cut;
    for (std::uint32_t row = 2; row < 7; ++row) {
      const auto from =
        stored.tensor.row(row).subspan(256 / block.elements * block.bytes, 512 / block.elements * block.bytes);
      cut.insert(cut.end(), from.begin(), from.end());
    }
    const gguf::tensor own{.name = "cut", .type = type, .shape = {512, 5}, .data = cut};
    BOOST_TEST((packed(stored.tensor, part) == packed(own)));
    const weight_slice rest{.first_row = 2, .first_column = 256};
    const auto layout = must(packed_weights::plan(stored.tensor, rest)).layout();
    BOOST_TEST(layout.outputs == 7u);
    BOOST_TEST(layout.inputs == 768u);
  }
}

BOOST_AUTO_TEST_CASE(rows_that_are_packed_one_by_one_are_the_same_bytes) {
  std::mt19937 random(1);
  stored_matrix stored(gguf::tensor_type::q6_k, 5, 512, random);
  const auto plan = must(packed_weights::plan(stored.tensor));
  std::vector<std::byte> bytes(plan.layout().bytes);
  for (const std::uint32_t row : {3u, 0u, 4u, 1u, 2u})
    plan.pack(stored.tensor, bytes, row, 1);
  BOOST_TEST((bytes == packed(stored.tensor)));
}

BOOST_AUTO_TEST_CASE(what_there_is_no_format_for_is_refused_with_the_tensor_s_name) {
  std::mt19937 random(1);
  stored_matrix five(gguf::tensor_type::q5_k, 4, 256, random);
  expect_error(five.tensor, {}, errc::unsupported, "\"some.weight\" has the type Q5_K");
  stored_matrix some(gguf::tensor_type::q4_k, 4, 512, random);
  expect_error(some.tensor, {.first_column = 128, .columns = 256}, errc::unsupported, "whole blocks of 256");
  expect_error(some.tensor, {.columns = 128}, errc::unsupported, "whole blocks of 256");
  expect_error(some.tensor, {.first_row = 2, .rows = 3}, errc::invalid_argument, "is not in the tensor");
  expect_error(some.tensor, {.first_column = 1024}, errc::invalid_argument, "is not in the tensor");
  stored_matrix narrow(gguf::tensor_type::f16, 4, 12, random);
  expect_error(narrow.tensor, {}, errc::unsupported, "whole blocks of 8");
  some.tensor.shape = {512, 2, 2};
  expect_error(some.tensor, {}, errc::unsupported, "3 dimensions");
}

BOOST_AUTO_TEST_CASE(an_f8_is_the_nearest_one_and_the_even_one_of_two) {
  for (unsigned bits = 0; bits < 0x7f; ++bits) {
    const float own = from_f8(static_cast<std::uint8_t>(bits));
    BOOST_TEST(to_f8(own) == bits);
    BOOST_TEST(to_f8(-own) == (bits | 0x80));
    if (bits == 0x7e)
      continue;
    const float next = from_f8(static_cast<std::uint8_t>(bits + 1)), middle = (own + next) / 2;
    BOOST_TEST(to_f8(middle) == bits + bits % 2);
    BOOST_TEST(to_f8(std::nextafter(middle, 0.0f)) == bits);
    BOOST_TEST(to_f8(std::nextafter(middle, 500.0f)) == bits + 1);
  }
  BOOST_TEST(from_f8(0x7e) == largest_f8);
  BOOST_TEST(to_f8(1e30f) == 0x7e);
  BOOST_TEST(to_f8(-INFINITY) == 0xfe);
  BOOST_TEST(to_f8(NAN) == 0x7f);
  BOOST_TEST(std::isnan(from_f8(0xff)));
}

BOOST_AUTO_TEST_CASE(weights_as_f8_are_within_a_sixteenth_of_what_they_were) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> weights(3 * 64);
  for (auto& each : weights)
    each = normal(random);
  std::fill(weights.begin() + 64, weights.begin() + 128, 0.0f);
  const auto layout = layout_of(weight_format::f8, 3, 64);
  std::vector<std::byte> bytes(layout.bytes);
  must(quantise_f8(weights, 3, 64, bytes));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    float scale;
    std::memcpy(&scale, &bytes[layout.parts[1] + i / 64 * 4], sizeof scale);
    const float got = from_f8(static_cast<std::uint8_t>(bytes[i])) * scale;
    BOOST_TEST(std::abs(got - weights[i]) <= std::abs(weights[i]) / 16 + scale / 512);
  }
  weights[70] = INFINITY;
  const auto refused = quantise_f8(weights, 3, 64, bytes);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().message == "The weight of row 1, column 6 is not finite.");
}

BOOST_AUTO_TEST_SUITE_END()
