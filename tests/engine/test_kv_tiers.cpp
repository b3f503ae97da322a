// What the tiers in memory and on a disk both promise.
#include <algorithm>

#include "engine/kv/layered_tier.hpp"
#include "engine/kv/memory_tier.hpp"
#include "tests/engine/kv_tier_support.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(kv_tiers)

namespace {

/// Both tiers, with room for so many blocks.
template <class Test>
void for_both(std::uint64_t blocks, Test test) {
  memory_tier in_memory(blocks * tier_block_bytes);
  test(in_memory);
  const temporary_folder folder;
  test(*open_tier(tier_options(folder.path(), blocks)));
}

std::vector<tier_block> chain(std::initializer_list<std::uint64_t> which) {
  std::vector<tier_block> result;
  for (auto number : which) {
    result.push_back({numbered_hash(number), numbered_bytes(number)});
    if (result.size() > 1)
      result.back().parent = result[result.size() - 2].hash;
  }
  return result;
}

} // namespace

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
    const auto saved = tier.save({numbered_hash(4), numbered_bytes(4)});
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
    BOOST_TEST((save_all(tier, chain({1, 2, 3, 4})).saved == std::vector<bool>(4, true)));
    BOOST_TEST((tier.list() == numbers({4, 3, 2, 1})));
    const auto loaded = load_all(tier, numbers({3, 9, 4}));
    BOOST_TEST((*loaded[0] == *numbered_bytes(3) && !loaded[1] && *loaded[2] == *numbered_bytes(4)));
    BOOST_TEST((tier.list() == numbers({2, 1, 4, 3})));
  });
}

BOOST_AUTO_TEST_CASE(a_chain_longer_than_the_tier_keeps_its_head_and_says_which_of_it_is_there) {
  for_both(2, [](block_tier& tier) {
    const auto result = save_all(tier, chain({1, 2, 3, 4}));
    BOOST_TEST((result.saved == std::vector<bool>{true, true, false, true})); // The last one's parent is not there.
    BOOST_TEST((tier.list() == numbers({1, 4})));
    BOOST_TEST((result.evicted == numbers({2})));
  });
}

BOOST_AUTO_TEST_CASE(a_chain_that_is_saved_in_several_batches_is_evicted_from_its_tail) {
  for_both(6, [](block_tier& tier) {
    const auto whole = chain({1, 2, 3, 4, 5, 6});
    for (std::size_t i = 0; i < 6; i += 2)
      save_all(tier, std::span(whole).subspan(i, 2));
    BOOST_TEST((tier.list() == numbers({6, 5, 4, 3, 2, 1})));
    std::vector<block_hash> gone;
    for (std::uint64_t number : {11, 12, 13})
      std::ranges::copy(tier.save({numbered_hash(number), numbered_bytes(number)}).evicted, std::back_inserter(gone));
    BOOST_TEST((gone == numbers({6, 5, 4})));
  });
}

BOOST_AUTO_TEST_CASE(what_was_used_elsewhere_is_evicted_later_and_its_tail_goes_first) {
  for_both(6, [](block_tier& tier) {
    save_all(tier, chain({1, 2, 3}));
    save_all(tier, chain({7, 8, 9}));
    use_all(tier, numbers({1, 2, 3, 99}));
    BOOST_TEST((tier.list() == numbers({9, 8, 7, 3, 2, 1})));
    save_all(tier, {{tier_block{numbered_hash(4), numbered_bytes(4), numbered_hash(3)}}}); // The chain goes on.
    BOOST_TEST((tier.list() == numbers({8, 7, 4, 3, 2, 1})));
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
  const auto saved = tier.save({numbered_hash(2), numbered_bytes(2, 2 * tier_block_bytes + 1)});
  BOOST_TEST((!saved.saved && saved.evicted.empty() && !saved.problem));
  BOOST_TEST(has(tier, 1));
}

BOOST_AUTO_TEST_CASE(memory_in_front_of_a_disk_is_asked_first_and_gets_what_was_found_behind_it) {
  const temporary_folder folder;
  layered_tier tier(2 * tier_block_bytes, open_tier(tier_options(folder.path(), 4)));
  const auto counts_of = [&](std::size_t layer) { return tier.layers()[layer]; };
  for (std::uint64_t number : {1, 2, 3})
    BOOST_TEST(save(tier, number));
  BOOST_TEST((counts_of(0).name == "host" && counts_of(1).name == "disk"));
  BOOST_TEST((counts_of(0).blocks == 2 && counts_of(1).blocks == 3));
  BOOST_TEST((tier.list() == numbers({1, 2, 3})));
  BOOST_TEST((has(tier, 3) && has(tier, 2)));
  BOOST_TEST((counts_of(0).loaded == 2 && counts_of(1).loaded == 0));
  BOOST_TEST((has(tier, 1) && has(tier, 1))); // From the disk, and then from memory.
  BOOST_TEST((counts_of(0).loaded == 3 && counts_of(0).missed == 1 && counts_of(1).loaded == 1));
  BOOST_TEST(!has(tier, 9));
  BOOST_TEST(tier.check_integrity().has_value());
  const auto all = tier.counts();
  BOOST_TEST((all.blocks == 5 && all.saved == 7 && all.capacity == counts_of(0).capacity + counts_of(1).capacity));
}

BOOST_AUTO_TEST_CASE(of_two_layers_a_block_is_evicted_when_it_is_in_neither) {
  const temporary_folder folder;
  layered_tier tier(2 * tier_block_bytes, open_tier(tier_options(folder.path(), 3)));
  for (std::uint64_t number : {1, 2, 3})
    BOOST_TEST(tier.save({numbered_hash(number), numbered_bytes(number)}).evicted.empty());
  BOOST_TEST((tier.save({numbered_hash(4), numbered_bytes(4)}).evicted == numbers({1})));
  tier.use(numbered_hash(2));
  BOOST_TEST((tier.save({numbered_hash(5), numbered_bytes(5)}).evicted == numbers({3})));
  tier.drop(numbered_hash(5));
  BOOST_TEST((!tier.contains(numbered_hash(5)) && !has(tier, 5) && has(tier, 2) && has(tier, 4)));
}

BOOST_AUTO_TEST_CASE(when_the_disk_takes_no_more_memory_goes_on) {
  const temporary_folder folder;
  auto options = tier_options(folder.path(), 4);
  layered_tier tier(2 * tier_block_bytes, open_tier(options));
  BOOST_TEST(save(tier, 1));
  const file_size_limit full(tier_file_bytes / 2);
  const auto saved = tier.save({numbered_hash(2), numbered_bytes(2)});
  BOOST_TEST((saved.saved && saved.problem));
  BOOST_TEST((has(tier, 1) && has(tier, 2)));
  BOOST_TEST((tier.layers()[0].accepts && !tier.layers()[1].accepts && !tier.counts().accepts));
}

BOOST_AUTO_TEST_SUITE_END()
