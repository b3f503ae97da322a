// The simulation's own test: bugs that are planted must be found, soon, and again by the same seed.
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "tests/simulation/planted_bugs.hpp"
#include "tests/simulation/world.hpp"

using namespace troupe::simulated;

namespace troupe::simulated {

std::ostream& operator<<(std::ostream& out, const planted_bug& bug) {
  return out << bug.name;
}

} // namespace troupe::simulated

namespace {

constexpr std::uint64_t seeds = 100;

} // namespace

BOOST_DATA_TEST_CASE(a_planted_bug_is_found_within_a_hundred_seeds, boost::unit_test::data::make(planted_bugs()), bug) {
  std::uint64_t seed = 1;
  world_report found;
  for (; seed <= seeds && found.violations.empty(); ++seed)
    found = run_world(plan_world(seed), bug.plant());
  BOOST_REQUIRE_MESSAGE(!found.violations.empty(), bug.name << " was not found by " << seeds << " seeds");
  BOOST_TEST_MESSAGE(bug.name << ": seed " << found.seed << ", " << found.violations.front());

  const auto again = run_world(plan_world(found.seed), bug.plant());
  BOOST_TEST(again.violations == found.violations, boost::test_tools::per_element());
  BOOST_TEST(again.trace == found.trace);
  BOOST_TEST(run_world(found.seed).violations.empty(), "seed " << found.seed << " finds something without the bug");
}
