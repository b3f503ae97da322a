// A planner with its two partners played straight: the real store answers reports, and steps are answered with the
// token that `next` names. What a step should be is each test's to say.
#pragma once

#include <boost/test/unit_test.hpp>

#include <deque>
#include <functional>
#include <map>

#include "engine/kv/store.hpp"
#include "engine/planner.hpp"

namespace troupe::test {

class planner_bench {
public:
  struct settings {
    planner_options plan;
    std::uint32_t blocks = 64;
    bool prefix_caching = true;
  };

  explicit planner_bench(settings s) : planner_bench(complete(std::move(s)), 0) {}

  /// Queues a sequence whose prompt is 0, 1, 2, ... plus `salt`.
  slot_id add(sequence_id id, std::uint32_t prompt, std::uint32_t answer,
              const std::function<void(new_sequence&)>& change = {}) {
    std::vector<token_id> tokens(prompt);
    for (std::uint32_t i = 0; i < prompt; ++i)
      tokens[i] = static_cast<token_id>(1000 * id + i);
    new_sequence s;
    s.id = id;
    s.prompt = std::make_shared<const std::vector<token_id>>(std::move(tokens));
    s.sampling = std::make_shared<const sequence_sampling>();
    s.max_tokens = answer;
    if (change)
      change(s);
    auto slot = plan.add(std::move(s), now);
    BOOST_REQUIRE_MESSAGE(slot, slot.error().message);
    names[*slot] = id;
    exchange();
    return *slot;
  }

  /// Reports and grants, until there is nothing to report.
  void exchange() {
    while (auto report = plan.take_report()) {
      auto grant = store.apply(*report);
      BOOST_REQUIRE_MESSAGE(grant, grant.error().message);
      plan.grant(std::move(*grant));
    }
    check();
  }

  std::optional<step_changes> step() {
    auto result = plan.plan(now);
    exchange();
    if (!result) { // It may have made room.
      result = plan.plan(now);
      exchange();
    }
    if (result)
      in_flight.push_back(*result);
    return result;
  }

  /// Answers the oldest step in flight.
  std::vector<token_event> answer() {
    BOOST_REQUIRE(!in_flight.empty());
    const auto result = result_of(in_flight.front());
    in_flight.pop_front();
    auto events = plan.take(result);
    BOOST_REQUIRE_MESSAGE(events, events.error().message);
    std::vector<token_event> copy(events->begin(), events->end());
    for (const auto& event : copy)
      answers[event.sequence].push_back(event.token);
    exchange();
    return copy;
  }

  /// What a worker says of this step.
  step_result result_of(const step_changes& step) const {
    step_result result;
    result.epoch = step.epoch;
    result.step = step.step;
    for (const auto& rows : step.rows)
      if (rows.samples) {
        auto position = rows.first_position + rows.count - rows.drafts;
        const auto first_draft = step.tokens.begin() + rows.offset + rows.given() - rows.drafts;
        std::uint16_t accepted = 0;
        for (;; ++accepted, ++position) {
          result.sampled.push_back(next(names.at(rows.slot), position));
          if (accepted == rows.drafts || *(first_draft + accepted) != result.sampled.back())
            break;
        }
        result.accepted.push_back(accepted);
      }
    return result;
  }

  /// Steps one at a time until nothing is left to do.
  void run() {
    for (int i = 0; i < 10000; ++i) {
      if (in_flight.empty() && !step())
        return;
      answer();
    }
    BOOST_FAIL("the planner goes on for ever");
  }

  void check() {
    auto planned = plan.check_integrity();
    BOOST_REQUIRE_MESSAGE(planned, (planned ? "" : planned.error().message));
    auto stored = store.check_integrity();
    BOOST_REQUIRE_MESSAGE(stored, (stored ? "" : stored.error().message));
  }

  std::uint32_t owned() const { return store.counts().at(0).owned; }

  engine_time now = 0;
  planner plan;
  kv_store store;
  std::deque<step_changes> in_flight;
  std::map<slot_id, sequence_id> names;
  std::map<sequence_id, std::vector<token_id>> answers;
  std::function<token_id(sequence_id, std::uint32_t)> next = [](sequence_id id, std::uint32_t position) {
    return static_cast<token_id>(100000 * id + position);
  };

private:
  planner_bench(const settings& s, int) : plan(s.plan), store(std::move(*kv_store::make(store_options(s)))) {
    exchange();
  }

  static settings complete(settings s) {
    if (s.plan.context_length == 0)
      s.plan.context_length = 4096;
    if (s.plan.groups.empty())
      s.plan.groups = {{s.blocks, 0}};
    return s;
  }

  static kv_store_options store_options(const settings& s) {
    kv_store_options options;
    options.groups = s.plan.groups;
    options.prefix_caching = s.prefix_caching;
    return options;
  }
};

inline planner_bench::settings small(std::uint32_t blocks = 64, std::uint32_t rows = 64,
                                     std::uint32_t sequences = 8) {
  planner_bench::settings s;
  s.blocks = blocks;
  s.plan.max_batched_tokens = rows;
  s.plan.max_sequences = sequences;
  return s;
}

inline const step_rows* rows_of(const step_changes& step, slot_id slot) {
  for (const auto& rows : step.rows)
    if (rows.slot == slot)
      return &rows;
  return nullptr;
}

inline std::uint32_t rows_in(const step_changes& step) {
  std::uint32_t sum = 0;
  for (const auto& rows : step.rows)
    sum += rows.count;
  return sum;
}

} // namespace troupe::test
