#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/sampling/selection.hpp"
#include "tests/model/sampling/random_rows.hpp"

using namespace troupe;
using namespace troupe::tests;
using sampling::cut;
using sampling::ranked;

BOOST_AUTO_TEST_SUITE(selection_suite)

namespace {

cut by_sorting(std::vector<ranked> items, std::uint64_t target) {
  std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.value > b.value; });
  std::size_t i = 0;
  for (std::uint64_t sum = items[0].weight; sum < target; sum += items[i].weight)
    ++i;
  return {items[i].value, items[i].id};
}

std::vector<ranked> items_of(const std::vector<float>& values, random_rows& random, std::uint64_t largest_weight) {
  std::vector<ranked> out;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] >= std::numeric_limits<float>::lowest())
      out.push_back({values[i] + 0.0f, static_cast<token_id>(i), 1 + random.below(largest_weight)});
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_shortest_prefix_is_where_sorting_finds_it) {
  random_rows random(1);
  for (int round = 0; round < 2000; ++round) {
    auto items = items_of(random.row(1 + random.below(700)), random, random.one_in(2) ? 1 : std::uint64_t{1} << 40);
    std::uint64_t total = 0;
    for (const auto& item : items)
      total += item.weight;
    const auto target = 1 + random.below(total);
    const auto wanted = by_sorting(items, target);
    BOOST_TEST((sampling::shortest_prefix(items, target) == wanted));
  }
}

BOOST_AUTO_TEST_CASE(values_from_the_smallest_to_the_largest_float_are_told_apart) {
  std::vector<ranked> items;
  for (int exponent = -149; exponent < 128; ++exponent)
    for (const float sign : {1.0f, -1.0f})
      items.push_back({sign * std::ldexp(1.0f, exponent), static_cast<token_id>(items.size()), 1});
  for (std::uint64_t target = 1; target <= items.size(); target += 7) {
    auto copy = items;
    BOOST_TEST((sampling::shortest_prefix(copy, target) == by_sorting(items, target)));
  }
}

BOOST_AUTO_TEST_CASE(at_least_k_values_reach_what_about_k_reach) {
  random_rows random(2);
  std::vector<ranked> room;
  for (int round = 0; round < 2000; ++round) {
    const auto values = random.row(1 + random.below(1500));
    const auto largest = *std::max_element(values.begin(), values.end());
    const auto finite = static_cast<std::size_t>(
      std::count_if(values.begin(), values.end(), [](float v) { return v >= std::numeric_limits<float>::lowest(); }));
    const auto k = 1 + random.below(200);
    const auto edge = sampling::about_kth_largest(values, k, largest, room);
    const auto reach =
      static_cast<std::size_t>(std::count_if(values.begin(), values.end(), [&](float v) { return v >= edge; }));
    BOOST_TEST(reach >= std::min(k, finite));
    BOOST_TEST(sampling::kth_largest(values, k, room) >= edge);
  }
}

BOOST_AUTO_TEST_SUITE_END()
