// Whole worlds from seeds. TROUPE_SIMULATION_SEEDS says how many, TROUPE_SIMULATION_SEED which is the first; alone, it
// is the only one.
#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <map>
#include <string>

#include "tests/simulation/world.hpp"
#include "tests/support/number_from.hpp"

using namespace troupe::simulated;
using troupe::test::number_from;

namespace {

void expect_kept_promises(const world_report& report) {
  for (const auto& violation : report.violations)
    BOOST_ERROR("seed " << report.seed << ", " << violation);
}

/// What many worlds have seen. Most of it must have happened, or the promises were never tried.
struct sums {
  std::map<std::string, std::uint64_t> all;

  void add(const world_report& report) {
    const auto& f = report.figures;
    for (const auto& [name, count] : std::initializer_list<std::pair<const char*, std::uint64_t>>{
           {"jobs", report.jobs}, {"requests", report.requests}, {"endings", report.endings},
           {"tokens", report.tokens}, {"steps", f.steps}, {"preemptions", f.preemptions},
           {"workers that died", report.worker_deaths}, {"resets", f.resets}, {"removals", f.removals},
           {"forks", f.forks}, {"tokens hit", f.hit_tokens}, {"late hits", f.late_hits},
           {"tokens hit in a tier", f.tier_hit_tokens}, {"blocks saved", report.tier.saved},
           {"blocks loaded", report.tier.loaded}, {"blocks that a tier lost", report.tier.missing},
           {"damaged blocks", report.tier.damaged}, {"tiers that stopped saving", report.tier.stopped},
           {"drains", report.drained}, {"ids used again", report.ids_used_again},
           {"requests that ran out of tokens", report.ran_out}, {"embeddings", report.embedded},
           {"real workers", report.real_workers}, {"steps that ran ahead", report.steps_ahead},
           {"drafts proposed", f.drafts_proposed}, {"drafts accepted", f.drafts_accepted}})
      all[name] += count;
  }

  std::string text() const {
    std::string result;
    for (const auto& [name, count] : all)
      result += (result.empty() ? "" : ", ") + std::to_string(count) + " " + name;
    return result;
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(every_world_keeps_every_promise) {
  const auto first = number_from("TROUPE_SIMULATION_SEED", 1);
  const auto count = number_from("TROUPE_SIMULATION_SEEDS", std::getenv("TROUPE_SIMULATION_SEED") ? 1 : 1000);
  sums sum;
  std::size_t failed = 0;
  for (auto seed = first; seed < first + count && failed < 5; ++seed) {
    const auto report = run_world(seed);
    expect_kept_promises(report);
    failed += !report.violations.empty();
    sum.add(report);
  }
  BOOST_TEST_MESSAGE(count << " worlds: " << sum.text());
  BOOST_TEST(failed == 0u);
  for (const auto& [name, sum_of_it] : sum.all)
    if (count >= 1000)
      BOOST_TEST(sum_of_it > 0, "there were no " << name << ": that part was never tried");
}

BOOST_AUTO_TEST_CASE(some_drafts_are_right_and_some_are_not) {
  std::uint64_t proposed = 0, accepted = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const auto report = run_world(seed);
    proposed += report.figures.drafts_proposed;
    accepted += report.figures.drafts_accepted;
  }
  BOOST_TEST_MESSAGE(proposed << " drafts were proposed, " << accepted << " accepted");
  BOOST_TEST(proposed > 1000u);
  BOOST_TEST(accepted > proposed / 4);
  BOOST_TEST(proposed - accepted > proposed / 4);
}

BOOST_AUTO_TEST_CASE(prefixes_in_a_tier_survive_a_restart) {
  std::uint64_t before = 0, after = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const auto plan = plan_world(seed);
    if (!plan.tier || plan.tier->cannot_open)
      continue;
    tier_contents contents;
    for (auto* sum : {&before, &after}) {
      const auto report = run_world(plan, {}, &contents);
      expect_kept_promises(report);
      *sum += report.figures.tier_hit_tokens;
    }
  }
  BOOST_TEST_MESSAGE(before << " tokens were hit in tiers before a restart, " << after << " after it");
  BOOST_TEST(after > 2 * before);
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
