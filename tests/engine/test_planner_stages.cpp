// Steps for several pipeline stages: who decodes takes turns, so that all stages are busy.
#include <algorithm>
#include <random>
#include <set>

#include "engine/batch_state.hpp"
#include "tests/engine/planner_bench.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(planner_stages)

namespace {

planner_bench::settings staged(std::uint32_t stages, std::uint32_t rows = 512) {
  auto s = small(4096, rows, 64);
  s.plan.stages = stages;
  s.plan.steps_ahead = stages + 1;
  return s;
}

/// Stages that each compute one step after another, and a first one that waits for the tokens it lacks.
class pipeline {
public:
  pipeline(planner_bench& on, std::uint32_t stages) : on_(on), busy_(stages), free_(stages) {}

  /// Plans while fewer steps are in flight than stages and one, then takes a result; so many times.
  void go(int results) {
    for (; results > 0; --results) {
      while (on_.in_flight.size() <= free_.size()) {
        const auto step = on_.step();
        if (!step)
          break;
        compute(*step);
      }
      BOOST_REQUIRE(!on_.in_flight.empty());
      now_ = ends_.front();
      ends_.pop_front();
      tokens_ += on_.answer().size();
    }
  }

  void begin_to_measure() {
    from_ = now_;
    tokens_ = 0;
    for (std::size_t s = 0; s < busy_.size(); ++s)
      busy_[s] = now_ - free_[s]; // What it has done already of steps to come counts later.
  }

  double use_of(std::size_t stage) const { return (busy_[stage] - (free_[stage] - now_)) / (now_ - from_); }
  double tokens_a_unit() const { return static_cast<double>(tokens_) / (now_ - from_); }
  static double cost(std::uint32_t rows) { return 1 + 0.02 * rows; }

private:
  void compute(const step_changes& step) {
    double at = now_;
    for (const auto& rows : step.rows)
      if (rows.holds_last)
        at = std::max(at, token_at_[rows.slot]);
    for (std::size_t s = 0; s < free_.size(); ++s) {
      at = std::max(at, free_[s]) + cost(rows_in(step));
      busy_[s] += cost(rows_in(step));
      free_[s] = at;
    }
    for (const auto& rows : step.rows)
      if (rows.samples)
        token_at_[rows.slot] = at;
    ends_.push_back(at);
  }

  planner_bench& on_;
  std::vector<double> busy_, free_;
  std::deque<double> ends_;
  std::map<slot_id, double> token_at_;
  std::uint64_t tokens_ = 0;
  double now_ = 0, from_ = 0;
};

void add_many(planner_bench& b, std::uint32_t count, std::uint16_t drafts = 0) {
  for (sequence_id id = 1; id <= count; ++id)
    b.add(id, 6, 400, [&](new_sequence& s) { s.max_drafts = drafts; });
}

std::set<slot_id> slots_of(const step_changes& step) {
  std::set<slot_id> out;
  for (const auto& rows : step.rows)
    out.insert(rows.slot);
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(sixty_four_sequences_that_decode_keep_all_stages_busy) {
  for (std::uint32_t stages : {1u, 2u, 3u, 4u})
    for (std::uint16_t drafts : {0, 2}) {
      if (stages == 1 && drafts > 0)
        continue; // Whose next step waits for their result.
      planner_bench b(staged(stages));
      add_many(b, 64, drafts);
      pipeline p(b, stages);
      p.go(30);
      p.begin_to_measure();
      p.go(200);
      for (std::uint32_t s = 0; s < stages; ++s)
        BOOST_TEST(p.use_of(s) >= 0.9, "stage " << s << " of " << stages << " is busy " << p.use_of(s));
      const auto ideal = 64.0 / stages / pipeline::cost(64 / stages);
      BOOST_TEST(p.tokens_a_unit() >= 0.9 * ideal, p.tokens_a_unit() << " of " << ideal);
    }
}

BOOST_AUTO_TEST_CASE(they_are_busy_too_while_sequences_come_and_go) {
  for (std::uint32_t stages : {2u, 3u}) {
    planner_bench b(staged(stages));
    pipeline p(b, stages);
    sequence_id id = 0;
    for (int i = 0; i < 200; ++i) {
      for (int j = 0; j < 2; ++j, ++id)
        b.add(id + 1, 5 + id % 20, 20 + id * 7 % 50);
      p.go(1);
      if (i == 50)
        p.begin_to_measure();
    }
    for (std::uint32_t s = 0; s < stages; ++s)
      BOOST_TEST(p.use_of(s) >= 0.9, "stage " << s << " of " << stages << " is busy " << p.use_of(s));
  }
}

BOOST_AUTO_TEST_CASE(steps_in_flight_have_no_sequence_in_common_but_the_oldest) {
  planner_bench b(staged(3));
  add_many(b, 10);
  b.step();
  b.answer();
  for (int i = 0; i < 60; ++i) {
    while (b.in_flight.size() < 4)
      BOOST_TEST_REQUIRE(b.step().has_value());
    std::set<slot_id> all;
    std::size_t rows = 0;
    for (std::size_t k = 1; k < 4; ++k) {
      BOOST_TEST(b.in_flight[k].rows.size() <= 4u);
      const auto slots = slots_of(b.in_flight[k]);
      rows += slots.size();
      all.insert(slots.begin(), slots.end());
    }
    BOOST_TEST(all.size() == rows);
    BOOST_TEST(rows == 10u, "all of them are in some step");
    b.answer();
  }
}

BOOST_AUTO_TEST_CASE(a_lone_sequence_has_its_next_step_on_the_way_and_two_share_the_stages) {
  planner_bench b(staged(2));
  const auto one = b.add(1, 6, 50);
  BOOST_REQUIRE(b.step());
  auto next = b.step();
  BOOST_REQUIRE(next);
  BOOST_TEST(next->rows.at(0).holds_last);
  BOOST_TEST(!b.step(), "a third one would only wait");
  const auto two = b.add(2, 6, 50);
  b.step();
  b.answer();
  b.answer();
  for (int i = 0; i < 20; ++i) {
    while (b.in_flight.size() < 3)
      BOOST_TEST_REQUIRE(b.step().has_value());
    BOOST_TEST(slots_of(b.in_flight[1]).size() == 1u);
    BOOST_TEST((slots_of(b.in_flight[1]) != slots_of(b.in_flight[2])));
    b.answer();
  }
  BOOST_TEST(one != two);
  b.run();
  BOOST_TEST(b.answers[1].size() == 50u);
  BOOST_TEST(b.answers[2].size() == 50u);
}

BOOST_AUTO_TEST_CASE(chunks_of_a_prompt_follow_each_other_through_the_stages) {
  planner_bench b(staged(3, 64));
  b.add(1, 300, 3);
  for (std::uint32_t i = 0; i < 4; ++i) {
    auto step = b.step();
    BOOST_REQUIRE(step);
    BOOST_TEST(step->rows.at(0).first_position == 64 * i);
  }
  b.run();
  BOOST_TEST(b.answers[1].size() == 3u);
}

namespace {

/// A first stage's batch, which gets tokens late, and a client that comes, goes and guesses.
class late_tokens {
public:
  late_tokens(std::uint32_t seed, std::uint32_t stages)
      : random_(seed), stages_(stages), bench_(few_blocks(stages)), first_(1, stage_place::first),
        middle_(1, stage_place::middle) {}

  void go() {
    for (int i = 0; i < 3000; ++i)
      event(static_cast<int>(random_() % 9));
    const auto left = [&] { return bench_.plan.counts().running + bench_.plan.counts().waiting; };
    for (int i = 0; i < 100000 && left() > 0; ++i)
      event(2 + static_cast<int>(random_() % 7));
    BOOST_TEST_REQUIRE(left() == 0u, "everybody gets on");
    for (const auto& [id, length] : wanted_)
      BOOST_TEST(bench_.answers[id].size() == length);
    BOOST_TEST(bench_.owned() == 0u);
  }

  std::uint64_t preemptions() const { return bench_.plan.counts().preemptions; }
  std::uint64_t waits() const { return waits_; }

private:
  static planner_bench::settings few_blocks(std::uint32_t stages) {
    auto s = small(20, 40, 6);
    s.plan.stages = stages;
    s.plan.steps_ahead = stages + 1;
    s.plan.draft = [](std::span<draft_query> queries) {
      for (auto& query : queries) // Each third one is wrong.
        for (std::uint32_t i = 0; i < query.most; ++i) {
          const auto position = static_cast<std::uint32_t>(query.prompt.size() + query.answer.size()) + i;
          query.guesses.push_back(position % 3 == 0 ? 7 : static_cast<token_id>(100000 * query.sequence + position));
        }
    };
    return s;
  }

  void event(int kind) {
    if (kind == 0 && wanted_.size() + bench_.plan.counts().running < 200) {
      const auto id = ++next_id_;
      const std::uint32_t answer = 1 + random_() % 60;
      prompts_[id] = 1 + random_() % 70;
      bench_.add(id, prompts_[id], answer, [&](new_sequence& s) { s.max_drafts = random_() % 3 == 0 ? 3 : 0; });
      wanted_[id] = answer;
    } else if (kind == 1 && next_id_ > 0 && random_() % 4 == 0) {
      const auto id = 1 + random_() % next_id_;
      if (bench_.plan.remove(id)) {
        wanted_.erase(id);
        bench_.exchange();
      }
    } else if (kind <= 3 && bench_.in_flight.size() <= stages_) {
      if (auto step = bench_.step())
        at_first_.push_back(*step);
    } else if (kind <= 5 && !at_first_.empty()) {
      compute_first();
    } else if (kind == 6 && !at_last_.empty()) {
      auto result = bench_.result_of(at_last_.front());
      at_last_.pop_front();
      tokens_.push_back({result.epoch, result.step, result.sampled, result.accepted});
      ++results_;
    } else if (kind == 7 && !tokens_.empty()) {
      BOOST_TEST_REQUIRE(first_.take_tokens(tokens_.front()).has_value());
      tokens_.pop_front();
    } else if (kind == 8 && results_ > 0) {
      bench_.answer();
      --results_;
    }
  }

  void compute_first() {
    const auto& step = at_first_.front();
    if (!first_.has_tokens_for(step)) {
      ++waits_;
      return;
    }
    const auto rows = first_.apply(step);
    BOOST_REQUIRE_MESSAGE(rows, rows.error().message);
    BOOST_TEST_REQUIRE(middle_.apply(step).has_value());
    for (std::size_t r = 0; r < step.rows.size(); ++r) {
      const auto& span = (*rows)->spans[r];
      const auto id = bench_.names.at(span.slot);
      for (std::uint32_t i = 0; i < span.count - step.rows[r].drafts; ++i) {
        const auto position = span.first_position + i;
        const auto right =
          position < prompts_[id] ? static_cast<token_id>(1000 * id + position) : bench_.next(id, position);
        BOOST_TEST_REQUIRE((*rows)->tokens[span.first_row + i] == right);
      }
    }
    at_last_.push_back(step);
    at_first_.pop_front();
  }

  std::mt19937 random_;
  std::uint32_t stages_;
  planner_bench bench_;
  batch_state first_, middle_;
  std::deque<step_changes> at_first_, at_last_;
  std::deque<step_tokens> tokens_;
  std::map<sequence_id, std::uint32_t> wanted_, prompts_;
  sequence_id next_id_ = 0;
  std::uint64_t waits_ = 0;
  int results_ = 0;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_first_stage_computes_with_the_right_tokens_however_late_they_come) {
  std::uint64_t preemptions = 0, waits = 0;
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    late_tokens walk(seed, 2 + seed % 2);
    walk.go();
    preemptions += walk.preemptions();
    waits += walk.waits();
  }
  BOOST_TEST(preemptions > 0u);
  BOOST_TEST(waits > 0u);
}

BOOST_AUTO_TEST_CASE(one_stage_has_all_that_decode_in_every_step) {
  auto s = staged(1);
  planner_bench b(s);
  add_many(b, 64);
  for (int i = 0; i < 10; ++i) {
    while (b.in_flight.size() < 2)
      BOOST_TEST_REQUIRE(b.step().has_value());
    BOOST_TEST(b.in_flight.back().rows.size() == 64u);
    b.answer();
  }
}

BOOST_AUTO_TEST_SUITE_END()
