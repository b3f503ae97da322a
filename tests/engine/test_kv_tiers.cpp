// What the tiers in memory and on a disk both promise.
#include <algorithm>

#include "engine/kv/memory_tier.hpp"
#include "tests/engine/kv_tier_support.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

/// Both tiers, with room for so many blocks.
template <class Test>
void for_both(std::uint64_t blocks, Test test) {
  memory_tier in_memory(blocks * tier_block_bytes);
  test(in_memory);
  const temporary_folder folder;
  test(*open_tier(tier_options(folder.path(), blocks)));
}

} // namespace

BOOST_AUTO_TEST_SUITE(kv_tiers)

BOOST_AUTO_TEST_CASE(a_tier_gives_back_what_was_saved_and_misses_what_was_not) {
  for_both(8, [](block_tier& tier) {
    BOOST_TEST(!has(tier, 1));
    BOOST_TEST(save(tier, 1));
    BOOST_TEST(save(tier, 2));
    BOOST_TEST(tier.contains(numbered_hash(1)));
    BOOST_TEST(!tier.contains(numbered_hash(3)));
    BOOST_TEST((has(tier, 1) && has(tier, 2) && !has(tier, 3)));
    const auto counts = tier.counts();
    BOOST_TEST((counts.blocks == 2 && counts.saved == 2 && counts.loaded == 2 && counts.missed == 2));
  });
}

BOOST_AUTO_TEST_CASE(a_block_that_is_saved_twice_is_there_once) {
  for_both(8, [](block_tier& tier) {
    save(tier, 1);
    const auto bytes = tier.counts().bytes;
    BOOST_TEST(save(tier, 1));
    BOOST_TEST((tier.counts().blocks == 1 && tier.counts().saved == 1 && tier.counts().bytes == bytes));
  });
}

BOOST_AUTO_TEST_CASE(the_least_recently_used_block_is_evicted_and_reported) {
  for_both(3, [](block_tier& tier) {
    for (std::uint64_t number : {1, 2, 3})
      save(tier, number);
    BOOST_TEST(has(tier, 1)); // Now 2 is the oldest,
    save(tier, 2);            // and now 3.
    const auto saved = tier.save(numbered_hash(4), numbered_bytes(4));
    BOOST_TEST(saved.saved);
    BOOST_TEST((saved.evicted == numbers({3})));
    BOOST_TEST((tier.list() == numbers({1, 2, 4})));
    BOOST_TEST(!has(tier, 3));
    BOOST_TEST(tier.counts().evicted == 1u);
  });
}

BOOST_AUTO_TEST_CASE(a_tier_never_holds_more_bytes_than_its_capacity) {
  for_both(5, [](block_tier& tier) {
    for (std::uint64_t number = 0; number < 40; ++number) {
      BOOST_TEST(save(tier, number));
      BOOST_TEST(tier.counts().bytes <= tier.counts().capacity);
      BOOST_TEST(tier.counts().blocks == std::min<std::uint64_t>(number + 1, 5));
      BOOST_REQUIRE(tier.check_integrity());
    }
  });
}

BOOST_AUTO_TEST_CASE(of_a_chain_that_is_saved_or_loaded_at_once_the_head_is_evicted_last) {
  for_both(4, [](block_tier& tier) {
    std::vector<tier_block> chain;
    for (std::uint64_t number : {1, 2, 3, 4})
      chain.push_back({numbered_hash(number), numbered_bytes(number)});
    BOOST_TEST((save_all(tier, chain).saved == std::vector<bool>(4, true)));
    BOOST_TEST((tier.list() == numbers({4, 3, 2, 1})));
    const auto loaded = load_all(tier, numbers({3, 9, 4}));
    BOOST_TEST((*loaded[0] == *numbered_bytes(3) && !loaded[1] && *loaded[2] == *numbered_bytes(4)));
    BOOST_TEST((tier.list() == numbers({2, 1, 4, 3})));
  });
}

BOOST_AUTO_TEST_CASE(a_batch_larger_than_the_tier_says_which_of_it_is_there) {
  for_both(2, [](block_tier& tier) {
    std::vector<tier_block> chain;
    for (std::uint64_t number : {1, 2, 3, 4, 5, 4})
      chain.push_back({numbered_hash(number), numbered_bytes(number)});
    const auto result = save_all(tier, chain);
    BOOST_TEST((tier.list() == numbers({2, 1})));
    BOOST_TEST((result.evicted == numbers({5, 4, 3})));
  });
}

BOOST_AUTO_TEST_CASE(a_dropped_block_is_gone) {
  for_both(8, [](block_tier& tier) {
    for (std::uint64_t number : {1, 2, 3})
      save(tier, number);
    tier.drop(numbered_hash(2));
    tier.drop(numbered_hash(99)); // Is nothing.
    BOOST_TEST((tier.list() == numbers({1, 3})));
    BOOST_TEST(!has(tier, 2));
    BOOST_TEST(save(tier, 2));
    BOOST_TEST(has(tier, 2));
  });
}

BOOST_AUTO_TEST_CASE(a_block_larger_than_the_memory_tier_is_not_kept_and_evicts_nothing) {
  memory_tier tier(2 * tier_block_bytes);
  save(tier, 1);
  const auto saved = tier.save(numbered_hash(2), numbered_bytes(2, 2 * tier_block_bytes + 1));
  BOOST_TEST((!saved.saved && saved.evicted.empty() && !saved.problem));
  BOOST_TEST(has(tier, 1));
}

BOOST_AUTO_TEST_SUITE_END()
