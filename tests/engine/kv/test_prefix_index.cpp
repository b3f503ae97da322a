#include "engine/kv/prefix_index.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <random>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(prefix_index_suite)

namespace {

block_hash hash_of(std::uint64_t first, std::uint64_t second = 0) {
  block_hash hash;
  hash.words = {first, second, 0, 0};
  return hash;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_first_block_of_a_name_stays) {
  prefix_index index(4);
  BOOST_TEST(index.insert(hash_of(1), 3));
  BOOST_TEST(!index.insert(hash_of(1), 2));
  BOOST_TEST(index.find(hash_of(1)) == 3u);
  BOOST_TEST(index.find(hash_of(2)) == no_block);
  BOOST_TEST(index.size() == 1u);
}

BOOST_AUTO_TEST_CASE(names_that_differ_in_their_last_word_alone_are_different) {
  prefix_index index(4);
  auto one = hash_of(5), other = one;
  other.words[3] = 1;
  BOOST_TEST(index.insert(one, 0));
  BOOST_TEST(index.find(other) == no_block);
  BOOST_TEST(index.insert(other, 1));
  BOOST_TEST(index.find(one) == 0u);
  BOOST_TEST(index.find(other) == 1u);
}

BOOST_AUTO_TEST_CASE(a_full_index_finds_all_and_what_is_not_there_too) {
  prefix_index index(16);
  for (block_id block = 0; block < 16; ++block)
    BOOST_TEST(index.insert(hash_of(31, block), block)); // all have one home, the table's last slot
  for (block_id block = 0; block < 16; ++block)
    BOOST_TEST(index.find(hash_of(31, block)) == block);
  BOOST_TEST(index.find(hash_of(31, 16)) == no_block);
  index.clear();
  BOOST_TEST(index.size() == 0u);
  BOOST_TEST(index.find(hash_of(31, 3)) == no_block);
}

BOOST_AUTO_TEST_CASE(inserting_and_erasing_in_any_order_agrees_with_a_map) {
  std::mt19937 random(11);
  prefix_index index(12);
  std::map<block_hash, block_id> model;
  for (int i = 0; i < 20000; ++i) {
    const auto hash = hash_of(random() % 6 + 28, random() % 4); // homes collide, and wrap around the end
    if (random() % 2 == 0) {
      if (model.size() < 12 || model.contains(hash))
        BOOST_REQUIRE_EQUAL(index.insert(hash, i), model.emplace(hash, i).second);
    } else {
      BOOST_REQUIRE_EQUAL(index.erase(hash), model.erase(hash) == 1);
    }
    BOOST_REQUIRE_EQUAL(index.size(), model.size());
    for (const auto& [name, block] : model)
      BOOST_REQUIRE_EQUAL(index.find(name), block);
    BOOST_REQUIRE_EQUAL(index.find(hash) == no_block, !model.contains(hash));
  }
}

BOOST_AUTO_TEST_SUITE_END()
