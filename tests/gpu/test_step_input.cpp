#include <boost/test/unit_test.hpp>

#include "gpu/backend/step_input.hpp"

using namespace troupe;
using namespace troupe::gpu;

namespace {

using words = std::vector<std::uint32_t>;

words part(const step_input& input, std::uint32_t offset, std::uint32_t count) {
  return {input.words.begin() + offset, input.words.begin() + offset + count};
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_step_input)

BOOST_AUTO_TEST_CASE(rows_of_prompts_become_tiles_and_single_rows_runs) {
  const std::vector<block_id> first{7, 3, 9, 1}, second{4}, third{5, 6}, fourth{8, 2};
  const std::vector<batch_span> spans{
    {0, 1, 15, second}, {1, 1, 20, third}, {2, 40, 17, first}, {42, 1, 16, fourth}, {43, 2, 30, fourth}};
  const std::vector<token_id> tokens(45, 11);
  const words wanted_rows{0, 41}, hidden{44};
  forward_batch batch{tokens, spans, wanted_rows};
  batch.hidden_rows = hidden;
  step_input input;
  input.lay_out(batch, {.tile_rows = 32});

  BOOST_TEST(input.rows == 45u);
  BOOST_TEST((part(input, input.tokens, 45) == words(45, 11)));
  BOOST_TEST((part(input, input.positions, 4) == words{15, 20, 17, 18}));
  BOOST_TEST((part(input, input.positions + 41, 4) == words{56, 16, 30, 31}));
  BOOST_TEST((part(input, input.blocks, 3) == words{4, 6, 3}));
  BOOST_TEST((part(input, input.blocks + 41, 4) == words{1, 2, 2, 2}));
  BOOST_TEST((part(input, input.kept, input.kept_rows) == words{0, 41, 44}));

  BOOST_TEST(input.tiles % 4 == 0u);
  BOOST_TEST((part(input, input.tiles, 4 * input.tile_count) == words{2, 32, 17, 0, 34, 8, 49, 0, 43, 2, 30, 4}));
  BOOST_TEST((part(input, input.tables, 6) == words{7, 3, 9, 1, 8, 2}));

  BOOST_REQUIRE(input.runs.size() == 2u);
  const auto& run = input.runs.front();
  BOOST_TEST(run.first_row == 0u);
  BOOST_TEST(run.longest == 21u);
  BOOST_TEST((part(input, run.lengths, 2) == words{16, 21}));
  BOOST_TEST(run.stride == 2u);
  BOOST_TEST((part(input, run.tables, 4) == words{4, 0, 5, 6}));
  const auto& last = input.runs.back();
  BOOST_TEST(last.first_row == 42u);
  BOOST_TEST((part(input, last.tables, last.rows * last.stride) == words{8, 2}));
}

BOOST_AUTO_TEST_CASE(each_row_can_be_alone) {
  const std::vector<block_id> first{7, 3}, second{4};
  const std::vector<batch_span> spans{{0, 3, 15, first}, {3, 1, 2, second}};
  const std::vector<token_id> tokens(4, 11);
  step_input input;
  input.lay_out({tokens, spans, {}}, {.every_row_alone = true});
  BOOST_TEST(input.tile_count == 0u);
  BOOST_REQUIRE(input.runs.size() == 1u);
  const auto& run = input.runs.front();
  BOOST_TEST(run.rows == 4u);
  BOOST_TEST((part(input, run.lengths, 4) == words{16, 17, 18, 3}));
  BOOST_TEST((part(input, run.tables, 8) == words{7, 0, 7, 3, 7, 3, 4, 0}));
}

BOOST_AUTO_TEST_CASE(a_layout_forgets_the_one_before) {
  const std::vector<block_id> blocks{0};
  const std::vector<token_id> tokens{1};
  const std::vector<batch_span> spans{{0, 1, 0, blocks}};
  step_input input;
  input.lay_out({tokens, spans, {}});
  const auto before = input.words;
  input.lay_out({tokens, spans, {}});
  BOOST_TEST((input.words == before));
  BOOST_TEST(input.runs.size() == 1u);
  BOOST_TEST(input.tile_count == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
