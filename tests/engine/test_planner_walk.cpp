// Random walks of the planner. `TROUPE_WALK_SEEDS` says how many, `TROUPE_WALK_FIRST` the first seed, and with
// `TROUPE_WALK_TRACE` a walk says what it does.
#include "tests/engine/planner_walk.hpp"

#include <boost/test/unit_test.hpp>

#include "tests/support/number_from.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(planner_walk_suite)

BOOST_AUTO_TEST_CASE(whatever_its_partners_do_everybody_gets_their_tokens_and_every_rule_is_kept) {
  const auto first = number_from("TROUPE_WALK_FIRST", 1);
  const auto count = number_from("TROUPE_WALK_SEEDS", 300);
  std::uint64_t failures = 0, steps = 0, tokens = 0, preemptions = 0, drafts = 0, accepted = 0;
  for (auto seed = first; seed < first + count; ++seed) {
    planner_walk w(seed);
    try {
      w.go();
    } catch (const std::exception& why) {
      ++failures;
      BOOST_ERROR("seed " << seed << ", step " << w.steps() << ": " << why.what());
    }
    const auto counts = w.counts();
    steps += w.steps();
    tokens += w.tokens();
    preemptions += counts.preemptions;
    drafts += counts.drafts_proposed;
    accepted += counts.drafts_accepted;
  }
  BOOST_TEST_MESSAGE(steps << " steps, " << tokens << " tokens, " << preemptions << " preemptions, " << accepted
                           << " of " << drafts << " drafts accepted");
  BOOST_TEST(failures == 0u);
  if (count >= 100) { // The walks go where they are meant to go.
    BOOST_TEST(preemptions > 0u);
    BOOST_TEST(accepted > 0u);
    BOOST_TEST(drafts > accepted);
  }
}

BOOST_AUTO_TEST_SUITE_END()
