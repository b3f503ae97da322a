// Which engine gets a request: hits against load. The figures that docs/parallelism.md has are printed here.
#include "engine/routing.hpp"

#include <iomanip>
#include <iostream>
#include <set>

#include "tests/engine/routed_engines.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(routing_suite)

namespace {

routing make_routing(std::size_t engines, routing_options options = {}) {
  auto made = routing::make(options, engines);
  BOOST_REQUIRE(made);
  return std::move(*made);
}

/// Some tokens that are nobody else's.
shared_tokens prompt_of(std::uint32_t number, std::size_t tokens, std::uint32_t end = 0) {
  auto result = std::make_shared<std::vector<token_id>>();
  for (std::size_t i = 0; i < tokens; ++i)
    result->push_back(static_cast<token_id>(number * 100000 + i));
  if (end != 0)
    result->back() = static_cast<token_id>(50000000 + end);
  return result;
}

placement of(shared_tokens prompt) {
  return {std::move(prompt), {}, true};
}

/// What a KV-cache manager tells when it has computed all full blocks of a prompt.
kv_event_batch stored(std::uint64_t number, const std::vector<token_id>& prompt, const prefix_key& key = {}) {
  auto hasher = *block_hasher::make(block_hash_kind::xxh128, "");
  kv_event event;
  auto above = hasher.root(key.salt, key.adapter);
  for (std::size_t i = 0; i + tokens_per_block <= prompt.size(); i += tokens_per_block)
    event.hashes.push_back(
      above = hasher.next(above, std::span<const token_id, tokens_per_block>(prompt.data() + i, tokens_per_block)));
  return {number, {event}};
}

void print(const char* what, const routed_figures& f, const routed_figures& turns) {
  std::cout << what << ": hit tokens " << f.hit_tokens << ", in turns " << turns.hit_tokens << " (" << std::fixed
            << std::setprecision(2) << static_cast<double>(f.hit_tokens) / static_cast<double>(turns.hit_tokens)
            << " times); spread of requests " << f.requests_spread << ", of work " << f.work_spread << "; mean wait "
            << f.mean_wait << ", in turns " << turns.mean_wait << std::defaultfloat << std::endl;
}

} // namespace

BOOST_AUTO_TEST_CASE(twenty_prefixes_over_four_engines_hit_three_times_as_often_as_in_turns_at_an_even_load) {
  // An engine has memory for five prefixes and what it computes now: in turns, twenty push each other out.
  const std::uint32_t blocks = 5 * 128 + 100;
  for (const double load : {0.3, 0.7, 0.8, 0.9})
    for (std::uint32_t seed = 1; seed <= 3; ++seed) {
      routed_workload work;
      work.seed = seed;
      work.interval = 340.0 / 4 / load;
      const auto requests = work.make();
      auto router = make_routing(4);
      const auto routed = run_routed(requests, 4, blocks, &router);
      const auto turns = run_routed(requests, 4, blocks, nullptr);
      if (seed == 1)
        print(("20 prefixes alike, load " + std::to_string(load).substr(0, 4)).c_str(), routed, turns);
      BOOST_TEST_CONTEXT("load " << load << ", seed " << seed) {
        BOOST_TEST(routed.hit_tokens >= 3 * turns.hit_tokens);
        BOOST_TEST(routed.requests_spread <= 1.2);
        BOOST_TEST(routed.work_spread <= 1.2);
      }
    }
}

BOOST_AUTO_TEST_CASE(a_prefix_that_half_of_all_have_makes_no_engine_hot) {
  const std::uint32_t blocks = 6 * 128 + 16;
  for (const double zipf : {1.0, 1.5}) {
    routed_workload work;
    work.zipf = zipf;
    work.interval = 340.0 / 4 / 0.7;
    const auto requests = work.make();
    auto router = make_routing(4);
    const auto routed = run_routed(requests, 4, blocks, &router);
    const auto turns = run_routed(requests, 4, blocks, nullptr);
    print(("20 prefixes by Zipf's law, exponent " + std::to_string(zipf).substr(0, 3)).c_str(), routed, turns);
    BOOST_TEST(routed.hit_tokens > turns.hit_tokens);
    BOOST_TEST(routed.requests_spread <= 1.2);
    BOOST_TEST(routed.work_spread <= 1.2);
  }
}

BOOST_AUTO_TEST_CASE(the_same_requests_and_reports_give_the_same_places) {
  routed_workload work;
  work.zipf = 1;
  work.requests = 500;
  work.interval = 100;
  auto a = make_routing(4), b = make_routing(4);
  BOOST_TEST(run_routed(work.make(), 4, 784, &a).requests == run_routed(work.make(), 4, 784, &b).requests,
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(equals_take_turns) {
  auto router = make_routing(3);
  std::vector<engine_index> places;
  for (sequence_id id = 1; id <= 6; ++id)
    places.push_back(*router.place(id, 1, of(prompt_of(static_cast<std::uint32_t>(id), 100))));
  BOOST_TEST(places == (std::vector<engine_index>{0, 1, 2, 0, 1, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_burst_without_a_report_spreads_evenly) {
  auto router = make_routing(4);
  for (sequence_id id = 1; id <= 80; ++id)
    BOOST_REQUIRE(router.place(id, 1, of(prompt_of(static_cast<std::uint32_t>(id), 100 + id * 37 % 400))));
  for (engine_index e = 0; e < 4; ++e) {
    BOOST_TEST(router.standing(e).open_sequences >= 15u);
    BOOST_TEST(router.standing(e).open_sequences <= 25u);
  }
}

BOOST_AUTO_TEST_CASE(a_burst_of_one_prefix_goes_to_one_engine_until_that_costs_more_than_the_prefix) {
  auto router = make_routing(4);
  std::vector<std::uint32_t> on(4, 0);
  for (sequence_id id = 1; id <= 4; ++id)
    ++on[*router.place(id, 1, of(prompt_of(1, 2048, static_cast<std::uint32_t>(id))))];
  BOOST_TEST(on == (std::vector<std::uint32_t>{4, 0, 0, 0}), boost::test_tools::per_element());
  for (sequence_id id = 5; id <= 100; ++id)
    ++on[*router.place(id, 1, of(prompt_of(1, 2048, static_cast<std::uint32_t>(id))))];
  for (auto count : on) {
    BOOST_TEST(count >= 15u);
    BOOST_TEST(count <= 40u);
  }
}

BOOST_AUTO_TEST_CASE(a_conversation_stays_where_it_was) {
  auto router = make_routing(4);
  std::vector<engine_index> homes;
  std::vector<std::uint64_t> batches(4, 0);
  std::uint32_t stayed = 0, turns = 0;
  sequence_id id = 0;
  for (std::uint32_t turn = 1; turn <= 6; ++turn)
    for (std::uint32_t talk = 0; talk < 12; ++talk) {
      const auto prompt = prompt_of(talk, 200 * turn);
      const auto e = *router.place(++id, 1, of(prompt));
      router.take(e, stored(batches[e]++, *prompt));
      router.leave(id);
      if (turn == 1)
        homes.push_back(e);
      else
        ++turns, stayed += homes[talk] == e;
    }
  BOOST_TEST(stayed == turns);
}

BOOST_AUTO_TEST_CASE(a_new_engine_warms_up_and_draws_no_burst) {
  auto router = make_routing(3);
  sequence_id id = 0;
  for (; id < 60; ++id)
    BOOST_REQUIRE(router.place(id + 1, 1, of(prompt_of(static_cast<std::uint32_t>(id), 500))));
  router.up(3);
  std::uint32_t on_new = 0;
  std::vector<std::uint32_t> by_tens;
  for (std::uint32_t i = 0; i < 120; ++i, ++id) {
    on_new += *router.place(id + 1, 1, of(prompt_of(static_cast<std::uint32_t>(id), 500))) == 3;
    if (i % 20 == 19)
      by_tens.push_back(std::exchange(on_new, 0));
  }
  std::cout << "of each 20 requests after a fourth engine has come it gets:";
  for (auto count : by_tens) {
    std::cout << ' ' << count;
    BOOST_TEST(count >= 5u);
    BOOST_TEST(count <= 14u);
  }
  std::cout << std::endl;
}

BOOST_AUTO_TEST_CASE(who_is_down_gets_nothing_and_who_comes_back_has_nothing) {
  auto router = make_routing(2);
  const auto prompt = prompt_of(1, 512);
  const auto home = *router.place(1, 1, of(prompt));
  router.take(home, stored(0, *prompt));
  router.leave(1);
  router.down(home, {errc::unavailable, "gone"});
  BOOST_TEST(!router.is_up(home));
  for (sequence_id id = 2; id < 10; ++id)
    BOOST_TEST(*router.place(id, 1, of(prompt)) == 1 - home);
  router.up(home);
  BOOST_TEST(router.is_up(home));
  BOOST_TEST(router.standing(home).open_sequences == 0u);
  for (sequence_id id = 2; id < 10; ++id)
    router.leave(id);
  BOOST_TEST(*router.place(10, 1, of(prompt)) == 1 - home); // it remembers nothing of before
}

BOOST_AUTO_TEST_CASE(where_no_engine_is_up_that_is_said) {
  auto router = make_routing(2);
  router.down(0, {errc::unavailable, "It was the heat."});
  router.down(1, {errc::unavailable, "It was the cold."});
  const auto refused = router.place(1, 1, of(prompt_of(1, 10)));
  BOOST_REQUIRE(!refused);
  BOOST_CHECK(refused.error().code == errc::unavailable);
  BOOST_TEST(refused.error().message.find("No engine is running") == 0u);
  BOOST_TEST(refused.error().message.find("the heat") != std::string::npos);
  auto alone = make_routing(1);
  alone.down(0, {errc::out_of_memory, "There is no memory."});
  BOOST_TEST(alone.place(1, 1, of(prompt_of(1, 10))).error().message == "There is no memory.");
}

BOOST_AUTO_TEST_CASE(a_request_that_has_been_moved_too_often_is_told_why_however_many_engines_there_are) {
  auto router = make_routing(5);
  const auto what = of(prompt_of(1, 100));
  auto at = *router.place(1, 3, what);
  for (sequence_id id = 2; id <= 3; ++id) {
    const auto next = router.move(id - 1, id, what, {errc::unavailable, "crashed"});
    BOOST_REQUIRE(next);
    BOOST_TEST(*next != at);
    BOOST_TEST(!router.is_up(at));
    BOOST_TEST(router.standing(*next).open_sequences == 3u);
    router.up(at);
    at = *next;
  }
  const auto refused = router.move(3, 4, what, {errc::unavailable, "crashed"});
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().message == "crashed");
  BOOST_TEST(!router.leave(3));
  for (engine_index e = 0; e < 5; ++e)
    BOOST_TEST(router.standing(e).open_sequences == 0u);
}

BOOST_AUTO_TEST_CASE(prefixes_are_known_by_the_first_group_that_keeps_all_of_them) {
  using groups = std::vector<kv_group_options>;
  BOOST_TEST(group_to_route_by(groups{{8, 0}}) == 0u);
  BOOST_TEST(group_to_route_by(groups{{8, 32}, {8, 0}, {8, 0}}) == 1u);
  BOOST_TEST(group_to_route_by(groups{{8, 32}, {8, 64}}) == 0u);
}

BOOST_AUTO_TEST_CASE(late_words_about_an_engine_that_has_come_back_do_not_take_it_down) {
  auto router = make_routing(2);
  const auto what = of(prompt_of(1, 100));
  const auto at = *router.place(1, 1, what);
  router.down(at, {errc::unavailable, "crashed"});
  router.up(at);
  BOOST_REQUIRE(router.move(1, 2, what, {errc::unavailable, "crashed"}));
  BOOST_TEST(router.is_up(at));
  BOOST_TEST(router.standing(0).open_sequences + router.standing(1).open_sequences == 1u);
}

BOOST_AUTO_TEST_CASE(where_events_are_missing_all_that_was_known_is_forgotten) {
  auto router = make_routing(2);
  const auto a = prompt_of(1, 512), b = prompt_of(2, 512);
  router.take(1, stored(0, *a));
  router.take(1, stored(2, *b));
  BOOST_TEST(*router.place(1, 1, of(a)) == 0u); // its turn
  router.leave(1);
  BOOST_TEST(*router.place(2, 1, of(b)) == 1u);
  router.leave(2);
  router.take(1, {3, {{kv_event::kind_type::all_cleared, 0, {}, {}, {}, 0, {}}}});
  BOOST_TEST(*router.place(3, 1, of(b)) == 0u);
}

BOOST_AUTO_TEST_CASE(salts_keep_prefixes_apart_and_logprobs_of_a_prompt_want_no_hit) {
  auto router = make_routing(2);
  const auto a = prompt_of(1, 512);
  router.take(1, stored(0, *a, {"mine", 0}));
  BOOST_TEST(*router.place(1, 1, {a, {"yours", 0}, true}) == 0u);
  router.leave(1);
  BOOST_TEST(*router.place(2, 1, of(prompt_of(3, 10))) == 1u);
  router.leave(2);
  BOOST_TEST(*router.place(3, 1, {a, {"mine", 0}, true}) == 1u);
  BOOST_TEST(router.standing(1).expected_hits == 496u);
  router.leave(3);
  BOOST_TEST(*router.place(4, 1, {a, {"mine", 0}, false}) == 0u);
}

BOOST_AUTO_TEST_CASE(what_was_only_guessed_counts_as_long_as_its_request_is_open) {
  auto router = make_routing(2);
  const auto a = prompt_of(1, 512);
  BOOST_TEST(*router.place(1, 1, of(a)) == 0u);
  BOOST_TEST(*router.place(2, 1, of(a)) == 0u);
  router.leave(1);
  BOOST_TEST(*router.place(3, 1, of(a)) == 0u);
  router.leave(2);
  router.leave(3); // all were cancelled before anything was computed
  BOOST_TEST(*router.place(4, 1, of(a)) == 1u);
}

BOOST_AUTO_TEST_CASE(an_engine_without_free_blocks_is_left_alone) {
  auto router = make_routing(2);
  router.take(0, engine_load{{}, 100});
  router.take(1, engine_load{{}, 100000});
  BOOST_TEST(*router.place(1, 1, of(prompt_of(1, 1000))) == 1u);
  router.leave(1);
  BOOST_TEST(*router.place(2, 1, of(prompt_of(2, 1000))) == 1u);
}

BOOST_AUTO_TEST_CASE(the_directory_is_bounded_and_forgets_the_ends_of_what_was_used_least) {
  prefix_directory known(100);
  const auto hash_of = [](std::uint64_t n) { return block_hash{{n, 0, 0, 0}}; };
  for (std::uint64_t chain = 0; chain < 20; ++chain)
    for (std::uint64_t i = 0; i < 10; ++i) {
      const auto above = hash_of(chain * 10 + i - 1);
      known.stored(0, hash_of(chain * 10 + i), i > 0 ? &above : nullptr);
    }
  BOOST_TEST(known.size() == 100u);
  const auto nobody = [](sequence_id) { return false; };
  for (std::uint64_t chain = 0; chain < 20; ++chain) {
    BOOST_TEST(known.who_has(hash_of(chain * 10), nullptr, nobody) == (chain < 10 ? 0u : 1u));
    BOOST_TEST(known.who_has(hash_of(chain * 10 + 9), nullptr, nobody) == (chain < 10 ? 0u : 1u));
  }
  known.stored(0, hash_of(1000), nullptr);
  BOOST_TEST(known.size() == 100u);
}

BOOST_AUTO_TEST_SUITE_END()
