#include "engine/admission.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <random>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(admission_suite)

namespace {

constexpr engine_time second = 1000000;

/// The hint of a refusal.
std::uint32_t retry_ms(admission_control& open, engine_time now, std::uint32_t tokens = 1) {
  auto refused = open.admit(1, tokens, 1, now);
  BOOST_REQUIRE(!refused);
  BOOST_CHECK(refused.error().code == errc::queue_full);
  return refused.error().retry_after_ms;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_ticket_has_as_many_ids_as_sequences_and_none_is_ever_given_twice) {
  admission_control open({});
  const auto a = open.admit(1, 10, 3, 0);
  const auto b = open.admit(1, 10, 1, 0);
  BOOST_REQUIRE((a && b));
  BOOST_TEST(a->id > 0u); // 0 means none
  BOOST_TEST(a->sequences == 3u);
  BOOST_TEST(b->id == a->id + 3);
  open.leave(a->id, 1);
  open.leave(b->id, 1);
  BOOST_TEST(open.admit(1, 10, 1, 2)->id == b->id + 1);
}

BOOST_AUTO_TEST_CASE(each_limit_refuses_by_itself_and_takes_again_when_something_has_left) {
  const admission_limits wide{100, 100, 1000};
  for (int which = 0; which < 3; ++which) {
    auto limits = wide;
    (which == 0 ? limits.max_open_requests : limits.max_open_sequences) = which < 2 ? 4 : 100;
    if (which == 2)
      limits.max_open_tokens = 40;
    admission_control open(limits);
    std::vector<ticket> tickets;
    for (int i = 0; i < (which == 1 ? 2 : 4); ++i) {
      auto t = open.admit(1, 10, which == 1 ? 2 : 1, 0);
      BOOST_REQUIRE(t);
      tickets.push_back(*t);
    }
    auto refused = open.admit(1, 10, 1, 0);
    BOOST_TEST_CONTEXT("limit " << which) {
      BOOST_REQUIRE(!refused);
      BOOST_CHECK(refused.error().code == errc::queue_full);
      BOOST_TEST(refused.error().retry_after_ms == unknown_retry_ms);
      BOOST_TEST(open.leave(tickets[0].id, 1));
      BOOST_TEST(!open.leave(tickets[0].id, 1)); // once is enough
      BOOST_CHECK(open.admit(1, 10, 1, 2));
      BOOST_TEST(open.refused() == 1u);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_could_never_be_admitted_is_not_told_to_come_again) {
  admission_control open({10, 10, 1000});
  for (auto refused : {open.admit(1, 1001, 1, 0), open.admit(1, 10, 11, 0)}) {
    BOOST_REQUIRE(!refused);
    BOOST_CHECK(refused.error().code == errc::limit_exceeded);
    BOOST_TEST(refused.error().retry_after_ms == 0u);
  }
}

BOOST_AUTO_TEST_CASE(an_estimate_of_tokens_is_corrected_when_the_number_is_known) {
  admission_control open({10, 10, 1000});
  const auto t = open.admit(1, 900, 1, 0);
  BOOST_TEST(!open.admit(1, 200, 1, 0));
  BOOST_REQUIRE(open.count_prompt(t->id, 100));
  BOOST_TEST(open.open_tokens() == 100u);
  BOOST_CHECK(open.admit(1, 200, 1, 0));
}

BOOST_AUTO_TEST_CASE(a_renamed_request_has_new_ids_and_takes_no_more_room) {
  admission_control open({1, 3, 100});
  const auto first = open.admit(1, 50, 3, 0);
  open.drain();
  BOOST_REQUIRE(open.fresh_ids(first->id));
  const auto second = open.fresh_ids(first->id); // the ones before were not needed
  BOOST_REQUIRE(second);
  BOOST_TEST(open.rename(first->id, *second));
  BOOST_TEST(second->id == first->id + 6);
  BOOST_TEST(second->sequences == 3u);
  BOOST_TEST(open.open_requests() == 1u);
  BOOST_TEST(open.open_sequences() == 3u);
  BOOST_TEST(open.open_tokens() == 50u);
  BOOST_CHECK(!open.fresh_ids(first->id));
  BOOST_CHECK(!open.rename(first->id, *second));
  BOOST_TEST(!open.leave(first->id, 1));
  BOOST_TEST(open.owner_died(1, 2) == std::vector<sequence_id>{second->id}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_hint_says_when_there_will_be_room_at_the_rate_at_which_requests_leave) {
  admission_control open({100, 1000, 1000000});
  std::vector<sequence_id> ids;
  engine_time now = 0;
  for (int i = 0; i < 100; ++i)
    ids.push_back(open.admit(1, 10, 1, now)->id);
  for (int i = 0; i < 600; ++i) { // ten a second, for a minute
    now += second / 10;
    open.leave(ids[i % 100], now);
    ids[i % 100] = open.admit(1, 10, 1, now)->id;
  }
  const auto first = retry_ms(open, now);
  BOOST_TEST(first >= 100u);
  BOOST_TEST(first <= 120u);
  std::uint32_t hint = 0;
  for (int i = 0; i < 49; ++i)
    hint = retry_ms(open, now);
  BOOST_TEST(hint > 4500u); // fifty wait: the last of them for five seconds
  BOOST_TEST(hint < 5500u);
}

BOOST_AUTO_TEST_CASE(a_hint_is_bounded_on_both_sides) {
  admission_control fast({10, 1000, 1000000});
  std::vector<sequence_id> ids;
  for (int i = 0; i < 10; ++i)
    ids.push_back(fast.admit(1, 10, 1, 0)->id);
  engine_time now = second;
  for (int i = 0; i < 1000; ++i) {
    now += 10;
    fast.leave(ids[i % 10], now);
    ids[i % 10] = fast.admit(1, 10, 1, now)->id;
  }
  BOOST_TEST(retry_ms(fast, now) == min_retry_ms);
  BOOST_TEST(retry_ms(fast, now + 3600 * second) == max_retry_ms); // nothing has left for an hour
}

BOOST_AUTO_TEST_CASE(a_long_prompt_is_told_to_wait_until_so_many_tokens_have_left) {
  admission_control open({1000, 1000, 1000});
  std::vector<sequence_id> ids;
  engine_time now = 0;
  for (int i = 0; i < 100; ++i)
    ids.push_back(open.admit(1, 10, 1, now)->id);
  for (int i = 0; i < 600; ++i) { // a hundred tokens a second
    now += second / 10;
    open.leave(ids[i % 100], now);
    ids[i % 100] = open.admit(1, 10, 1, now)->id;
  }
  const auto hint = retry_ms(open, now, 500);
  BOOST_TEST(hint > 4500u);
  BOOST_TEST(hint < 5600u);
}

BOOST_AUTO_TEST_CASE(when_an_owner_dies_its_tickets_are_void_and_no_others) {
  admission_control open({});
  const auto mine = open.admit(1, 10, 4, 0);
  const auto other = open.admit(2, 20, 1, 0);
  BOOST_REQUIRE((open.count_prompt(mine->id, 10) && open.count_prompt(other->id, 20)));
  open.owner_died(1, 5);
  BOOST_TEST(open.open_requests() == 1u);
  BOOST_TEST(open.open_sequences() == 1u);
  BOOST_TEST(open.open_tokens() == 20u);
  BOOST_TEST(!open.leave(mine->id, 6));
  BOOST_TEST(open.leave(other->id, 6));
}

BOOST_AUTO_TEST_CASE(who_drains_refuses_new_requests_and_keeps_those_that_are_open) {
  admission_control open({});
  const auto t = open.admit(1, 10, 1, 0);
  open.drain();
  auto refused = open.admit(1, 10, 1, 0);
  BOOST_REQUIRE(!refused);
  BOOST_CHECK(refused.error().code == errc::unavailable);
  BOOST_TEST(open.refused() == 1u);
  BOOST_CHECK(open.count_prompt(t->id, 10));
}

BOOST_AUTO_TEST_CASE(a_random_walk_keeps_every_sum) {
  std::mt19937 random(7);
  admission_control open({50, 120, 3000});
  struct plain {
    std::uint32_t tokens, sequences;
  };
  std::map<sequence_id, plain> requests;
  for (engine_time now = 0; now < 20000; ++now) {
    const auto what = random() % 3;
    auto any = requests.begin();
    if (!requests.empty())
      std::advance(any, random() % requests.size());
    if (what == 0 || requests.empty()) {
      const std::uint32_t tokens = random() % 200, sequences = 1 + random() % 5;
      if (auto t = open.admit(1 + random() % 3, tokens, sequences, now))
        requests[t->id] = {tokens, sequences};
    } else if (what == 1) {
      any->second.tokens = random() % 200;
      BOOST_REQUIRE(open.count_prompt(any->first, any->second.tokens));
    } else if (what == 2) {
      BOOST_REQUIRE(open.leave(any->first, now));
      requests.erase(any);
    }
    std::uint64_t tokens = 0, sequences = 0;
    for (const auto& [id, r] : requests) {
      tokens += r.tokens;
      sequences += r.sequences;
    }
    BOOST_REQUIRE(open.open_requests() == requests.size());
    BOOST_REQUIRE(open.open_tokens() == tokens);
    BOOST_REQUIRE(open.open_sequences() == sequences);
    BOOST_REQUIRE(sequences <= 120u);
  }
}

BOOST_AUTO_TEST_SUITE_END()
