// A stream whose engine has gone: what it tells the next one, and what it still believes the old one.
#include "tests/actors/stream_fixture.hpp"

#include <random>

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(stream_moves)

namespace {

stream_events gave_up(sequence_id sequence) {
  stream_events events;
  events.failures.push_back({sequence, {errc::internal, "The engine has given up."}, true});
  return events;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_request_goes_on_elsewhere_after_its_last_token_and_late_words_of_the_old_engine_are_nothing) {
  stream_fixture f({}, 2);
  f.submit(1, some_prompt, [](generate_request& r) {
    r.sampling.max_tokens = 20;
    r.sampling.stop = {"END"};
  });
  f.wait_added(1);
  const auto old = f.added[0].id;
  f.play_text(old, "the EN");
  f.play(gave_up(old));
  f.playing = 1;
  f.wait_added(1);
  const auto& again = f.added[1];
  BOOST_TEST(again.id != old);
  BOOST_TEST(again.prompt == f.added[0].prompt);
  BOOST_TEST(again.sampling == f.added[0].sampling);
  BOOST_TEST(again.max_tokens == 20u);
  BOOST_REQUIRE(again.answer);
  BOOST_TEST(again.answer->size() == 6u);
  BOOST_TEST(again.answer->back() == f.token_of('N'));
  f.play(old, 6, f.token_of('x')); // it was thought to be dead
  f.play(gave_up(old));
  f.play(again.id, 5, f.token_of('y')); // not its next one
  f.play(again.id, 6, f.token_of('D'));
  const auto& end = f.wait_end(1);
  BOOST_CHECK(end.reason == finish_reason::stop);
  BOOST_TEST(f.answers[1].choices[0].text == "the "); // what was held back before the move was the stop string's
  BOOST_TEST(end.usage.completion_tokens == 7u);
  f.take_orders();
  BOOST_TEST(f.removed.count(again.id) == 1u);
  f.eventually_closed();
  BOOST_TEST(!f.status().engines[0].up);
}

BOOST_AUTO_TEST_CASE(of_several_answers_those_that_have_ended_are_not_moved) {
  stream_fixture f({}, 2);
  f.submit(1, some_prompt, [](generate_request& r) {
    r.n = 3;
    r.credit = 12;
  });
  f.wait_added(3);
  const auto first = f.added[0].id;
  stream_events admitted;
  admitted.admissions = {{first, 4}};
  f.play(admitted);
  f.play_text(first, "a", finish_reason::length);
  f.play_text(first + 2, "cc");
  f.flush();
  f.kill_scheduler();
  f.say(credit_atom::value, credit_grant{1, 4});
  f.playing = 1;
  f.wait_added(2);
  const auto& second = f.added[3];
  const auto& third = f.added[4];
  BOOST_TEST(second.sampling->choice == 1u);
  BOOST_TEST(third.sampling->choice == 2u);
  BOOST_TEST(second.fork_of == 0u);
  BOOST_TEST(third.fork_of == second.id);
  BOOST_TEST(!second.answer);
  BOOST_TEST(third.answer->size() == 2u);
  admitted.admissions = {{second.id, 16}, {third.id, 16}};
  f.play(admitted);
  f.take_orders();
  // Of 16 tokens the first has used one, and the third two.
  BOOST_TEST(f.granted[second.id] + f.granted[third.id] == 13u);
  f.play_text(second.id, "b", finish_reason::length);
  f.next_index[third.id] = 2;
  f.play_text(third.id, "c", finish_reason::length);
  const auto& end = f.wait_end(1);
  BOOST_TEST(end.usage.completion_tokens == 5u);
  BOOST_TEST(end.usage.cached_prompt_tokens == 4u); // of the first engine
  BOOST_TEST(f.answers[1].choices[0].text == "a");
  BOOST_TEST(f.answers[1].choices[2].text == "ccc");
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(what_is_told_while_a_request_is_moved_is_not_lost) {
  stream_fixture f({}, 2);
  f.submit(1, some_prompt, [](generate_request& r) { r.credit = 5; });
  f.wait_added(1);
  f.play_text(f.added[0].id, "ab");
  f.say(pause_atom::value, request_id{1}); // whose answer the dead one owes
  f.flush();
  f.kill_scheduler();
  f.say(credit_atom::value, credit_grant{1, 7});
  f.playing = 1;
  f.take_orders();
  BOOST_TEST(f.added.size() == 1u);
  f.say(resume_atom::value, request_id{1});
  f.wait_added(1);
  BOOST_TEST(f.added[1].credit == 10u);
  f.say(pause_atom::value, request_id{1});
  f.say(credit_atom::value, credit_grant{1, 3});
  f.take_orders();
  BOOST_TEST(f.paused.count(f.added[1].id) == 1u);
  BOOST_TEST(f.granted[f.added[1].id] == 13u);
  f.cancel(1);
  f.wait_end(1);
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(a_request_that_is_still_encoded_is_placed_on_an_engine_that_lives) {
  stream_fixture f({}, 2);
  f.kill_scheduler();
  f.submit(1, prompt_text("hello"));
  f.playing = 1;
  f.wait_added(1);
  BOOST_TEST(!f.added[0].answer);
  f.play_text(f.added[0].id, "x", finish_reason::length);
  f.wait_end(1);
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(a_request_moves_as_often_as_there_are_engines_and_then_it_is_told_why) {
  stream_fixture f({}, 3);
  f.submit(1, some_prompt);
  for (engine_index e = 0; e < 3; ++e) {
    f.playing = e;
    f.wait_added(1);
    f.play(gave_up(f.added.back().id));
  }
  const auto& end = f.wait_end(1);
  BOOST_CHECK(end.reason == finish_reason::error);
  BOOST_TEST(end.failure.message == "The engine has given up.");
  f.submit(2, some_prompt);
  BOOST_CHECK(f.wait_end(2).failure.code == errc::unavailable);
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(every_answer_is_whole_however_often_its_engine_goes) {
  for (std::uint32_t seed = 0; seed < 30; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      stream_fixture f({}, 6);
      const request_id requests = 4;
      const std::uint32_t length = 30, answers_each = 3;
      const auto token_at = [](std::uint32_t choice, std::uint32_t index) {
        return static_cast<token_id>(30 + (choice * 17 + index) % 60);
      };
      for (request_id id = 1; id <= requests; ++id)
        f.submit(id, some_prompt, answers_wanted(answers_each));
      std::size_t seen = 0;
      std::map<sequence_id, std::uint32_t> next;
      const auto all_ended = [&] {
        for (request_id id = 1; id <= requests; ++id)
          if (f.answers[id].ends.empty())
            return false;
        return true;
      };
      for (int i = 0; i < 20000 && !all_ended(); ++i) {
        if (i % 20 == 0)
          for (engine_index e = 0; e < 6; ++e) {
            f.playing = e;
            f.take_orders();
          }
        for (; seen < f.added.size(); ++seen) {
          const auto& s = f.added[seen];
          next[s.id] = s.answer ? static_cast<std::uint32_t>(s.answer->size()) : 0;
          for (std::uint32_t k = 0; k < next[s.id]; ++k)
            BOOST_TEST(s.answer->at(k) == token_at(s.sampling->choice, k));
        }
        if (f.added.empty())
          continue;
        // Any sequence that there ever was: the old ones' engines are only thought to be dead.
        const auto& s = f.added[random() % f.added.size()];
        if (random() % 200 == 0) {
          f.play(gave_up(s.id));
          continue;
        }
        const auto index = next[s.id]++;
        if (index >= length)
          continue;
        f.play(s.id, index, token_at(s.sampling->choice, index),
               index + 1 == length ? std::optional(finish_reason::length) : std::nullopt);
      }
      for (request_id id = 1; id <= requests; ++id) {
        const auto& a = f.answers[id];
        BOOST_REQUIRE(a.ends.size() == 1u);
        if (a.ends[0].reason == finish_reason::error)
          continue; // All engines have gone.
        BOOST_REQUIRE(a.choices.size() == answers_each);
        for (const auto& [choice, c] : a.choices) {
          BOOST_TEST(c.tokens.size() == length);
          for (std::uint32_t k = 0; k < c.tokens.size(); ++k)
            BOOST_TEST(c.tokens[k] == token_at(choice, k));
        }
      }
      f.eventually_closed();
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
