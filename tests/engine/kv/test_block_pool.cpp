#include "engine/kv/block_pool.hpp"

#include <boost/test/unit_test.hpp>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(kv_block_pool_suite)

namespace {

block_hash name_of(std::uint64_t value) {
  block_hash hash;
  hash.words[0] = value;
  return hash;
}

void check(const kv_block_pool& pool, const kv_block_counts& counts, std::vector<std::uint32_t> references) {
  BOOST_CHECK(pool.counts() == counts);
  const auto fine = pool.check_integrity(references);
  BOOST_CHECK_MESSAGE(fine, (fine ? "" : fine.error().message));
}

block_id spend_one(kv_block_pool& pool) {
  const auto block = pool.lease().block;
  pool.spend(block);
  return block;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_block_without_a_name_goes_from_blank_to_leased_to_owned_and_back) {
  kv_block_pool pool(2);
  check(pool, {2, 2, 0, 0, 0}, {0, 0});
  const auto block = pool.lease().block;
  check(pool, {2, 1, 0, 1, 0}, {0, 0});
  pool.spend(block);
  check(pool, {2, 1, 0, 0, 1}, {1, 0});
  pool.add_reference(block);
  pool.drop_reference(block);
  check(pool, {2, 1, 0, 0, 1}, {1, 0});
  pool.drop_reference(block);
  check(pool, {2, 2, 0, 0, 0}, {0, 0});
}

BOOST_AUTO_TEST_CASE(a_named_block_stays_cached_and_is_leased_after_all_blank_ones) {
  kv_block_pool pool(3);
  const auto named = spend_one(pool);
  pool.name(named, name_of(9));
  pool.drop_reference(named);
  check(pool, {3, 2, 1, 0, 0}, {0, 0, 0});
  BOOST_TEST(!pool.lease().evicted);
  BOOST_TEST(!pool.lease().evicted);
  const auto last = pool.lease();
  BOOST_TEST(last.block == named);
  BOOST_TEST(last.evicted);
  BOOST_CHECK(pool.hash_of(last.block) == name_of(9));
  BOOST_TEST(pool.lease().block == no_block);
  check(pool, {3, 0, 0, 3, 0}, {0, 0, 0});
}

BOOST_AUTO_TEST_CASE(the_least_recently_released_is_evicted_first_and_a_hit_makes_a_block_recent) {
  kv_block_pool pool(3);
  for (int i = 0; i < 3; ++i)
    pool.name(spend_one(pool), name_of(static_cast<std::uint64_t>(i)));
  for (block_id block : {1u, 0u, 2u})
    pool.drop_reference(block);
  pool.add_reference(1);
  check(pool, {3, 0, 2, 0, 1}, {0, 1, 0});
  pool.drop_reference(1);
  BOOST_TEST(pool.lease().block == 0u);
  BOOST_TEST(pool.lease().block == 2u);
  BOOST_TEST(pool.lease().block == 1u);
}

BOOST_AUTO_TEST_CASE(a_held_block_is_not_leased_before_its_transfer_has_ended) {
  kv_block_pool pool(2);
  const auto saved = spend_one(pool), loaded = spend_one(pool);
  pool.name(saved, name_of(1));
  pool.drop_reference(saved);
  pool.hold(saved);
  pool.hold(loaded);
  pool.drop_reference(loaded);
  check(pool, {2, 0, 1, 0, 1}, {0, 0});
  BOOST_TEST(pool.available() == 0u);
  BOOST_TEST(pool.lease().block == no_block);
  pool.end_hold(loaded);
  check(pool, {2, 1, 1, 0, 0}, {0, 0});
  pool.end_hold(saved);
  check(pool, {2, 1, 1, 0, 0}, {0, 0});
  BOOST_TEST(pool.available() == 2u);
}

BOOST_AUTO_TEST_CASE(a_cached_block_keeps_its_turn_while_it_is_held) {
  kv_block_pool pool(3);
  for (int i = 0; i < 3; ++i)
    pool.name(spend_one(pool), name_of(static_cast<std::uint64_t>(i)));
  for (block_id block : {2u, 1u, 0u})
    pool.drop_reference(block);
  for (block_id block : {0u, 2u, 1u}) {
    pool.hold(block);
    pool.end_hold(block);
  }
  pool.hold(2);
  BOOST_TEST(pool.available() == 2u);
  BOOST_TEST(pool.lease().block == 1u);
  pool.end_hold(2);
  BOOST_TEST(pool.lease().block == 2u);
  BOOST_TEST(pool.lease().block == 0u);
}

BOOST_AUTO_TEST_CASE(without_names_cached_blocks_are_blank_in_their_old_order) {
  kv_block_pool pool(4);
  for (int i = 0; i < 4; ++i)
    pool.name(spend_one(pool), name_of(static_cast<std::uint64_t>(i)));
  for (block_id block : {2u, 0u, 1u})
    pool.drop_reference(block);
  pool.hold(1);
  pool.forget_names();
  check(pool, {4, 2, 0, 0, 2}, {0, 0, 0, 1});
  BOOST_TEST(pool.lease().block == 2u);
  pool.end_hold(1);
  BOOST_TEST(pool.lease().block == 0u);
  BOOST_TEST(pool.lease().block == 1u);
  BOOST_TEST(!pool.has_name(3));
}

BOOST_AUTO_TEST_CASE(after_a_reset_all_is_blank_but_what_is_held) {
  kv_block_pool pool(4);
  pool.lease();
  const auto held = spend_one(pool);
  pool.name(spend_one(pool), name_of(5));
  pool.hold(held);
  pool.reset();
  check(pool, {4, 3, 0, 0, 1}, {0, 0, 0, 0});
  pool.end_hold(held);
  check(pool, {4, 4, 0, 0, 0}, {0, 0, 0, 0});
}

BOOST_AUTO_TEST_CASE(the_check_finds_a_reference_that_no_table_has) {
  kv_block_pool pool(2);
  const auto block = spend_one(pool);
  const auto found = pool.check_integrity(std::vector<std::uint32_t>{0, 0});
  BOOST_REQUIRE(!found);
  BOOST_TEST(found.error().message.find("Block " + std::to_string(block)) != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
