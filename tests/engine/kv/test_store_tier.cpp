#include "tests/engine/kv/store_driver.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(kv_store_tier_suite)

namespace {

/// A sequence runs and ends: what is to be saved of it.
std::vector<kv_save> saves_of_run(store_driver& driver, const shared_tokens& tokens, sequence_id id = 1) {
  driver.run(id, tokens);
  driver.release(id);
  return driver.store.take_saves();
}

void all_are_saved(store_driver& driver, const std::vector<kv_save>& saves) {
  for (const auto& save : saves)
    BOOST_TEST(driver.store.saved(save, true).value());
}

void all_are_loaded(store_driver& driver, const std::vector<kv_load>& loads) {
  for (const auto& load : loads)
    BOOST_TEST(driver.store.loaded(load, true).has_value());
}

kv_hit only_hit(store_driver& driver) {
  const auto hits = driver.store.take_hits();
  BOOST_REQUIRE_EQUAL(hits.size(), 1u);
  return hits[0];
}

/// A sequence has run, all its blocks are in the tier, and none is in the KV memory any more.
void move_to_tier(store_driver& driver, const shared_tokens& tokens, std::uint32_t pool) {
  all_are_saved(driver, saves_of_run(driver, tokens, 1000));
  driver.next_blocks(pool);
  driver.store.take_events();
}

} // namespace

BOOST_AUTO_TEST_CASE(released_blocks_are_offered_once_the_head_first) {
  store_driver driver(tier_options(8));
  driver.look_up(1, counted_tokens(48));
  const auto blocks = driver.spend(1, 3)[0];
  driver.fill(1, 48);
  BOOST_TEST(driver.store.take_saves().empty()); // it still runs
  driver.release(1);
  const auto saves = driver.store.take_saves();
  BOOST_REQUIRE_EQUAL(saves.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i)
    BOOST_TEST(saves[i].block == blocks[i]);
  driver.look_up(2, counted_tokens(60)); // hit while they are being saved
  driver.release(2);
  BOOST_TEST(driver.store.take_saves().empty());
  for (const auto& save : saves) {
    BOOST_TEST(driver.store.saved(save, true).value());
    BOOST_TEST(driver.store.tier_contains(save.hash));
  }
  driver.look_up(3, counted_tokens(60));
  driver.release(3);
  BOOST_TEST(driver.store.take_saves().empty()); // the tier has them
}

BOOST_AUTO_TEST_CASE(before_a_stop_all_that_the_tier_lacks_is_offered_what_runs_too_each_head_first) {
  store_driver driver(tier_options(12));
  const auto failed = saves_of_run(driver, counted_tokens(48));
  BOOST_TEST(driver.store.saved(failed[0], true).value());
  for (std::size_t i = 1; i < 3; ++i)
    BOOST_TEST(!driver.store.saved(failed[i], false).value());
  driver.look_up(2, counted_tokens(40, 500));
  const auto running = driver.spend(2, 3)[0];
  driver.fill(2, 40); // two full blocks, and one that is not
  BOOST_TEST(!driver.store.has_saves());
  driver.store.offer_all();
  BOOST_TEST(driver.store.has_saves());
  const auto saves = driver.store.take_saves();
  BOOST_REQUIRE_EQUAL(saves.size(), 4u);
  BOOST_TEST((saves[0].block == running[0] && saves[1].block == running[1]));
  BOOST_TEST((saves[2].hash == failed[1].hash && saves[3].hash == failed[2].hash));
  driver.store.offer_all(); // they are on their way
  BOOST_TEST(driver.store.take_saves().empty());
  driver.release(2);
  for (const auto& save : saves) {
    BOOST_TEST(driver.store.has_saves());
    BOOST_TEST(driver.store.saved(save, true).value());
  }
  BOOST_TEST(!driver.store.has_saves());
  BOOST_CHECK(driver.store.check_integrity());
}

BOOST_AUTO_TEST_CASE(no_more_blocks_are_held_for_saving_than_may_be) {
  auto options = tier_options(8);
  options.tier.max_saving = 2;
  store_driver driver(options);
  const auto first = saves_of_run(driver, counted_tokens(64));
  BOOST_TEST(first.size() == 2u);
  BOOST_TEST(driver.store.take_saves().empty());
  BOOST_TEST(driver.store.saved(first[0], true).value());
  BOOST_TEST(driver.store.take_saves().size() == 1u);
}

BOOST_AUTO_TEST_CASE(what_the_tier_has_got_meanwhile_is_not_saved_again) {
  store_driver driver(tier_options(8));
  driver.run(1, counted_tokens(48));
  driver.release(1);
  const auto stored = driver.store.take_events().events[0];
  BOOST_TEST(driver.store.tier_has(stored.hashes[1]));
  const auto saves = driver.store.take_saves();
  BOOST_REQUIRE_EQUAL(saves.size(), 2u);
  BOOST_CHECK(saves[0].hash == stored.hashes[0] && saves[1].hash == stored.hashes[2]);
}

BOOST_AUTO_TEST_CASE(a_block_that_is_being_saved_is_not_leased_and_unsent_saves_are_given_up) {
  auto options = tier_options(4);
  options.tier.max_saving = 1;
  store_driver driver(options);
  const auto saves = saves_of_run(driver, counted_tokens(64));
  BOOST_REQUIRE_EQUAL(saves.size(), 1u);
  const auto next = driver.next_blocks(4);
  BOOST_TEST(next.size() == 3u);
  for (auto block : next)
    BOOST_TEST(block != saves[0].block);
  BOOST_TEST(driver.store.statistics().tier.saves_given_up == 3u);
  BOOST_TEST(driver.store.saved(saves[0], true).value());
  BOOST_TEST(driver.store.take_saves().empty());
  BOOST_TEST(driver.next_blocks(4).size() == 4u);
}

BOOST_AUTO_TEST_CASE(a_save_that_failed_or_was_overtaken_by_a_reset_is_not_in_the_tier) {
  store_driver driver(tier_options(4));
  const auto saves = saves_of_run(driver, counted_tokens(32));
  BOOST_TEST(!driver.store.saved(saves[0], false).value());
  driver.reset();
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{4, 3, 0, 0, 1})); // the other one is still being read
  BOOST_TEST(!driver.store.saved(saves[1], true).value());
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{4, 4, 0, 0, 0}));
  BOOST_TEST(!driver.store.tier_contains(saves[0].hash));
  BOOST_TEST(!driver.store.tier_contains(saves[1].hash));
  BOOST_CHECK(!driver.store.saved(saves[1], true)); // it has ended already
}

BOOST_AUTO_TEST_CASE(a_prefix_in_the_tier_is_loaded_and_its_hit_comes_when_all_is_there) {
  store_driver driver(tier_options(8));
  move_to_tier(driver, counted_tokens(64), 8);
  kv_report report;
  report.lookups.push_back({1, counted_tokens(50), {}, true});
  BOOST_TEST(driver.right(report).hits.empty());
  const auto loads = driver.store.take_loads();
  BOOST_REQUIRE_EQUAL(loads.size(), 3u);
  BOOST_CHECK(loads[0].sequence == 1 && loads[0].group == 0);
  BOOST_TEST(driver.store.loaded(loads[2], true).has_value());
  BOOST_TEST(driver.store.loaded(loads[0], true).has_value());
  BOOST_TEST(driver.store.take_hits().empty());
  BOOST_TEST(driver.store.loaded(loads[1], true).has_value());
  const auto hit = only_hit(driver);
  BOOST_TEST(hit.tokens == 48u);
  BOOST_TEST(hit.blocks[0] == (std::vector<block_id>{loads[0].block, loads[1].block, loads[2].block}),
             boost::test_tools::per_element());
  BOOST_TEST(driver.store.statistics().tier_hit_tokens == 48u);
  driver.spend(1, 1);
  driver.fill(1, 2);
  BOOST_TEST(driver.look_up(2, counted_tokens(50)).tokens == 48u); // they are in the index now
  const auto events = driver.store.take_events().events;
  BOOST_REQUIRE_EQUAL(events.size(), 2u); // in the order in which they came
  BOOST_CHECK(events[0].hashes[0] == loads[2].hash && events[0].parent == loads[1].hash);
  BOOST_CHECK((events[1].hashes == std::vector{loads[0].hash, loads[1].hash} && !events[1].parent));
  BOOST_TEST(events[1].tokens == *counted_tokens(32), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_failed_load_shortens_the_hit_to_the_part_before_it) {
  store_driver driver(tier_options(8));
  move_to_tier(driver, counted_tokens(64), 8);
  driver.look_up(1, counted_tokens(64));
  const auto loads = driver.store.take_loads();
  BOOST_REQUIRE_EQUAL(loads.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i)
    BOOST_TEST(driver.store.loaded(loads[i], i != 1).has_value());
  const auto hit = only_hit(driver);
  BOOST_TEST(hit.tokens == 16u);
  BOOST_TEST(!driver.store.tier_contains(loads[1].hash));
  BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{8, 6, 1, 0, 1})); // the third is good, though nobody's
  BOOST_CHECK(driver.store.check_integrity());
}

BOOST_AUTO_TEST_CASE(of_a_group_with_a_window_what_was_seen_last_is_saved_and_a_hit_needs_it) {
  auto options = store_options({{8, 0}, {8, 20}});
  options.tier.enabled = true;
  store_driver driver(options);
  driver.run(1, counted_tokens(80));
  driver.drop_front(1, 3, 1); // a row after 80 tokens sees two blocks
  driver.release(1);
  const auto saves = driver.store.take_saves();
  BOOST_REQUIRE_EQUAL(saves.size(), 7u);
  all_are_saved(driver, saves);
  BOOST_TEST((saves[5].group == 1 && saves[6].group == 1));
  BOOST_TEST((saves[5].hash != saves[3].hash)); // the contents of one group are not those of another
  for (const auto& list : driver.right([&] { // all blocks of both groups are somebody else's for a moment
         kv_report want;
         want.purse_targets = {8, 8};
         return want;
       }()).blocks)
    BOOST_TEST(list.size() == 8u);
  driver.reset();
  kv_report report;
  report.lookups.push_back({2, counted_tokens(90), {}, true});
  BOOST_TEST(driver.right(report).hits.empty());
  const auto loads = driver.store.take_loads();
  BOOST_REQUIRE_EQUAL(loads.size(), 7u);
  all_are_loaded(driver, loads);
  const auto hit = only_hit(driver);
  BOOST_TEST(hit.tokens == 80u);
  BOOST_TEST(std::count(hit.blocks[1].begin(), hit.blocks[1].end(), no_block) == 3);
  driver.release(2);
  driver.reset();
  driver.store.tier_lost(saves[5].hash); // of the window: what comes after it cannot be hit
  driver.look_up(3, counted_tokens(90));
  BOOST_TEST(driver.store.take_loads().empty());
}

BOOST_AUTO_TEST_CASE(saves_name_the_block_before_theirs_and_what_was_used_is_told_when_it_is_released) {
  auto options = tier_options(8);
  options.tier.max_uses = 5;
  store_driver driver(options);
  const auto saves = saves_of_run(driver, counted_tokens(48));
  BOOST_REQUIRE_EQUAL(saves.size(), 3u);
  BOOST_TEST(!saves[0].parent);
  BOOST_TEST((saves[1].parent == saves[0].hash && saves[2].parent == saves[1].hash));
  all_are_saved(driver, saves);
  BOOST_TEST(driver.store.take_uses().empty());
  driver.look_up(2, counted_tokens(60));
  driver.release(2);
  BOOST_TEST((driver.store.take_uses() == std::vector{saves[0].hash, saves[1].hash, saves[2].hash}));
  BOOST_TEST(driver.store.take_uses().empty());
  for (sequence_id id : {3, 4}) {
    driver.look_up(id, counted_tokens(60));
    driver.release(id);
  }
  BOOST_TEST(driver.store.take_uses().size() == 5u); // not more than may wait
}

BOOST_AUTO_TEST_CASE(two_sequences_wait_for_one_load) {
  store_driver driver(tier_options(8));
  move_to_tier(driver, counted_tokens(32), 8);
  driver.look_up(1, counted_tokens(40));
  driver.look_up(2, counted_tokens(40));
  const auto loads = driver.store.take_loads();
  BOOST_REQUIRE_EQUAL(loads.size(), 2u);
  driver.release(1); // the other one still wants them
  all_are_loaded(driver, loads);
  const auto hit = only_hit(driver);
  BOOST_TEST(hit.sequence == 2u);
  BOOST_TEST(hit.tokens == 32u);
}

BOOST_AUTO_TEST_CASE(a_load_from_before_a_cache_reset_serves_those_who_waited_and_nobody_else) {
  store_driver driver(tier_options(8));
  move_to_tier(driver, counted_tokens(32), 8);
  driver.look_up(1, counted_tokens(30));
  const auto before = driver.store.take_loads();
  BOOST_REQUIRE_EQUAL(before.size(), 1u);
  driver.store.reset_prefix_cache();
  driver.look_up(2, counted_tokens(30));
  const auto after = driver.store.take_loads();
  BOOST_REQUIRE_EQUAL(after.size(), 1u);
  BOOST_TEST(after[0].block != before[0].block);
  BOOST_TEST(driver.store.loaded(before[0], true).has_value());
  BOOST_TEST(driver.store.statistics().groups[0].blocks_stored == 2u); // those of the first run
  BOOST_TEST(driver.store.loaded(after[0], true).has_value());
  BOOST_TEST(driver.store.statistics().groups[0].blocks_stored == 3u);
  const auto hits = driver.store.take_hits();
  BOOST_REQUIRE_EQUAL(hits.size(), 2u);
  BOOST_CHECK(hits[0].sequence == 1 && hits[0].tokens == 16 && hits[1].sequence == 2 && hits[1].tokens == 16);
}

BOOST_AUTO_TEST_CASE(a_block_is_not_used_again_before_its_load_has_ended) {
  for (bool reset : {false, true}) {
    store_driver driver(tier_options(4));
    move_to_tier(driver, counted_tokens(32), 4);
    driver.look_up(1, counted_tokens(40));
    const auto loads = driver.store.take_loads();
    BOOST_REQUIRE_EQUAL(loads.size(), 2u);
    kv_report report;
    report.reset = reset;
    if (!reset)
      report = driver.operation(kv_operation::kind_type::release, 1, 0, {}, 0);
    driver.right(report);
    BOOST_TEST(driver.next_blocks(4).size() == 2u);
    BOOST_TEST(driver.store.loaded(loads[0], true).has_value());
    BOOST_TEST(driver.store.loaded(loads[1], false).has_value());
    BOOST_TEST(driver.store.take_hits().empty());
    // What was loaded for nobody is cached, unless the memory was lost meanwhile.
    BOOST_CHECK((driver.store.counts()[0] == kv_block_counts{4, reset ? 4u : 3u, reset ? 0u : 1u, 0, 0}));
    BOOST_CHECK(driver.store.check_integrity());
    BOOST_CHECK(!driver.store.loaded(loads[0], true));
  }
}

BOOST_AUTO_TEST_CASE(a_hit_that_nobody_took_goes_with_its_sequence) {
  store_driver driver(tier_options(4));
  move_to_tier(driver, counted_tokens(32), 4);
  driver.look_up(1, counted_tokens(20));
  all_are_loaded(driver, driver.store.take_loads());
  driver.release(1);
  BOOST_TEST(driver.store.take_hits().empty());
}

BOOST_AUTO_TEST_CASE(a_sequence_that_waits_for_loads_may_only_be_released) {
  store_driver driver(tier_options(8));
  move_to_tier(driver, counted_tokens(32), 8);
  driver.look_up(1, counted_tokens(40));
  using kind = kv_operation::kind_type;
  for (auto what : {kind::spend, kind::fill, kind::drop_front, kind::fork}) {
    auto report = driver.operation(what, 1, 0, {}, 0);
    report.operations[0].other = 1;
    BOOST_TEST(driver.refused(report).find("before its lookup had been answered") != std::string::npos);
  }
  kv_report report;
  report.lookups.push_back({1, counted_tokens(40), {}, true});
  BOOST_TEST(driver.refused(report).find("waited for some") != std::string::npos);
  driver.release(1);
}

BOOST_AUTO_TEST_CASE(loads_are_bounded_by_their_limit_and_by_the_blocks_there_are) {
  auto options = tier_options(6);
  options.tier.max_loading = 2;
  store_driver limited(options);
  move_to_tier(limited, counted_tokens(80), 6);
  limited.look_up(1, counted_tokens(80));
  BOOST_TEST(limited.store.take_loads().size() == 2u);
  BOOST_TEST(limited.look_up(2, counted_tokens(80, 1)).tokens == 0u);

  store_driver full(tier_options(6));
  move_to_tier(full, counted_tokens(80), 6);
  full.look_up(2, counted_tokens(20, 500));
  full.spend(2, 4); // two are left
  full.look_up(1, counted_tokens(80));
  BOOST_TEST(full.store.take_loads().size() == 2u);
}

BOOST_AUTO_TEST_CASE(what_is_in_the_kv_memory_is_not_evicted_to_load_what_comes_after_it) {
  store_driver driver(tier_options(3));
  move_to_tier(driver, counted_tokens(48), 3);
  driver.look_up(1, counted_tokens(33));
  all_are_loaded(driver, driver.store.take_loads());
  BOOST_TEST(driver.store.take_hits().size() == 1u);
  driver.release(1);
  driver.look_up(2, counted_tokens(16, 500));
  driver.spend(2, 1); // one of three is somebody's, the first two blocks of the prefix are cached
  const auto hit = driver.look_up(3, counted_tokens(60));
  BOOST_TEST(hit.tokens == 32u);
  BOOST_TEST(driver.store.take_loads().empty());
}

BOOST_AUTO_TEST_CASE(the_tier_keeps_no_more_names_than_it_may) {
  auto options = tier_options(4);
  options.tier.max_hashes = 1;
  store_driver driver(options);
  block_hash one, two;
  one.words[0] = 1;
  two.words[0] = 2;
  BOOST_TEST(driver.store.tier_has(one));
  BOOST_TEST(driver.store.tier_has(one));
  BOOST_TEST(!driver.store.tier_has(two));
  driver.store.tier_lost(one);
  BOOST_TEST(driver.store.tier_has(two));
  driver.store.tier_lost(two);
  BOOST_TEST(!driver.store.tier_contains(two));
}

BOOST_AUTO_TEST_SUITE_END()
