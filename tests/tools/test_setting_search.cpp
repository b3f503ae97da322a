#include "tools/troupe/bench/setting_search.hpp"

#include <boost/test/unit_test.hpp>

#include <functional>
#include <random>
#include <set>

using namespace troupe::cli;

BOOST_AUTO_TEST_SUITE(setting_search_suite)

namespace {

const std::vector<searched_option> options{
  {"a", {"1", "2", "4", "8", "16"}}, {"b", {"x", "y", "z"}}, {"c", {"0", "1", "2", "3"}}};

/// Searches a landscape; returns how often it was measured.
std::size_t climb(setting_search& search, const std::function<measurement(const setting&)>& landscape) {
  std::size_t measured = 0;
  for (; const auto where = search.next(); ++measured)
    search.tell(landscape(*where));
  return measured;
}

/// One hill, with its top at {3, 2, 1}.
measurement hill(const setting& where) {
  const auto away = [](std::size_t at, std::size_t top) { return at > top ? at - top : top - at; };
  return {100.0 - 10.0 * static_cast<double>(away(where[0], 3) + away(where[1], 2) + away(where[2], 1)), 0.5};
}

} // namespace

BOOST_AUTO_TEST_CASE(it_finds_the_top_of_a_hill_through_noise_and_measures_no_setting_twice_over) {
  std::mt19937 random(1);
  std::normal_distribution<double> noise(1, 0.01);
  for (int round = 0; round < 20; ++round) {
    setting_search search(options, {0, 0, 3}, {3, 60, 0.02});
    climb(search, [&](const setting& where) {
      auto seen = hill(where);
      seen.throughput *= noise(random);
      return seen;
    });
    BOOST_TEST((search.best() == setting{3, 2, 1}));
    const std::set<setting> different(search.tried().begin(), search.tried().end());
    BOOST_TEST(different.size() == search.tried().size());
    for (const auto& each : search.tried())
      BOOST_TEST(search.runs_of(each).size() <= 3u);
    BOOST_TEST(search.confirmed(search.best()).size() == 3u);
    BOOST_TEST(search.confirmed(search.start()).size() == 3u);
  }
}

BOOST_AUTO_TEST_CASE(a_setting_beyond_the_bounds_loses_however_fast_it_is) {
  setting_search search({{"a", {"1", "2", "4", "8"}}}, {0}, {1, 10, 0.02});
  climb(search, [](const setting& where) {
    return measurement{10.0 * static_cast<double>(where[0] + 1), where[0] >= 2 ? 1.1 : 0.9};
  });
  BOOST_TEST((search.best() == setting{1}));
}

BOOST_AUTO_TEST_CASE(from_beyond_the_bounds_it_goes_to_where_they_are_exceeded_less) {
  setting_search search({{"a", {"1", "2", "4", "8"}}}, {3}, {1, 10, 0.02});
  climb(search, [](const setting& where) { return measurement{1, 0.5 + static_cast<double>(where[0])}; });
  BOOST_TEST((search.best() == setting{0}));
}

BOOST_AUTO_TEST_CASE(what_is_far_behind_is_measured_once_and_what_is_within_the_noise_does_not_win) {
  setting_search search({{"a", {"slow", "start", "same"}}}, {1}, {3, 10, 0.02});
  const auto measured = climb(search, [](const setting& where) {
    return measurement{where[0] == 0 ? 50 : 100.0 + static_cast<double>(where[0] == 2), 0};
  });
  BOOST_TEST((search.best() == setting{1}));
  BOOST_TEST(search.runs_of({0}).size() == 1u);
  BOOST_TEST(measured == 7u);
  BOOST_TEST(!search.confirming());
  BOOST_TEST(search.confirmed({1}).empty());
}

BOOST_AUTO_TEST_CASE(what_was_found_by_luck_alone_does_not_stay) {
  for (const bool is_luck : {true, false}) {
    setting_search search({{"a", {"1", "2"}}}, {0}, {2, 10, 0.02});
    climb(search, [&](const setting& where) {
      const bool slow = where[0] == 0 || (search.confirming() && is_luck);
      return measurement{slow ? 100.0 : 110.0, 0};
    });
    BOOST_TEST((search.found() == setting{1}));
    BOOST_TEST((search.best() == setting{is_luck ? 0u : 1u}));
    BOOST_TEST(search.confirmed(search.found()).size() == 2u);
    BOOST_TEST(search.confirmed(search.start()).size() == 2u);
  }
}

BOOST_AUTO_TEST_CASE(the_best_keeps_the_bounds_where_it_does_so_again) {
  setting_search search({{"a", {"1", "2"}}}, {0}, {1, 10, 0.02});
  climb(search, [&](const setting& where) {
    return measurement{100.0 + 50.0 * static_cast<double>(where[0]),
                       search.confirming() ? 1.2 - 0.1 * static_cast<double>(where[0]) : 0.9};
  });
  BOOST_TEST((search.best() == setting{1}));
  BOOST_TEST(!search.score_of_best().within_bounds());
}

BOOST_AUTO_TEST_CASE(it_tries_no_more_settings_than_it_may) {
  setting_search search(options, {0, 0, 3}, {1, 4, 0.02});
  climb(search, hill);
  BOOST_TEST(search.tried().size() == 4u);
}

BOOST_AUTO_TEST_CASE(a_setting_is_options_for_the_command_line) {
  const setting_search search(options, {4, 1, 0}, {});
  BOOST_TEST(search.arguments_of({4, 1, 0}) == (std::vector<std::string>{"--a", "16", "--b", "y", "--c", "0"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
