// Whole worlds from seeds. TROUPE_SIMULATION_SEEDS says how many, TROUPE_SIMULATION_SEED names a single one.
#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <iostream>

#include "tests/simulation/world.hpp"

using namespace troupe::simulated;

namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

void expect_kept_promises(const world_report& report) {
  for (const auto& violation : report.violations)
    BOOST_ERROR("seed " << report.seed << ", " << violation);
}

} // namespace

BOOST_AUTO_TEST_CASE(every_world_keeps_every_promise) {
  const auto first = number_from("TROUPE_SIMULATION_SEED", 1);
  const auto count = std::getenv("TROUPE_SIMULATION_SEED") ? 1 : number_from("TROUPE_SIMULATION_SEEDS", 1000);
  world_report sum;
  std::size_t failed = 0;
  for (auto seed = first; seed < first + count && failed < 5; ++seed) {
    const auto report = run_world(seed);
    expect_kept_promises(report);
    failed += !report.violations.empty();
    sum.jobs += report.jobs;
    sum.requests += report.requests;
    sum.endings += report.endings;
    sum.tokens += report.tokens;
    sum.worker_deaths += report.worker_deaths;
    sum.figures.steps += report.figures.steps;
    sum.figures.resets += report.figures.resets;
    sum.figures.preemptions += report.figures.preemptions;
    sum.figures.removals += report.figures.removals;
  }
  BOOST_TEST_MESSAGE(count << " worlds: " << sum.jobs << " jobs, " << sum.requests << " requests, " << sum.endings
                           << " endings, " << sum.tokens << " tokens, " << sum.figures.steps << " steps, "
                           << sum.figures.preemptions << " preemptions, " << sum.worker_deaths << " workers died, "
                           << sum.figures.resets << " resets, " << sum.figures.removals << " removals");
}

BOOST_AUTO_TEST_CASE(a_seed_replays_exactly) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const auto once = run_world(seed), again = run_world(seed);
    BOOST_TEST(once.trace == again.trace, "seed " << seed);
    BOOST_TEST(once.jobs == again.jobs, "seed " << seed);
  }
}

BOOST_AUTO_TEST_CASE(another_seed_is_another_world) {
  BOOST_TEST(run_world(1).trace != run_world(2).trace);
}
