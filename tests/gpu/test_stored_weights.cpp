#include "engine/step.hpp"
#include "tests/gpu/stored_matrix.hpp"

using namespace troupe::gpu;
using namespace troupe::gpu::test;

BOOST_AUTO_TEST_SUITE(stored_weights_suite)

BOOST_AUTO_TEST_CASE(every_weight_of_every_format_is_the_brain_float_nearest_to_what_the_file_means) {
  for (const auto format : all_formats)
    for (const std::uint32_t inputs : {256u, 1536u}) {
      constexpr std::uint32_t outputs = 13;
      weight_fixture f(format, outputs, inputs);
      const auto out = f.space<bf16>(outputs * inputs);
      f.launch(plan_dequantise(f.own.layout, outputs), dequantise_arguments{f.matrix, out, 0, outputs});
      const auto got = f.download(out, outputs * inputs);
      for (std::size_t i = 0; i < got.size(); ++i)
        if (got[i].bits != to_bf16(f.own.weights[i]).bits)
          BOOST_ERROR(to_string(format) << ": weight " << i << " is " << to_float(got[i]) << " and not "
                                        << f.own.weights[i]);
    }
}

BOOST_AUTO_TEST_CASE(some_rows_are_dequantised_and_no_others) {
  weight_fixture f(weight_format::q6_k, 9, 512);
  const auto out = f.space<bf16>(3 * 512 + 1);
  must(f.device.fill(f.stream, out.at, 0x11, (3 * 512 + 1) * 2));
  f.launch(plan_dequantise(f.own.layout, 3), dequantise_arguments{f.matrix, out, 5, 3});
  const auto got = f.download(out, 3 * 512 + 1);
  for (std::size_t i = 0; i < 3 * 512; ++i)
    BOOST_REQUIRE(got[i].bits == to_bf16(f.own.weights[5 * 512 + i]).bits);
  BOOST_TEST(got[3 * 512].bits == 0x1111);
}

BOOST_AUTO_TEST_CASE(dequantising_reads_the_file_s_bytes_and_writes_the_brain_floats_once) {
  for (const auto format : all_formats) {
    weight_fixture f(format, 64, 4096);
    const auto out = f.space<bf16>(64 * 4096);
    f.launch(plan_dequantise(f.own.layout, 64), dequantise_arguments{f.matrix, out, 0, 64});
    BOOST_TEST(f.traffic_over(f.own.bytes.size() + 64 * 4096 * 2) <= 1.05, to_string(format));
  }
}

BOOST_AUTO_TEST_CASE(a_token_s_row_is_exact_and_that_of_another_rank_s_token_is_zero) {
  for (const auto format : all_formats) {
    constexpr std::uint32_t first = 100, tokens_here = 11, width = 768;
    weight_fixture f(format, tokens_here, width);
    const auto awaited = static_cast<std::uint32_t>(troupe::awaited_token(2));
    std::vector<std::uint32_t> tokens = {100, 99, 110, awaited, 105, 0, 0xffffffff};
    const std::vector<std::int32_t> chosen = {100, 105, 111};
    const auto hidden = f.space<float>(tokens.size() * width);
    f.launch(plan_embed(f.own.layout, static_cast<std::uint32_t>(tokens.size())),
             embed_arguments{f.matrix, f.upload(tokens), f.upload(chosen), hidden, first});
    tokens[3] = 111;
    std::size_t rows_bytes = tokens.size() * width * 4;
    for (unsigned part = 0; part < most_weight_parts; ++part)
      rows_bytes += 4 * part_row_bytes(format, part, width); // Of the seven, those that this rank has.
    BOOST_TEST(f.traffic_over(rows_bytes) <= 1.10, to_string(format));
    const auto got = f.download(hidden, tokens.size() * width);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto token = tokens[i / width];
      const bool is_there = token >= first && token - first < tokens_here;
      const float wanted = is_there ? f.own.weights[(token - first) * width + i % width] : 0.0f;
      if (got[i] != wanted)
        BOOST_ERROR(to_string(format) << ": number " << i << " is " << got[i] << " and not " << wanted);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
