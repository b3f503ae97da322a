#include "engine/block_pool.hpp"

#include <boost/test/unit_test.hpp>

#include <random>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(block_pool_suite)

BOOST_AUTO_TEST_CASE(a_block_goes_from_free_to_leased_to_owned_and_back) {
  block_pool pool(8);
  auto blocks = pool.lease(3);
  BOOST_TEST(blocks.size() == 3u);
  BOOST_CHECK((pool.counts() == block_counts{8, 5, 3, 0}));
  BOOST_REQUIRE(pool.assign(7, blocks));
  BOOST_CHECK((pool.counts() == block_counts{8, 5, 0, 3}));
  pool.release(7);
  BOOST_CHECK((pool.counts() == block_counts{8, 8, 0, 0}));
  BOOST_CHECK(pool.check_integrity());
}

BOOST_AUTO_TEST_CASE(a_block_that_was_not_leased_cannot_be_assigned_and_nothing_changes) {
  block_pool pool(4);
  auto blocks = pool.lease(1);
  BOOST_REQUIRE(pool.assign(1, blocks));
  for (block_id wrong : {block_id{3}, blocks[0], block_id{4}, block_id{0xffffffff}}) {
    auto result = pool.assign(2, std::vector<block_id>{wrong});
    BOOST_REQUIRE(!result);
    BOOST_TEST(result.error().message.find(std::to_string(wrong)) != std::string::npos);
  }
  BOOST_CHECK((pool.counts() == block_counts{4, 3, 0, 1}));
}

BOOST_AUTO_TEST_CASE(the_tail_of_a_sequence_is_reused_before_its_head) {
  block_pool pool(3);
  auto blocks = pool.lease(3);
  BOOST_REQUIRE(pool.assign(1, blocks));
  pool.release(1);
  auto again = pool.lease(3);
  BOOST_TEST(again == std::vector<block_id>(blocks.rbegin(), blocks.rend()), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_lease_of_more_than_is_free_gives_what_is_there) {
  block_pool pool(2);
  BOOST_TEST(pool.lease(5).size() == 2u);
  BOOST_TEST(pool.lease(1).empty());
}

BOOST_AUTO_TEST_CASE(a_report_frees_first_then_assigns_then_tops_up_the_purse) {
  block_pool pool(4);
  auto first = apply_report(pool, {{}, {}, 2});
  BOOST_REQUIRE(first);
  BOOST_TEST(first->blocks.size() == 2u);
  BOOST_TEST(!first->short_of_blocks);
  auto second = apply_report(pool, {{{1, 0, first->blocks}}, {}, 4});
  BOOST_REQUIRE(second);
  BOOST_TEST(second->blocks.size() == 2u);
  BOOST_TEST(second->short_of_blocks);
  auto third = apply_report(pool, {{{1, 0, second->blocks}}, {1}, 2}); // its old blocks go, its new ones stay
  BOOST_REQUIRE(third);
  BOOST_TEST(third->blocks.size() == 2u);
  BOOST_TEST(pool.counts().owned == 2u);
  BOOST_CHECK(pool.check_integrity());
}

BOOST_AUTO_TEST_CASE(a_random_walk_keeps_every_block_in_exactly_one_place) {
  std::mt19937 rng(11);
  block_pool pool(64);
  std::vector<block_id> purse;
  for (int i = 0; i < 20000; ++i) {
    switch (rng() % 3) {
    case 0: {
      auto more = pool.lease(rng() % 8);
      purse.insert(purse.end(), more.begin(), more.end());
      break;
    }
    case 1: {
      auto count = purse.empty() ? 0 : rng() % (purse.size() + 1);
      std::vector<block_id> spent(purse.end() - static_cast<std::ptrdiff_t>(count), purse.end());
      purse.resize(purse.size() - count);
      BOOST_REQUIRE(pool.assign(rng() % 10, spent));
      break;
    }
    default:
      pool.release(rng() % 10);
    }
    BOOST_REQUIRE(pool.check_integrity());
    BOOST_REQUIRE(pool.counts().leased == purse.size());
  }
}

BOOST_AUTO_TEST_SUITE_END()
