// Sequences without tokens of their own: they end with their prompt.
#include "tests/engine/planner_bench.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(planner_prompts)

namespace {

void pool(new_sequence& s, pooling how) {
  auto sampling = std::make_shared<sequence_sampling>();
  sampling->pooling = how;
  s.sampling = sampling;
}

/// What a worker says of the oldest step in flight, with an embedding where a prompt that is pooled ends.
std::vector<token_event> answer_with_embeddings(planner_bench& b, std::uint32_t prompt) {
  auto result = b.result_of(b.in_flight.front());
  for (std::uint32_t i = 0; i < b.in_flight.front().rows.size(); ++i)
    if (const auto& rows = b.in_flight.front().rows[i]; rows.first_position + rows.count == prompt)
      result.embeddings.push_back({i, {0.6f, 0.8f}});
  b.in_flight.pop_front();
  auto events = b.plan.take(result);
  BOOST_REQUIRE_MESSAGE(events, events.error().message);
  return {events->begin(), events->end()};
}

} // namespace

BOOST_AUTO_TEST_CASE(a_sequence_without_tokens_is_computed_once_and_ends_with_its_prompt) {
  planner_bench b(small());
  const auto slot = b.add(1, 100, 0);
  std::uint32_t rows = 0;
  for (int chunk = 0; chunk < 2; ++chunk) { // Both are planned before the first is back.
    const auto step = b.step();
    BOOST_REQUIRE(step);
    BOOST_TEST(!step->rows.at(0).samples);
    rows += step->rows.at(0).count;
  }
  BOOST_TEST(rows == 100u);
  BOOST_TEST(!b.step());
  BOOST_TEST(b.answer().empty());
  const auto events = b.answer();
  BOOST_REQUIRE(events.size() == 1u);
  BOOST_TEST(events[0].token == no_token);
  BOOST_TEST(events[0].slot == slot);
  BOOST_TEST((events[0].finished == finish_reason::length));
  BOOST_TEST(b.plan.counts().running == 0u);
  BOOST_TEST(b.owned() == 0u);
}

BOOST_AUTO_TEST_CASE(a_prompt_without_tokens_may_fill_the_context) {
  auto options = small();
  options.plan.context_length = 32;
  planner_bench b(options);
  const auto refused = [&](std::uint32_t prompt, std::uint32_t answer) {
    new_sequence s;
    s.id = 9;
    s.prompt = std::make_shared<const std::vector<token_id>>(prompt, 5);
    s.sampling = std::make_shared<const sequence_sampling>();
    s.max_tokens = answer;
    return !b.plan.add(std::move(s), 0);
  };
  BOOST_TEST(refused(32, 1));
  BOOST_TEST(refused(33, 0));
  b.add(1, 32, 0);
  b.run();
  BOOST_TEST(b.answers[1].size() == 1u);
}

BOOST_AUTO_TEST_CASE(an_embedding_comes_with_its_sequences_end) {
  planner_bench b(small());
  const auto slot = b.add(1, 40, 0, [](new_sequence& s) { pool(s, pooling::last); });
  BOOST_REQUIRE(b.step());
  BOOST_TEST(answer_with_embeddings(b, 40).size() == 1u);
  BOOST_REQUIRE(b.plan.embeddings().size() == 1u);
  const auto& embedded = b.plan.embeddings()[0];
  BOOST_TEST(embedded.sequence == 1u);
  BOOST_TEST(embedded.slot == slot);
  BOOST_TEST(embedded.values.size() == 2u);
}

BOOST_AUTO_TEST_CASE(nobody_is_told_of_the_embedding_of_a_sequence_that_was_removed) {
  planner_bench b(small());
  b.add(1, 40, 0, [](new_sequence& s) { pool(s, pooling::last); });
  BOOST_REQUIRE(b.step());
  BOOST_TEST(b.plan.remove(1));
  BOOST_TEST(answer_with_embeddings(b, 40).empty());
  BOOST_TEST(b.plan.embeddings().empty());
  b.exchange();
  BOOST_TEST(b.owned() == 0u);
}

BOOST_AUTO_TEST_CASE(an_embedding_by_the_last_token_hits_the_cache_and_a_mean_does_not) {
  planner_bench b(small());
  b.add(1, 40, 1);
  b.run();
  b.plan.take_admissions();
  const auto cached = [&](sequence_id id, pooling how) {
    b.add(id, 40, 0, [&](new_sequence& s) {
      std::vector<token_id> tokens(40);
      for (std::uint32_t i = 0; i < 40; ++i)
        tokens[i] = static_cast<token_id>(1000 + i); // As the first one has them.
      s.prompt = std::make_shared<const std::vector<token_id>>(std::move(tokens));
      pool(s, how);
    });
    b.run();
    const auto admitted = b.plan.take_admissions();
    BOOST_REQUIRE(admitted.size() == 1u);
    return admitted[0].cached_tokens;
  };
  BOOST_TEST(cached(2, pooling::last) == 32u);
  BOOST_TEST(cached(3, pooling::mean) == 0u);
}

BOOST_AUTO_TEST_CASE(a_dead_worker_costs_a_sequence_without_tokens_nothing_but_time) {
  planner_bench b(small());
  b.add(1, 100, 0);
  BOOST_REQUIRE(b.step());
  b.in_flight.clear();
  b.plan.reset(1);
  b.exchange();
  b.run();
  BOOST_TEST(b.answers[1].size() == 1u);
  BOOST_TEST(b.owned() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
