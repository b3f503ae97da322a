#include <boost/test/unit_test.hpp>

#include "gpu/backend/decode_batch.hpp"

using namespace troupe;
using namespace troupe::gpu;

BOOST_AUTO_TEST_SUITE(gpu_decode_batch)

BOOST_AUTO_TEST_CASE(rungs_add_no_more_rows_than_there_are_blocks_for) {
  std::uint32_t rungs = 0, last = 0;
  for (std::uint32_t rows = 1; rows <= 512; ++rows) {
    const auto rung = rows_rung(rows, 512);
    BOOST_TEST(rung >= rows);
    BOOST_TEST(rung - rows < most_padding);
    BOOST_TEST(rung >= last);
    rungs += rung != last;
    last = rung;
  }
  BOOST_TEST(rungs == 4 + 7 + 28u);
  BOOST_TEST(rows_rung(33, 35) == 35u);
  BOOST_TEST(longest_rung(1, 8192) == 256u);
  BOOST_TEST(longest_rung(257, 8192) == 512u);
  BOOST_TEST(longest_rung(700, 800) == 800u);
}

BOOST_AUTO_TEST_CASE(only_steps_of_single_rows_whose_logits_are_wanted_have_a_shape) {
  const std::vector<block_id> blocks(40);
  const std::vector<token_id> tokens{5, 6, 7};
  const std::vector<std::uint32_t> all{0, 1, 2}, some{0, 2};
  const std::vector<batch_span> single{{0, 1, 9, blocks}, {1, 1, 300, blocks}, {2, 1, 0, blocks}},
    together{{0, 2, 9, blocks}, {2, 1, 0, blocks}};
  decode_batch decodes(64, 600, {70});
  BOOST_TEST((decodes.shape_of({tokens, single, all}) == decode_shape{4, 512}));
  BOOST_TEST(!decodes.shape_of({tokens, single, some}).has_value());
  BOOST_TEST(!decodes.shape_of({tokens, together, some}).has_value());
}

BOOST_AUTO_TEST_CASE(added_rows_are_a_sequence_of_their_own) {
  const std::vector<block_id> blocks(40), scratch{70};
  const std::vector<token_id> tokens{5, 6, 7, 8, 9};
  const std::vector<std::uint32_t> all{0, 1, 2, 3, 4};
  std::vector<batch_span> spans;
  for (std::uint32_t row = 0; row < 5; ++row)
    spans.push_back({row, 1, 20 + row, blocks});
  decode_batch decodes(64, 600, scratch);
  const auto& padded = decodes.pad({tokens, spans, all}, {8, 256});
  BOOST_TEST(padded.tokens.size() == 8u);
  BOOST_TEST(padded.logit_rows.size() == 8u);
  for (std::uint32_t row = 5; row < 8; ++row) {
    BOOST_TEST(padded.spans[row].first_row == row);
    BOOST_TEST(padded.spans[row].first_position == row - 5);
    BOOST_TEST(padded.spans[row].blocks.front() == 70u);
  }
  BOOST_TEST(padded.spans[4].first_position == 24u);
}

BOOST_AUTO_TEST_SUITE_END()
