#include "tests/engine/kv/store_driver.hpp"

#include <algorithm>

using namespace troupe;
using kind = kv_operation::kind_type;

BOOST_AUTO_TEST_SUITE(kv_store_suite)

namespace {

bool says(const std::string& sentence, const std::string& part) { return sentence.find(part) != std::string::npos; }

} // namespace

BOOST_AUTO_TEST_CASE(a_second_sequence_hits_the_full_blocks_and_computes_one_token_at_least) {
  store_driver driver(store_options({{16, 0}}));
  BOOST_TEST(driver.run(1, counted_tokens(40)).tokens == 0u);
  driver.release(1);
  BOOST_TEST(driver.look_up(2, counted_tokens(40)).tokens == 32u);
  BOOST_TEST(driver.look_up(3, counted_tokens(33)).tokens == 32u);
  BOOST_TEST(driver.look_up(4, counted_tokens(32)).tokens == 16u); // the last block's last row must be computed
  BOOST_TEST(driver.look_up(5, counted_tokens(16)).tokens == 0u);
  auto other = *counted_tokens(40);
  other[20] = 999;
  BOOST_TEST(driver.look_up(6, std::make_shared<const std::vector<token_id>>(other)).tokens == 16u);
}

BOOST_AUTO_TEST_CASE(blocks_of_a_neighbour_that_still_runs_are_hit_and_shared) {
  store_driver driver(store_options({{8, 0}}));
  driver.look_up(1, counted_tokens(40));
  const auto blocks = driver.spend(1, 3)[0];
  driver.fill(1, 20);
  const auto hit = driver.look_up(2, counted_tokens(40));
  BOOST_TEST(hit.tokens == 16u); // only one block is computed so far
  BOOST_TEST(hit.blocks[0] == std::vector<block_id>{blocks[0]}, boost::test_tools::per_element());
  driver.release(1);
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{8, 7, 0, 0, 1}));
  driver.release(2);
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{8, 7, 1, 0, 0}));
}

BOOST_AUTO_TEST_CASE(salt_adapter_and_fingerprint_keep_prefixes_apart) {
  auto options = store_options({{32, 0}});
  store_driver driver(options);
  driver.run(1, counted_tokens(40), {"a", 1});
  BOOST_TEST(driver.look_up(2, counted_tokens(40), {"a", 1}).tokens == 32u);
  BOOST_TEST(driver.look_up(3, counted_tokens(40), {"b", 1}).tokens == 0u);
  BOOST_TEST(driver.look_up(4, counted_tokens(40), {"a", 2}).tokens == 0u);
  BOOST_TEST(driver.look_up(5, counted_tokens(40)).tokens == 0u);
  options.fingerprint = "other";
  store_driver elsewhere(options);
  elsewhere.run(1, counted_tokens(40), {"a", 1});
  BOOST_CHECK(elsewhere.store.take_events().events[0].hashes != driver.store.take_events().events[0].hashes);
}

BOOST_AUTO_TEST_CASE(generated_tokens_are_hit_as_prompts_are) {
  store_driver driver(store_options({{8, 0}}));
  driver.look_up(1, counted_tokens(20));
  driver.spend(1, 3);
  driver.fill(1, 20);
  driver.fill(1, 7, {20, 21, 22, 23, 24, 25, 26});
  driver.fill(1, 5, {27, 28, 29, 30, 31});
  BOOST_TEST(driver.look_up(2, counted_tokens(50)).tokens == 32u);
}

BOOST_AUTO_TEST_CASE(a_lookup_that_may_not_hit_opens_an_account_and_is_no_query) {
  store_driver driver(store_options({{8, 0}}));
  driver.run(1, counted_tokens(40));
  const auto hit = driver.look_up(2, counted_tokens(40), {}, false);
  BOOST_TEST(hit.sequence == 2u);
  BOOST_TEST(hit.tokens == 0u);
  BOOST_TEST(driver.store.statistics().queries == 1u);
  driver.spend(2, 3);
  driver.fill(2, 40); // it computes the same blocks and keeps its own
  driver.release(2);
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{8, 5, 0, 0, 3}));
  BOOST_TEST(driver.store.statistics().groups[0].blocks_stored == 2u);
}

BOOST_AUTO_TEST_CASE(without_prefix_caching_nothing_is_ever_cached) {
  auto options = store_options({{8, 0}});
  options.prefix_caching = false;
  store_driver driver(options);
  driver.run(1, counted_tokens(40));
  BOOST_TEST(driver.look_up(2, counted_tokens(40)).tokens == 0u);
  driver.release(1);
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{8, 8, 0, 0, 0}));
  BOOST_TEST(driver.store.take_events().events.empty());
}

BOOST_AUTO_TEST_CASE(blank_blocks_go_first_then_a_released_sequences_tail_before_its_head) {
  store_driver driver(store_options({{6, 0}}));
  driver.look_up(1, counted_tokens(64));
  const auto first = driver.spend(1, 4)[0];
  driver.fill(1, 64);
  driver.release(1);
  const auto next = driver.next_blocks(6);
  BOOST_TEST(next[0] == 4u);
  BOOST_TEST(next[1] == 5u);
  BOOST_CHECK(std::vector<block_id>(next.begin() + 2, next.end()) ==
              std::vector<block_id>(first.rbegin(), first.rend()));
  BOOST_TEST(driver.store.statistics().groups[0].evictions == 4u);
  BOOST_TEST(driver.look_up(2, counted_tokens(64)).tokens == 0u);
}

BOOST_AUTO_TEST_CASE(when_its_tail_has_been_evicted_a_sequences_head_is_still_hit) {
  store_driver driver(store_options({{4, 0}}));
  driver.run(1, counted_tokens(64));
  driver.release(1);
  driver.look_up(2, counted_tokens(20, 500));
  driver.spend(2, 2);
  BOOST_TEST(driver.look_up(3, counted_tokens(64)).tokens == 32u);
}

BOOST_AUTO_TEST_CASE(a_purse_is_topped_up_as_far_as_blocks_are_there_and_the_rest_is_told) {
  store_driver driver(store_options({{4, 0}, {6, 32}}));
  kv_report report;
  report.purse_targets = {3, 2};
  auto grant = driver.right(report);
  BOOST_TEST(grant.blocks[0].size() == 3u);
  BOOST_TEST(grant.available == (std::vector<std::uint32_t>{1, 4}), boost::test_tools::per_element());
  report.purse_targets = {8, 2};
  grant = driver.right(report);
  BOOST_TEST(grant.blocks[0].size() == 1u);
  BOOST_TEST(grant.blocks[1].empty());
  BOOST_TEST(grant.available == (std::vector<std::uint32_t>{0, 4}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_fork_shares_full_blocks_and_goes_its_own_way) {
  store_driver driver(store_options({{8, 0}}));
  driver.run(1, counted_tokens(40));
  driver.fork(2, 1, 2);
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{8, 5, 0, 0, 3}));
  driver.spend(2, 1);
  driver.fill(2, 16, {32, 33, 34, 35, 36, 37, 38, 39, 900, 901, 902, 903, 904, 905, 906, 907});
  driver.release(1);
  driver.release(2);
  std::vector<token_id> tokens(*counted_tokens(40));
  for (token_id token = 900; token < 920; ++token)
    tokens.push_back(token);
  BOOST_TEST(driver.look_up(3, std::make_shared<const std::vector<token_id>>(tokens)).tokens == 48u);
}

BOOST_AUTO_TEST_CASE(a_fork_that_was_looked_up_knows_its_prompt) {
  store_driver driver(store_options({{8, 0}}));
  driver.look_up(2, counted_tokens(40));
  driver.run(1, counted_tokens(40));
  driver.fork(2, 1, 2);
  driver.spend(2, 1);
  driver.fill(2, 8); // the prompt's rest needs no tokens in the report
  driver.fill(2, 8, {40, 41, 42, 43, 44, 45, 46, 47});
  BOOST_TEST(driver.look_up(3, counted_tokens(60)).tokens == 48u);
}

BOOST_AUTO_TEST_CASE(a_window_needs_only_the_blocks_that_the_next_rows_see) {
  store_driver driver(store_options({{16, 0}, {16, 20}}));
  driver.look_up(1, counted_tokens(100));
  const auto blocks = driver.spend(1, 7);
  driver.fill(1, 100);
  driver.drop_front(1, 5, 1); // row 100 sees 81 and later
  BOOST_CHECK((driver.store.counts()[1] == kv_block_counts{16, 9, 5, 0, 2}));
  const auto hit = driver.look_up(2, counted_tokens(100)); // row 96 sees 77 and later
  BOOST_TEST(hit.tokens == 96u);
  BOOST_TEST(hit.blocks[0].size() == 6u);
  BOOST_TEST(hit.blocks[1] ==
               (std::vector<block_id>{no_block, no_block, no_block, no_block, blocks[1][4], blocks[1][5]}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_hit_ends_where_the_window_still_has_what_it_needs) {
  store_driver driver(store_options({{16, 0}, {7, 20}}));
  driver.look_up(1, counted_tokens(112));
  driver.spend(1, 7);
  driver.fill(1, 112);
  driver.drop_front(1, 5, 1);
  driver.release(1);
  // The window's group is evicted in the order 0 1 2 3 4 6 5: two blocks of another leave 2 to 6.
  driver.look_up(2, counted_tokens(20, 500));
  driver.spend(2, 2);
  BOOST_TEST(driver.look_up(3, counted_tokens(100)).tokens == 96u); // sees blocks 4 and 5
  BOOST_TEST(driver.look_up(4, counted_tokens(40)).tokens == 0u);   // 32 would see 0 and 1
  BOOST_TEST(driver.look_up(5, counted_tokens(65)).tokens == 64u);  // sees 2 and 3
}

BOOST_AUTO_TEST_CASE(a_model_of_windows_alone_hits_a_prefix_whose_start_is_gone) {
  store_driver driver(store_options({{5, 20}}));
  driver.look_up(1, counted_tokens(80));
  driver.spend(1, 5);
  driver.fill(1, 80);
  driver.drop_front(1, 3, 0);
  driver.look_up(2, counted_tokens(20, 500));
  driver.spend(2, 3); // evicts blocks 0 to 2
  BOOST_TEST(driver.look_up(3, counted_tokens(90)).tokens == 80u);
}

BOOST_AUTO_TEST_CASE(a_reset_frees_everything_and_raises_the_generation) {
  store_driver driver(store_options({{8, 0}}));
  driver.run(1, counted_tokens(40));
  driver.store.take_events();
  kv_report report;
  report.reset = true;
  report.generation = 1;
  report.purse_targets = {2};
  const auto grant = driver.store.apply(report);
  BOOST_REQUIRE(grant);
  BOOST_TEST(grant->generation == 1u);
  BOOST_TEST(driver.store.generation() == 1u);
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{8, 6, 0, 2, 0}));
  BOOST_TEST(driver.store.sequences() == 0u);
  const auto events = driver.store.take_events().events;
  BOOST_REQUIRE_EQUAL(events.size(), 1u);
  BOOST_CHECK(events[0].kind == kv_event::kind_type::all_cleared);
  BOOST_TEST(says(driver.refused({}), "generation 0"));
  report.reset = false;
  report.lookups.push_back({1, counted_tokens(40), {}, true});
  BOOST_TEST(driver.right(report).hits[0].tokens == 0u);
}

BOOST_AUTO_TEST_CASE(after_a_cache_reset_nothing_from_before_is_hit_though_its_sequence_still_runs) {
  store_driver driver(store_options({{16, 0}}));
  driver.run(1, counted_tokens(40));
  driver.release(1);
  driver.run(2, counted_tokens(40));
  driver.spend(2, 1);
  driver.store.reset_prefix_cache();
  BOOST_CHECK(driver.store.check_integrity());
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{16, 12, 0, 0, 4}));
  driver.fill(2, 8, {40, 41, 42, 43, 44, 45, 46, 47}); // its third block is full now, and gets no name
  BOOST_TEST(driver.run(3, counted_tokens(48)).tokens == 0u);
  BOOST_TEST(driver.look_up(4, counted_tokens(60)).tokens == 48u); // what 3 has computed
  driver.release(2);
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{16, 13, 0, 0, 3}));
}

BOOST_AUTO_TEST_CASE(statistics_count_queries_hits_stored_blocks_and_evictions_by_group) {
  store_driver driver(store_options({{4, 0}, {4, 16}}));
  driver.run(1, counted_tokens(40));
  driver.look_up(2, counted_tokens(40));
  const auto statistics = driver.store.statistics();
  BOOST_TEST(statistics.queries == 2u);
  BOOST_TEST(statistics.query_tokens == 80u);
  BOOST_TEST(statistics.hit_tokens == 32u);
  BOOST_REQUIRE_EQUAL(statistics.groups.size(), 2u);
  BOOST_TEST(statistics.groups[1].blocks_stored == 2u);
  BOOST_TEST(statistics.groups[0].evictions == 0u);
}

BOOST_AUTO_TEST_CASE(events_tell_chains_with_tokens_and_what_was_evicted) {
  store_driver driver(store_options({{3, 0}}));
  driver.run(1, counted_tokens(48), {"", 7});
  driver.release(1);
  driver.next_blocks(2);
  const auto events = driver.store.take_events().events;
  BOOST_REQUIRE_EQUAL(events.size(), 2u);
  BOOST_TEST(events[0].hashes.size() == 3u);
  BOOST_TEST(!events[0].parent);
  BOOST_TEST(events[0].tokens == *counted_tokens(48), boost::test_tools::per_element());
  BOOST_TEST(events[0].adapter == 7u);
  BOOST_CHECK(events[1].kind == kv_event::kind_type::block_removed);
  BOOST_CHECK((events[1].hashes == std::vector{events[0].hashes[2], events[0].hashes[1]}));
}

BOOST_AUTO_TEST_CASE(blocks_that_were_not_granted_are_refused) {
  store_driver driver(store_options({{8, 0}}));
  driver.look_up(1, counted_tokens(40));
  const auto blocks = driver.spend(1, 1)[0];
  for (block_id wrong : {block_id{5}, blocks[0], block_id{8}, no_block}) {
    BOOST_TEST(says(driver.refused(driver.operation(kind::spend, 1, 1, {wrong}, 0)), "had not been granted"));
    BOOST_TEST(says(driver.refused(driver.operation(kind::take_back, 1, 1, {wrong}, 0)), "had not been granted"));
  }
  for (auto what : {kind::spend, kind::take_back})
    BOOST_TEST(says(driver.refused(driver.operation(what, 1, 2, {blocks[0]}, 0)), "more blocks than its report"));
  BOOST_TEST(says(driver.refused(driver.operation(kind::spend, 1, 0, {}, 1)), "group 1"));
}

BOOST_AUTO_TEST_CASE(what_comes_without_a_lookup_is_refused_but_a_release) {
  store_driver driver(store_options({{8, 0}}));
  BOOST_TEST(says(driver.refused(driver.operation(kind::spend, 1, 0, {}, 0)), "without a lookup"));
  BOOST_TEST(says(driver.refused(driver.operation(kind::fill, 1, 1, {}, 0)), "without a lookup"));
  BOOST_TEST(says(driver.refused(driver.operation(kind::drop_front, 1, 1, {}, 0)), "without a lookup"));
  driver.release(1);
  driver.look_up(2, counted_tokens(20));
  driver.release(2);
  BOOST_TEST(says(driver.refused(driver.operation(kind::fill, 2, 1, {}, 0)), "without a lookup"));
}

BOOST_AUTO_TEST_CASE(a_fill_beyond_the_table_or_without_its_tokens_is_refused) {
  store_driver driver(store_options({{8, 0}, {8, 32}}));
  driver.look_up(1, counted_tokens(20));
  driver.spend(1, 2);
  BOOST_TEST(says(driver.refused(driver.operation(kind::fill, 1, 33, {}, 0)), "has 2 blocks"));
  BOOST_TEST(says(driver.refused(driver.operation(kind::fill, 1, 0xffffffffu, {}, 0)), "has 2 blocks"));
  BOOST_TEST(says(driver.refused(driver.operation(kind::fill, 1, 21, {}, 0)), "needs 1 tokens"));
  driver.fill(1, 20);
}

BOOST_AUTO_TEST_CASE(dropping_what_rows_still_see_is_refused) {
  store_driver driver(store_options({{8, 0}, {8, 17}}));
  driver.look_up(1, counted_tokens(64));
  driver.spend(1, 4);
  driver.fill(1, 64);
  BOOST_TEST(says(driver.refused(driver.operation(kind::drop_front, 1, 1, {}, 0)), "still see"));
  BOOST_TEST(says(driver.refused(driver.operation(kind::drop_front, 1, 4, {}, 1)), "still see"));
  driver.drop_front(1, 3, 1); // row 64 sees 48 to 64
  driver.drop_front(1, 2, 1); // had gone before
  BOOST_CHECK((driver.store.counts()[1] == kv_block_counts{8, 4, 3, 0, 1}));
}

BOOST_AUTO_TEST_CASE(a_wrong_fork_is_refused) {
  store_driver driver(store_options({{16, 0}, {16, 16}}));
  auto fork = [&](sequence_id child, sequence_id parent, std::uint32_t count) {
    auto report = driver.operation(kind::fork, child, count, {}, 0);
    report.operations[0].other = parent;
    report.operations.push_back(report.operations[0]);
    report.operations[1].group = 1;
    return report;
  };
  driver.run(1, counted_tokens(72));
  BOOST_TEST(says(driver.refused(fork(9, 8, 1)), "has no blocks"));
  BOOST_TEST(says(driver.refused(fork(2, 1, 5)), "has not computed all"));
  BOOST_TEST(says(driver.refused(fork(1, 1, 1)), "has not computed all"));
  driver.look_up(3, counted_tokens(72, 1));
  BOOST_TEST(says(driver.refused(fork(3, 1, 2)), "other tokens"));
  driver.look_up(4, counted_tokens(72), {"salt", 0});
  BOOST_TEST(says(driver.refused(fork(4, 1, 2)), "other tokens"));
  driver.look_up(5, counted_tokens(20));
  BOOST_TEST(says(driver.refused(fork(5, 1, 2)), "other blocks"));
  driver.drop_front(1, 3, 1);
  BOOST_TEST(says(driver.refused(fork(6, 1, 2)), "left the window"));
}

BOOST_AUTO_TEST_CASE(a_wrong_lookup_is_refused) {
  store_driver driver(store_options({{8, 0}}));
  kv_report report;
  report.lookups.push_back({1, nullptr, {}, true});
  BOOST_TEST(says(driver.refused(report), "has no tokens"));
  report.lookups[0].tokens = counted_tokens(0);
  BOOST_TEST(says(driver.refused(report), "has no tokens"));
  report.lookups[0].tokens = counted_tokens(20);
  driver.right(report);
  driver.right(report); // it had no blocks: once more
  driver.spend(1, 1);
  BOOST_TEST(says(driver.refused(report), "while it had blocks"));
  report.lookups.clear();
  report.purse_targets = {1, 1};
  BOOST_TEST(says(driver.refused(report), "2 purses"));
}

BOOST_AUTO_TEST_CASE(when_a_block_is_evicted_its_copy_in_a_running_sequence_gets_its_name) {
  store_driver driver(store_options({{6, 0}}));
  driver.look_up(1, counted_tokens(32), {}, false);
  driver.look_up(2, counted_tokens(32), {}, false);
  const auto first = driver.spend(1, 2)[0], second = driver.spend(2, 2)[0];
  driver.fill(1, 32);
  driver.fill(2, 32); // the same, in other blocks
  driver.release(1);
  driver.store.take_events();
  BOOST_TEST(driver.next_blocks(4).size() == 4u); // those of the first are evicted, two were blank
  BOOST_TEST(driver.store.take_events().events.empty()); // it can be hit as before
  const auto hit = driver.look_up(3, counted_tokens(40));
  BOOST_TEST(hit.tokens == 32u);
  BOOST_TEST((hit.blocks[0] == second));
  driver.release(2);
  driver.release(3);
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{6, 4, 2, 0, 0}));
  BOOST_TEST(first != second);
}

BOOST_AUTO_TEST_CASE(a_copy_that_was_released_gets_no_name) {
  store_driver driver(store_options({{4, 0}}));
  driver.look_up(1, counted_tokens(32), {}, false);
  driver.look_up(2, counted_tokens(32), {}, false);
  driver.spend(1, 2);
  driver.spend(2, 2);
  driver.fill(1, 32);
  driver.fill(2, 32);
  driver.release(2);
  driver.release(1);
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{4, 2, 2, 0, 0}));
  driver.next_blocks(4);
  BOOST_TEST(driver.look_up(3, counted_tokens(40)).tokens == 0u);
}

BOOST_AUTO_TEST_CASE(wrong_options_are_refused_by_name) {
  auto refusal = [](const kv_store_options& options) {
    auto made = kv_store::make(options);
    return made ? std::string() : made.error().message;
  };
  BOOST_TEST(says(refusal(store_options({})), "groups"));
  BOOST_TEST(says(refusal(store_options({{0, 0}})), "groups"));
  auto options = tier_options(8);
  BOOST_TEST(refusal(options).empty());
  options.groups.assign(9, {1u << 27, 0});
  BOOST_TEST(says(refusal(options), "tier"));
  options = tier_options(8);
  options.prefix_caching = false;
  BOOST_TEST(says(refusal(options), "tier"));
  options = tier_options(8);
  options.tier.max_saving = 0;
  BOOST_TEST(says(refusal(options), "max_saving"));
}

BOOST_AUTO_TEST_SUITE_END()
