// The planner against a toy engine: a real block pool, a real batch state, and a model whose next token is a hash of
// all the tokens before it, so that a token computed from the wrong rows or the wrong blocks is a wrong token.
#include "engine/planner.hpp"

#include "engine/batch_state.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <random>

using namespace troupe;

namespace {

token_id hash_of(const std::vector<token_id>& tokens, std::size_t count) {
  std::uint32_t h = 2166136261u;
  for (std::size_t i = 0; i < count; ++i)
    h = (h ^ static_cast<std::uint32_t>(tokens[i])) * 16777619u;
  return static_cast<token_id>(h % 997);
}

std::vector<token_id> answer_of(std::vector<token_id> tokens, std::uint32_t max_tokens, token_id end) {
  std::vector<token_id> answer;
  while (answer.size() < max_tokens && (answer.empty() || answer.back() != end)) {
    answer.push_back(hash_of(tokens, tokens.size()));
    tokens.push_back(answer.back());
  }
  return answer;
}

/// KV memory holds each position's token; a step reads the whole sequence back through its block table.
struct toy_worker {
  std::vector<token_id> memory;
  batch_state state;

  explicit toy_worker(std::uint32_t blocks) : memory(blocks * tokens_per_block, -1) {}

  step_result run(const step_changes& step) {
    auto applied = state.apply(step);
    BOOST_REQUIRE_MESSAGE(applied, applied.error().message);
    const auto& rows = **applied;
    for (const auto& span : rows.spans)
      for (std::uint32_t i = 0; i < span.count; ++i) {
        const auto position = span.first_position + i;
        memory[span.blocks[position / tokens_per_block] * tokens_per_block + position % tokens_per_block] =
          rows.tokens[span.first_row + i];
      }
    step_result result{step.epoch, step.step, {}, 0};
    for (const auto& sample : rows.samples)
      for (const auto& span : rows.spans)
        if (span.sequence == sample.sequence) {
          std::vector<token_id> all;
          for (std::uint32_t p = 0; p < sample.position; ++p)
            all.push_back(memory[span.blocks[p / tokens_per_block] * tokens_per_block + p % tokens_per_block]);
          result.sampled.push_back({sample.sequence, sample.position, hash_of(all, all.size())});
        }
    for (const auto& s : result.sampled)
      state.sampled(s.sequence, s.token);
    return result;
  }
};

struct toy_engine {
  planner_options options;
  block_pool pool;
  planner plan;
  toy_worker worker;
  std::map<sequence_id, std::vector<token_id>> answers;
  std::map<sequence_id, finish_reason> ended;

  explicit toy_engine(planner_options o) : options(o), pool(o.total_blocks), plan(o), worker(o.total_blocks) {}

  void settle_blocks() {
    while (auto report = plan.take_report()) {
      auto grant = apply_report(pool, *report);
      BOOST_REQUIRE_MESSAGE(grant, grant.error().message);
      plan.grant(*grant);
    }
    check();
  }

  void take(const step_result& result) {
    for (const auto& event : plan.take(result)) {
      BOOST_REQUIRE(!ended.count(event.sequence));
      BOOST_REQUIRE(event.index == answers[event.sequence].size());
      answers[event.sequence].push_back(event.token);
      if (event.finished)
        ended[event.sequence] = *event.finished;
    }
  }

  /// False when there is nothing to do.
  bool step() {
    settle_blocks();
    auto next = plan.plan();
    if (!next) { // A preemption may have freed what the others need.
      settle_blocks();
      next = plan.plan();
    }
    if (!next)
      return false;
    std::uint32_t rows = 0;
    for (const auto& r : next->rows)
      rows += r.count;
    BOOST_REQUIRE(rows <= options.max_batched_tokens);
    take(worker.run(*next));
    check();
    return true;
  }

  void check() const {
    auto planner_ok = plan.check_integrity();
    BOOST_REQUIRE_MESSAGE(planner_ok, planner_ok.error().message);
    auto pool_ok = pool.check_integrity();
    BOOST_REQUIRE_MESSAGE(pool_ok, pool_ok.error().message);
  }

  void check_empty() {
    settle_blocks();
    BOOST_TEST(pool.counts().owned == 0u);
    BOOST_TEST(plan.counts().running == 0u);
    BOOST_TEST(plan.counts().waiting == 0u);
  }
};

planner_options small() {
  planner_options o;
  o.max_batched_tokens = 32;
  o.max_sequences = 4;
  o.context_length = 256;
  o.total_blocks = 64;
  o.end_tokens = {996};
  return o;
}

new_sequence request(sequence_id id, std::size_t length, std::uint32_t max_tokens) {
  new_sequence s;
  s.id = id;
  for (std::size_t i = 0; i < length; ++i)
    s.prompt.push_back(static_cast<token_id>((id * 31 + i * 7) % 900));
  s.max_tokens = max_tokens;
  return s;
}

} // namespace

BOOST_AUTO_TEST_SUITE(planner_suite)

BOOST_AUTO_TEST_CASE(a_long_prompt_is_computed_in_chunks_and_samples_only_at_its_end) {
  toy_engine e(small());
  BOOST_REQUIRE(e.plan.add(request(1, 70, 2)));
  e.settle_blocks();
  std::vector<std::uint32_t> counts;
  std::vector<bool> samples;
  while (true) {
    e.settle_blocks();
    auto step = e.plan.plan();
    if (!step)
      break;
    counts.push_back(step->rows[0].count);
    samples.push_back(step->rows[0].samples);
    e.take(e.worker.run(*step));
  }
  BOOST_TEST(counts == (std::vector<std::uint32_t>{32, 32, 6, 1}), boost::test_tools::per_element());
  BOOST_TEST(samples == (std::vector<bool>{false, false, true, true}), boost::test_tools::per_element());
  BOOST_TEST(e.answers[1] == answer_of(request(1, 70, 2).prompt, 2, 996), boost::test_tools::per_element());
  BOOST_CHECK(e.ended[1] == finish_reason::length);
}

BOOST_AUTO_TEST_CASE(decodes_are_served_before_a_new_prompt) {
  toy_engine e(small());
  BOOST_REQUIRE(e.plan.add(request(1, 4, 50)));
  e.step();
  BOOST_REQUIRE(e.plan.add(request(2, 200, 1)));
  e.settle_blocks();
  auto step = e.plan.plan();
  BOOST_REQUIRE(step);
  BOOST_TEST(step->rows[0].sequence == 1u);
  BOOST_TEST(step->rows[0].tokens.empty()); // the worker holds it
  BOOST_TEST(step->rows[1].count == 31u);
}

BOOST_AUTO_TEST_CASE(what_can_never_fit_is_refused_at_once_with_both_numbers) {
  toy_engine e(small());
  auto refused = e.plan.add(request(1, 256, 1));
  BOOST_REQUIRE(!refused);
  BOOST_CHECK(refused.error().code == errc::context_overflow);
  BOOST_TEST(refused.error().message.find("256") != std::string::npos);
  auto o = small();
  o.total_blocks = 2;
  toy_engine tiny(o);
  BOOST_CHECK(!tiny.plan.add(request(1, 32, 1)));
  BOOST_CHECK(tiny.plan.add(request(2, 31, 1)));
  BOOST_CHECK(!e.plan.add(request(3, 0, 1)));
}

BOOST_AUTO_TEST_CASE(a_sequence_ends_at_the_end_of_the_context) {
  auto o = small();
  o.total_blocks = 2;
  toy_engine e(o);
  BOOST_REQUIRE(e.plan.add(request(1, 30, 100)));
  while (e.step())
    ;
  BOOST_TEST(e.answers[1].size() == 2u);
  BOOST_CHECK(e.ended[1] == finish_reason::length);
  e.check_empty();
}

BOOST_AUTO_TEST_CASE(a_sequence_without_credit_pauses_and_holds_up_nobody) {
  toy_engine e(small());
  auto paused = request(1, 4, 20);
  paused.credit = 3;
  BOOST_REQUIRE(e.plan.add(paused));
  BOOST_REQUIRE(e.plan.add(request(2, 4, 20)));
  while (e.step())
    ;
  BOOST_TEST(e.answers[1].size() == 3u);
  BOOST_TEST(e.answers[2].size() == 20u);
  BOOST_TEST(e.plan.counts().paused == 1u);
  BOOST_CHECK(e.plan.grant_credit(1, 5));
  while (e.step())
    ;
  BOOST_TEST(e.answers[1].size() == 8u);
  BOOST_CHECK(e.plan.grant_credit(1, unlimited_credit));
  while (e.step())
    ;
  BOOST_TEST(e.answers[1] == answer_of(paused.prompt, 20, 996), boost::test_tools::per_element());
  BOOST_CHECK(!e.plan.grant_credit(99, 1));
}

BOOST_AUTO_TEST_CASE(a_paused_sequence_gives_its_blocks_to_those_that_run) {
  auto o = small();
  o.total_blocks = 8;
  toy_engine e(o);
  auto paused = request(1, 60, 20); // four blocks of eight
  paused.credit = 2;
  BOOST_REQUIRE(e.plan.add(paused));
  while (e.step())
    ;
  BOOST_REQUIRE(e.plan.add(request(2, 40, 60))); // needs seven
  while (e.step())
    ;
  BOOST_TEST(e.answers[2].size() == 60u);
  BOOST_TEST(e.plan.counts().preemptions >= 1u);
  BOOST_CHECK(e.plan.grant_credit(1, 100));
  while (e.step())
    ;
  BOOST_TEST(e.answers[1] == answer_of(paused.prompt, 20, 996), boost::test_tools::per_element());
  e.check_empty();
}

BOOST_AUTO_TEST_CASE(paused_sequences_that_hold_every_place_or_every_block_starve_nobody) {
  toy_engine places(small());
  for (sequence_id id = 1; id <= 4; ++id) { // as many as may run at once
    auto paused = request(id, 4, 20);
    paused.credit = 1;
    BOOST_REQUIRE(places.plan.add(paused));
  }
  while (places.step())
    ;
  BOOST_TEST(places.plan.counts().paused == 4u);
  BOOST_REQUIRE(places.plan.add(request(5, 4, 20)));
  while (places.step())
    ;
  BOOST_TEST(places.answers[5].size() == 20u);

  auto o = small();
  o.total_blocks = 8;
  toy_engine blocks(o);
  auto paused = request(1, 110, 18); // seven blocks of eight
  paused.credit = 1;
  BOOST_REQUIRE(blocks.plan.add(paused));
  while (blocks.step())
    ;
  BOOST_REQUIRE(blocks.plan.add(request(2, 40, 20)));
  while (blocks.step())
    ;
  BOOST_TEST(blocks.answers[2].size() == 20u);
}

BOOST_AUTO_TEST_CASE(preempted_sequences_get_the_same_tokens_as_alone) {
  auto o = small();
  o.total_blocks = 10;
  o.max_batched_tokens = 48;
  toy_engine e(o);
  for (sequence_id id = 1; id <= 4; ++id)
    BOOST_REQUIRE(e.plan.add(request(id, 10, 80))); // six blocks each at the end
  while (e.step())
    ;
  BOOST_TEST(e.plan.counts().preemptions > 0u);
  for (sequence_id id = 1; id <= 4; ++id)
    BOOST_TEST(e.answers[id] == answer_of(request(id, 10, 80).prompt, 80, 996), boost::test_tools::per_element());
  e.check_empty();
}

BOOST_AUTO_TEST_CASE(a_removed_sequence_in_flight_gets_no_token_and_frees_its_blocks_with_that_step) {
  toy_engine e(small());
  BOOST_REQUIRE(e.plan.add(request(1, 20, 20)));
  e.settle_blocks();
  auto step = e.plan.plan();
  BOOST_REQUIRE(step);
  e.settle_blocks();
  BOOST_TEST(e.pool.counts().owned == 2u);
  BOOST_CHECK(e.plan.remove(1));
  BOOST_CHECK(!e.plan.remove(1));
  BOOST_TEST(e.plan.take(e.worker.run(*step)).empty());
  e.check_empty();
}

BOOST_AUTO_TEST_CASE(a_result_is_taken_once_and_never_from_an_old_epoch) {
  toy_engine e(small());
  BOOST_REQUIRE(e.plan.add(request(1, 5, 20)));
  e.settle_blocks();
  auto step = e.plan.plan();
  auto result = e.worker.run(*step);
  BOOST_TEST(e.plan.take(result).size() == 1u);
  BOOST_TEST(e.plan.take(result).empty());
  e.settle_blocks();
  auto lost = e.plan.plan();
  e.plan.reset(1);
  BOOST_TEST(e.plan.take(e.worker.run(*lost)).empty());
  e.settle_blocks();
  auto again = e.plan.plan();
  BOOST_REQUIRE(again);
  BOOST_TEST(again->snapshot);
  BOOST_TEST(again->epoch == 1u);
  BOOST_TEST(again->rows[0].tokens.size() == 6u);
}

BOOST_AUTO_TEST_CASE(a_random_walk_gives_every_sequence_the_tokens_that_it_gets_alone) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 rng(seed);
    planner_options o;
    o.max_batched_tokens = 1 + rng() % 64;
    o.max_sequences = 1 + rng() % 6;
    o.context_length = 100;
    o.total_blocks = 7 + rng() % 20;
    o.end_tokens = {996, 7};
    toy_engine e(o);
    std::map<sequence_id, new_sequence> asked;
    std::vector<sequence_id> removed;
    std::optional<step_changes> flying; // one step in flight while other things happen
    std::uint64_t epoch = 0;
    for (int i = 0; i < 400; ++i) {
      BOOST_TEST_CONTEXT("seed " << seed << ", event " << i)
      switch (rng() % 8) {
      case 0: {
        auto r = request(asked.size() + 1, 1 + rng() % 60, 1 + rng() % 40);
        r.ignore_eos = rng() % 2;
        r.credit = rng() % 2 ? unlimited_credit : rng() % 10;
        BOOST_REQUIRE(e.plan.add(r));
        asked.emplace(r.id, r);
        break;
      }
      case 1:
        if (!asked.empty()) {
          auto id = 1 + rng() % asked.size();
          if (e.plan.remove(id))
            removed.push_back(id);
        }
        break;
      case 2:
        if (!asked.empty())
          e.plan.grant_credit(1 + rng() % asked.size(), rng() % 10);
        break;
      case 3:
        if (rng() % 20 == 0) {
          e.plan.reset(++epoch);
          flying.reset();
          e.worker = toy_worker(o.total_blocks);
        }
        break;
      default:
        if (flying) {
          e.take(e.worker.run(*flying));
          flying.reset();
        }
        if (rng() % 4)
          e.settle_blocks();
        flying = e.plan.plan();
      }
      e.check();
    }
    if (flying)
      e.take(e.worker.run(*flying));
    while (e.step()) // whoever has credit for all of its answer ends, whatever the paused ones hold
      ;
    for (const auto& [id, r] : asked)
      if (r.credit == unlimited_credit && std::find(removed.begin(), removed.end(), id) == removed.end())
        BOOST_TEST_CONTEXT("seed " << seed << ", sequence " << id)
    BOOST_REQUIRE(e.ended.count(id));
    for (const auto& [id, r] : asked)
      e.plan.grant_credit(id, unlimited_credit);
    while (e.step())
      ;
    e.check_empty();
    for (const auto& [id, r] : asked) {
      if (std::find(removed.begin(), removed.end(), id) != removed.end())
        continue;
      auto expected = r.ignore_eos ? answer_of(r.prompt, r.max_tokens, -1) : std::vector<token_id>{};
      if (!r.ignore_eos)
        for (auto token : answer_of(r.prompt, r.max_tokens, -1)) {
          expected.push_back(token);
          if (token == 996 || token == 7)
            break;
        }
      expected.resize(std::min<std::size_t>(expected.size(), std::min(100u, o.total_blocks * 16) - r.prompt.size()));
      BOOST_TEST_CONTEXT("seed " << seed << ", sequence " << id) {
        BOOST_REQUIRE(e.ended.count(id));
        BOOST_REQUIRE(e.answers[id] == expected);
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
