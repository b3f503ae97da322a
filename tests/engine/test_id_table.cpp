#include "engine/id_table.hpp"

#include <boost/test/unit_test.hpp>

#include <memory>
#include <random>
#include <unordered_map>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(id_table_suite)

BOOST_AUTO_TEST_CASE(a_random_walk_agrees_with_a_plain_map) {
  for (std::uint64_t id_range : {20u, 300u, 100000u}) {
    std::mt19937_64 random(id_range);
    id_table<std::uint32_t> table;
    std::unordered_map<std::uint64_t, std::uint32_t> plain;
    for (std::uint32_t i = 0; i < 20000; ++i) {
      const auto id = random() % id_range;
      if (random() % 2 == 0)
        BOOST_REQUIRE(table.insert(id, i) == plain.emplace(id, i).second);
      else
        BOOST_REQUIRE(table.erase(id) == (plain.erase(id) == 1));
      const auto asked = random() % id_range;
      const auto* found = table.find(asked);
      const auto right = plain.find(asked);
      BOOST_REQUIRE((found != nullptr) == (right != plain.end()));
      if (found)
        BOOST_REQUIRE(*found == right->second);
      BOOST_REQUIRE(table.size() == plain.size());
    }
    std::size_t visited = 0;
    table.for_each([&](std::uint64_t id, std::uint32_t value) {
      BOOST_TEST(plain.at(id) == value);
      ++visited;
    });
    BOOST_TEST(visited == plain.size());
  }
}

BOOST_AUTO_TEST_CASE(ids_that_all_have_the_same_place_are_still_told_apart) {
  // The inverse of the hash's factor: i * inverse is hashed to i, whose upper bits are all 0.
  std::uint64_t inverse = 1;
  for (int i = 0; i < 6; ++i)
    inverse *= 2 - 0x9E3779B97F4A7C15u * inverse;
  id_table<std::uint64_t> table;
  for (std::uint64_t i = 0; i < 200; ++i)
    BOOST_TEST(table.insert(i * inverse, i));
  for (std::uint64_t i = 0; i < 200; i += 2)
    BOOST_TEST(table.erase(i * inverse));
  for (std::uint64_t i = 0; i < 200; ++i) {
    const auto* found = table.find(i * inverse);
    BOOST_REQUIRE((found != nullptr) == (i % 2 == 1));
    if (found)
      BOOST_TEST(*found == i);
  }
}

BOOST_AUTO_TEST_CASE(what_is_erased_is_destroyed_at_once) {
  id_table<std::shared_ptr<int>> table;
  auto value = std::make_shared<int>(1);
  table.insert(7, value);
  BOOST_TEST(value.use_count() == 2);
  BOOST_TEST(!table.insert(7, nullptr));
  table.erase(7);
  BOOST_TEST(value.use_count() == 1);
  BOOST_TEST(table.empty());
  BOOST_TEST(!table.erase(7));
}

BOOST_AUTO_TEST_SUITE_END()
