#include "engine/shared_credit.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(shared_credit_suite)

namespace {

/// Sequences that generate a token whenever they have credit for one.
struct runners {
  shared_credit credit;
  std::vector<std::uint64_t> granted; ///< What the scheduler was told, less what it has used.
  std::vector<bool> ended;
  std::uint64_t generated = 0;

  runners(std::uint32_t choices, std::uint32_t first) : credit(choices, first), ended(choices, false) {
    for (std::uint32_t c = 0; c < choices; ++c)
      granted.push_back(credit.unused_by(c));
  }
  void take(const std::vector<credit_share>& shares) {
    for (const auto& s : shares) {
      BOOST_REQUIRE(!ended[s.choice]);
      BOOST_REQUIRE(s.tokens > 0u);
      granted[s.choice] += s.tokens;
    }
  }
  void add(std::uint32_t tokens) {
    std::vector<credit_share> shares;
    credit.add(tokens, shares);
    take(shares);
  }
  void end(std::uint32_t choice) {
    ended[choice] = true;
    granted[choice] = 0;
    std::vector<credit_share> shares;
    credit.end(choice, shares);
    take(shares);
  }
  bool run(std::uint32_t choice) {
    if (ended[choice] || granted[choice] == 0)
      return false;
    --granted[choice];
    ++generated;
    credit.use(choice);
    return true;
  }
};

using shares = std::vector<credit_share>;

} // namespace

BOOST_AUTO_TEST_CASE(the_credit_that_a_request_comes_with_is_split_evenly_and_the_lowest_choices_get_the_rest) {
  shared_credit credit(4, 10);
  BOOST_TEST(credit.unused_by(0) == 3u);
  BOOST_TEST(credit.unused_by(1) == 3u);
  BOOST_TEST(credit.unused_by(2) == 2u);
  BOOST_TEST(credit.unused_by(3) == 2u);
}

BOOST_AUTO_TEST_CASE(a_single_answer_gets_all_credit) {
  runners r(1, 5);
  BOOST_TEST(r.granted[0] == 5u);
  r.add(7);
  BOOST_TEST(r.granted[0] == 12u);
}

BOOST_AUTO_TEST_CASE(new_credit_goes_to_whoever_has_been_given_the_least) {
  runners r(3, 4); // 2, 1, 1
  std::vector<credit_share> given;
  r.credit.add(1, given);
  BOOST_CHECK((given == shares{{1, 1}}));
  given.clear();
  r.credit.add(3, given); // 2, 2, 1: to 3, 3, 2
  BOOST_CHECK((given == shares{{0, 1}, {1, 1}, {2, 1}}));
}

BOOST_AUTO_TEST_CASE(credit_of_one_token_after_the_other_goes_round) {
  runners r(3, 0);
  for (int i = 0; i < 12; ++i) {
    r.add(1);
    BOOST_TEST(r.run(static_cast<std::uint32_t>(i % 3)));
  }
}

BOOST_AUTO_TEST_CASE(what_an_ended_answer_has_not_used_goes_to_the_others) {
  runners r(2, 10);
  r.run(0);
  r.end(0);
  BOOST_TEST(r.granted[1] == 9u);
}

BOOST_AUTO_TEST_CASE(unlimited_credit_is_never_used_up_and_lifts_every_limit) {
  runners r(2, 0);
  BOOST_TEST(!r.run(0));
  std::vector<credit_share> given;
  r.credit.add(unlimited_credit, given);
  BOOST_CHECK((given == shares{{0, unlimited_credit}, {1, unlimited_credit}}));
  BOOST_TEST(r.credit.unused_by(1) == unlimited_credit);
  given.clear();
  r.credit.add(5, given);
  r.credit.end(0, given);
  BOOST_TEST(given.empty());
}

BOOST_AUTO_TEST_CASE(credit_that_adds_up_to_unlimited_saturates) {
  shared_credit credit(2, 10);
  std::vector<credit_share> given;
  credit.add(unlimited_credit - 10, given);
  BOOST_CHECK((given == shares{{0, unlimited_credit}, {1, unlimited_credit}}));
}

BOOST_AUTO_TEST_CASE(no_token_of_credit_is_lost_or_given_twice_whatever_happens) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const std::uint32_t choices = 1 + random() % 9;
    const std::uint32_t first = random() % 30;
    runners r(choices, first);
    std::uint64_t client_granted = first;
    std::uint32_t open = choices;
    for (int i = 0; i < 400; ++i) {
      const auto choice = static_cast<std::uint32_t>(random() % choices);
      const auto what = random() % 40;
      if (what == 0 && !r.ended[choice] && open > 1) {
        r.end(choice);
        --open;
      } else if (what < 10) {
        const std::uint32_t tokens = random() % 6;
        r.add(tokens);
        client_granted += tokens;
      } else {
        r.run(choice);
      }
      std::uint64_t left = 0;
      for (std::uint32_t c = 0; c < choices; ++c)
        if (!r.ended[c]) {
          left += r.granted[c];
          BOOST_REQUIRE(r.granted[c] == r.credit.unused_by(c));
        }
      BOOST_REQUIRE(r.generated + left == client_granted);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_split_is_what_giving_one_token_after_the_other_to_the_poorest_would_be) {
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const std::uint32_t choices = 1 + random() % 7;
    runners r(choices, random() % 60);
    auto given = r.granted; // By the plain rule, and what of it is left.
    auto left = r.granted;
    for (int round = 0; round < 4; ++round) {
      for (std::uint32_t c = 0; c < choices; ++c)
        for (auto uses = random() % 12; uses > 0; --uses)
          left[c] -= r.run(c);
      std::uint64_t tokens = random() % 50;
      const auto ending = static_cast<std::uint32_t>(random() % choices);
      if (round == 1 && choices > 1) {
        tokens = std::exchange(left[ending], 0);
        given[ending] = ~0ull; // Never the least again.
        r.end(ending);
      } else {
        r.add(static_cast<std::uint32_t>(tokens));
      }
      for (; tokens > 0; --tokens) {
        const auto poorest = std::min_element(given.begin(), given.end());
        ++*poorest;
        ++left[static_cast<std::size_t>(poorest - given.begin())];
      }
      BOOST_TEST(r.granted == left, boost::test_tools::per_element());
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
