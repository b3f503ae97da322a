#include "engine/kv/events.hpp"

#include <boost/test/unit_test.hpp>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(kv_events_suite)

namespace {

block_hash name_of(std::uint64_t value) {
  block_hash hash;
  hash.words[0] = value;
  return hash;
}

const std::vector<token_id> tokens(tokens_per_block, 3);

} // namespace

BOOST_AUTO_TEST_CASE(a_chain_of_stored_blocks_is_one_event) {
  kv_event_log log(100);
  log.stored(0, name_of(1), std::nullopt, tokens, {{}, 4});
  log.stored(0, name_of(2), name_of(1), tokens, {{}, 4});
  log.stored(1, name_of(2), name_of(1), tokens, {{}, 4}); // another group
  log.stored(1, name_of(8), name_of(7), tokens, {{}, 4}); // another chain
  const auto taken = log.take();
  BOOST_REQUIRE_EQUAL(taken.events.size(), 3u);
  BOOST_CHECK((taken.events[0].hashes == std::vector{name_of(1), name_of(2)}));
  BOOST_TEST(!taken.events[0].parent);
  BOOST_TEST(taken.events[0].tokens.size() == 32u);
  BOOST_TEST(taken.events[0].adapter == 4u);
  BOOST_CHECK(taken.events[1].group == 1 && taken.events[1].parent == name_of(1));
  BOOST_CHECK(taken.events[2].parent == name_of(7));
  BOOST_TEST(log.take().events.empty());
}

BOOST_AUTO_TEST_CASE(the_salt_of_a_chain_is_told_with_its_first_block_alone) {
  kv_event_log log(100);
  log.stored(0, name_of(1), std::nullopt, tokens, {"salt", 0});
  log.stored(0, name_of(2), name_of(1), tokens, {"salt", 0});
  log.stored(0, name_of(4), name_of(3), tokens, {"salt", 0});
  const auto taken = log.take();
  BOOST_REQUIRE_EQUAL(taken.events.size(), 2u);
  BOOST_TEST(taken.events[0].salt == "salt");
  BOOST_TEST(taken.events[1].salt == "");
}

BOOST_AUTO_TEST_CASE(removals_of_one_group_are_one_event_and_the_order_is_kept) {
  kv_event_log log(100);
  log.removed(0, name_of(1));
  log.removed(0, name_of(2));
  log.stored(0, name_of(1), std::nullopt, tokens, {{}, 0});
  log.removed(0, name_of(1));
  log.cleared();
  const auto taken = log.take();
  BOOST_REQUIRE_EQUAL(taken.events.size(), 4u);
  BOOST_TEST(taken.events[0].hashes.size() == 2u);
  BOOST_CHECK(taken.events[2].kind == kv_event::kind_type::block_removed);
  BOOST_CHECK(taken.events[3].kind == kv_event::kind_type::all_cleared);
}

BOOST_AUTO_TEST_CASE(a_log_that_nobody_takes_is_bounded_and_says_how_much_it_lost) {
  kv_event_log log(2);
  for (std::uint64_t i = 0; i < 5; ++i)
    log.removed(0, name_of(i));
  auto taken = log.take();
  BOOST_REQUIRE_EQUAL(taken.events.size(), 1u);
  BOOST_CHECK((taken.events[0].hashes == std::vector{name_of(0), name_of(1)}));
  BOOST_TEST(taken.dropped == 3u);
  log.removed(0, name_of(9));
  taken = log.take();
  BOOST_TEST(taken.events.size() == 1u);
  BOOST_TEST(taken.dropped == 0u);
}

BOOST_AUTO_TEST_CASE(a_log_that_is_off_holds_nothing) {
  kv_event_log log(0);
  log.removed(0, name_of(1));
  const auto taken = log.take();
  BOOST_TEST(taken.events.empty());
  BOOST_TEST(taken.dropped == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
