#include "engine/batch_state.hpp"

#include <boost/test/unit_test.hpp>

using namespace troupe;

namespace {

step_changes first_step() {
  step_changes step;
  step.snapshot = true;
  step.joined = {{1, {0.5f, 42, 0}}, {2, {}}};
  step.appended = {{1, 0, {5}}, {2, 0, {6, 7}}};
  step.rows = {{1, 0, 3, 0, true, {10, 11, 12}}, {2, 0, 20, 0, false, std::vector<token_id>(20, 9)}};
  return step;
}

} // namespace

BOOST_AUTO_TEST_SUITE(batch_state_suite)

BOOST_AUTO_TEST_CASE(rows_are_laid_out_flat_with_their_blocks_and_samples) {
  batch_state state;
  auto rows = state.apply(first_step());
  BOOST_REQUIRE(rows);
  const auto& r = **rows;
  BOOST_TEST(r.tokens.size() == 23u);
  BOOST_TEST(r.spans[1].first_row == 3u);
  BOOST_TEST(r.spans[1].blocks.size() == 2u);
  BOOST_REQUIRE(r.samples.size() == 1u);
  BOOST_TEST(r.samples[0].row == 2u);
  BOOST_TEST(r.samples[0].position == 3u);
  BOOST_TEST(r.samples[0].sampling.seed == 42u);
}

BOOST_AUTO_TEST_CASE(a_decode_row_goes_on_from_the_token_that_the_worker_holds) {
  batch_state state;
  BOOST_REQUIRE(state.apply(first_step()));
  state.sampled(1, 77);
  step_changes next;
  next.rows = {{1, 3, 1, 0, true, {}}};
  auto rows = state.apply(next);
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->tokens == std::vector<token_id>{77}, boost::test_tools::per_element());
  BOOST_TEST((*rows)->samples[0].position == 4u);
}

BOOST_AUTO_TEST_CASE(a_snapshot_forgets_what_was_there) {
  batch_state state;
  BOOST_REQUIRE(state.apply(first_step()));
  BOOST_REQUIRE(state.apply(first_step()));
  BOOST_TEST(state.sequences() == 2u);
}

BOOST_AUTO_TEST_CASE(a_step_that_does_not_fit_the_state_is_refused_with_the_sequence) {
  auto refused = [](auto change) {
    batch_state state;
    BOOST_REQUIRE(state.apply(first_step()));
    step_changes step;
    change(step);
    auto result = state.apply(step);
    BOOST_REQUIRE(!result);
    BOOST_TEST(!result.error().message.empty());
  };
  refused([](step_changes& s) { s.left = {3}; });
  refused([](step_changes& s) { s.joined = {{1, {}}}; });
  refused([](step_changes& s) { s.appended = {{3, 0, {1}}}; });
  refused([](step_changes& s) { s.rows = {{3, 0, 1, 0, true, {1}}}; });
  refused([](step_changes& s) { s.rows = {{1, 3, 1, 0, true, {}}}; }); // no token was sampled
  refused([](step_changes& s) { s.rows = {{1, 3, 14, 0, true, std::vector<token_id>(14, 1)}}; }); // past its blocks
  refused([](step_changes& s) { s.rows = {{1, 3, 0, 0, false, {}}}; });
  refused([](step_changes& s) { s.joined = {{4, {}, 1, 0}}; });
  refused([](step_changes& s) { s.appended = {{1, 1, {1}}}; });
  refused([](step_changes& s) { s.rows = {{1, 3, 2, 1, true, {1, 2}}}; });
}

BOOST_AUTO_TEST_SUITE_END()
