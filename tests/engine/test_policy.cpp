#include "engine/policy.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <limits>
#include <set>
#include <vector>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(policy_suite)

namespace {

using kind = scheduling_policy::kind_type;

scheduling_policy policy_of(kind k) {
  scheduling_policy p;
  p.kind = k;
  p.ageing_ms = 1000;
  p.default_ttft_ms = 10000;
  return p;
}

scheduling_parameters with_priority(std::int32_t priority) {
  scheduling_parameters wishes;
  wishes.priority = priority;
  return wishes;
}

scheduling_parameters with_ttft(std::uint32_t ms) {
  scheduling_parameters wishes;
  wishes.ttft_ms = ms;
  return wishes;
}

/// How many of those who come later, one every `every` microseconds with these wishes, are served before one that
/// waits since 0.
std::size_t overtakers(const scheduling_policy& policy, const scheduling_parameters& waiting,
                       const scheduling_parameters& coming, engine_time every) {
  std::size_t result = 0;
  const auto first = urgency_of(policy, waiting, 0, 0);
  for (std::uint64_t i = 1; i <= 10000; ++i)
    result += urgency_of(policy, coming, i * every, i) < first;
  return result;
}

} // namespace

BOOST_AUTO_TEST_CASE(first_come_is_served_first_whatever_it_wishes) {
  const auto p = policy_of(kind::first_come);
  auto urgent = with_priority(-1000);
  urgent.ttft_ms = 1;
  BOOST_CHECK(urgency_of(p, with_priority(1000), 5, 1) < urgency_of(p, urgent, 5, 2));
  BOOST_CHECK(urgency_of(p, with_priority(1000), 5, 1) < urgency_of(p, urgent, 0, 2)); // clocks do not matter
}

BOOST_AUTO_TEST_CASE(a_lower_priority_number_goes_first_and_equals_by_arrival) {
  const auto p = policy_of(kind::priority);
  BOOST_CHECK(urgency_of(p, with_priority(-1), 100, 2) < urgency_of(p, with_priority(0), 100, 1));
  BOOST_CHECK(urgency_of(p, with_priority(0), 100, 1) < urgency_of(p, with_priority(0), 100, 2));
  BOOST_CHECK(urgency_of(p, with_priority(0), 100, 9) < urgency_of(p, with_priority(0), 101, 10));
  auto urgent = with_priority(0);
  urgent.ttft_ms = 1; // another policy's wish
  BOOST_CHECK(urgency_of(p, urgent, 100, 1) == urgency_of(p, with_priority(0), 100, 1));
}

BOOST_AUTO_TEST_CASE(waiting_for_the_ageing_time_is_worth_one_level_of_priority) {
  const auto p = policy_of(kind::priority);
  const auto waiting = urgency_of(p, with_priority(3), 0, 1);
  BOOST_CHECK(urgency_of(p, with_priority(2), 999'999, 2) < waiting);
  BOOST_CHECK(waiting < urgency_of(p, with_priority(2), 1'000'000, 2)); // equal: who came first
  BOOST_CHECK(urgency_of(p, with_priority(-997), 999'999'999, 3) < waiting);
  BOOST_CHECK(waiting < urgency_of(p, with_priority(-997), 1'000'000'000, 3));
}

BOOST_AUTO_TEST_CASE(nobody_is_overtaken_without_end_under_any_policy) {
  BOOST_TEST(overtakers(policy_of(kind::first_come), with_priority(1000), with_priority(-1000), 1000) == 0u);
  // Two thousand levels of a second, one newcomer a second.
  BOOST_TEST(overtakers(policy_of(kind::priority), with_priority(1000), with_priority(-1000), 1'000'000) == 1999u);
  // Ten seconds without a target against 1 ms, one newcomer each 5 ms.
  BOOST_TEST(overtakers(policy_of(kind::deadline), with_ttft(0), with_ttft(1), 5000) == 1999u);
}

BOOST_AUTO_TEST_CASE(the_earliest_first_token_is_due_first) {
  const auto p = policy_of(kind::deadline);
  BOOST_CHECK(urgency_of(p, with_ttft(100), 50'000, 2) < urgency_of(p, with_ttft(200), 0, 1));
  BOOST_CHECK(urgency_of(p, with_ttft(100), 100'001, 2) > urgency_of(p, with_ttft(200), 0, 1));
  BOOST_TEST(urgency_of(p, with_ttft(0), 7, 2).due == urgency_of(p, with_ttft(10000), 7, 1).due);
  BOOST_CHECK(urgency_of(p, with_priority(-1000), 7, 2) > urgency_of(p, with_priority(0), 7, 1));
}

BOOST_AUTO_TEST_CASE(the_order_of_those_who_wait_never_changes_and_no_two_are_equal) {
  auto p = policy_of(kind::priority);
  std::set<urgency> all;
  for (std::uint64_t i = 0; i < 1000; ++i)
    all.insert(urgency_of(p, with_priority(static_cast<std::int32_t>(i % 7) - 3), i / 100 * 500'000, i));
  BOOST_TEST(all.size() == 1000u);
}

BOOST_AUTO_TEST_CASE(extreme_wishes_and_times_keep_their_order) {
  auto p = policy_of(kind::priority);
  p.ageing_ms = std::numeric_limits<std::uint32_t>::max();
  const auto late = std::numeric_limits<engine_time>::max();
  const auto lowest = with_priority(std::numeric_limits<std::int32_t>::min());
  const auto highest = with_priority(std::numeric_limits<std::int32_t>::max());
  BOOST_CHECK(urgency_of(p, lowest, late, 2) < urgency_of(p, highest, 0, 1));
  BOOST_CHECK(urgency_of(p, lowest, late, 1) < urgency_of(p, lowest, late, 2));
  p.ageing_ms = 0; // Waiting is worth everything: first come first served.
  BOOST_CHECK(urgency_of(p, with_priority(5), 1, 1) < urgency_of(p, with_priority(-5), 1, 2));
  p.kind = kind::deadline;
  BOOST_CHECK(urgency_of(p, with_ttft(0xffffffffu), 0, 1) < urgency_of(p, with_ttft(1), late, 2));
}

BOOST_AUTO_TEST_SUITE_END()
