// Sequences that go through a worker's steps, and what a worker does with a step (actors/worker_steps.hpp), without its actor.
#pragma once

#include <boost/test/unit_test.hpp>

#include <deque>
#include <memory>
#include <vector>

#include "model/backend.hpp"
#include "model/step_sampler.hpp"

namespace troupe::gpu::test {

/// The steps that a scheduler would make of some sequences, of which each has a slot by its number.
class company {
public:
  static constexpr std::uint32_t blocks_each = 2;

  struct member {
    sequence_sampling sampling{};
    std::vector<token_id> prompt{};
  };

  explicit company(std::vector<member> members) : members_(std::move(members)) {
    for (const auto& each : members_)
      lengths_.push_back(static_cast<std::uint32_t>(each.prompt.size()));
  }

  std::vector<slot_id> all() const {
    std::vector<slot_id> out(members_.size());
    for (slot_id slot = 0; slot < out.size(); ++slot)
      out[slot] = slot;
    return out;
  }

  /// All join, each with its whole prompt.
  step_changes join() {
    auto out = begin();
    out.snapshot = true;
    for (slot_id slot = 0; slot < members_.size(); ++slot) {
      const auto& each = members_[slot];
      const auto sampling = std::make_shared<const sequence_sampling>(each.sampling);
      out.joined.push_back(
        {slot, slot + 1, sampling, lengths_[slot],
         sampling->needs_history() ? std::make_shared<const std::vector<token_id>>(each.prompt) : shared_tokens()});
      out.appended.push_back({slot, 0, static_cast<std::uint32_t>(out.blocks.size()), blocks_each});
      for (std::uint32_t i = 0; i < blocks_each; ++i)
        out.blocks.push_back(slot * blocks_each + i);
      step_rows rows{slot, 0, lengths_[slot], static_cast<std::uint32_t>(out.tokens.size())};
      rows.samples = true;
      rows.prompt_logprobs = each.sampling.prompt_logprobs >= 0;
      out.rows.push_back(rows);
      out.tokens.insert(out.tokens.end(), each.prompt.begin(), each.prompt.end());
    }
    return out;
  }

  /// Some go on from the token that was sampled last, with drafts behind it.
  step_changes go_on(std::span<const slot_id> who, const std::vector<token_id>& drafts = {}) {
    auto out = begin();
    for (const auto slot : who) {
      step_rows rows{slot, lengths_[slot] - 1, static_cast<std::uint32_t>(1 + drafts.size()),
                     static_cast<std::uint32_t>(out.tokens.size())};
      rows.drafts = static_cast<std::uint16_t>(drafts.size());
      rows.holds_last = rows.samples = true;
      out.rows.push_back(rows);
      out.tokens.insert(out.tokens.end(), drafts.begin(), drafts.end());
    }
    return out;
  }

  /// A step that it has made is computed; nobody has drafts in it.
  void take(const step_changes& step) {
    for (const auto& rows : step.rows)
      ++lengths_[rows.slot];
  }
  /// What was sampled in a step that it has made.
  void take(const step_changes& step, const step_result& result) {
    for (std::size_t i = 0; i < step.rows.size(); ++i)
      lengths_[step.rows[i].slot] += 1u + result.accepted[i];
  }

private:
  step_changes begin() {
    step_changes out;
    out.epoch = 1;
    out.step = ++steps_;
    return out;
  }

  std::vector<member> members_;
  std::vector<std::uint32_t> lengths_; ///< Tokens of each.
  std::uint64_t steps_ = 0;
};

/// Runs steps on a backend as a worker does.
class step_runner {
public:
  step_runner(backend& device, std::uint32_t vocabulary)
      : device_(device), vocabulary_(vocabulary), sampler_(vocabulary) {}

  step_result run(const step_changes& step) {
    const auto rows = prepare(step, false);
    std::vector<float> logits(std::size_t{vocabulary_} * batch_.given_logits());
    const auto computed = device_.forward(batch_, logits);
    BOOST_REQUIRE_MESSAGE(computed, computed.error().message);
    return result_of(step, rows, logits);
  }

  /// The first half of a step, which may run ahead of one that has not ended.
  void begin(const step_changes& step) {
    if (!begun_.empty())
      BOOST_REQUIRE(sampler_.can_run_ahead(step, device_));
    auto rows = prepare(step, !begun_.empty());
    const auto queued = device_.begin(batch_);
    BOOST_REQUIRE_MESSAGE(queued, queued.error().message);
    begun_.push_back({&step, std::move(rows)});
  }

  step_result end() {
    const auto first = std::move(begun_.front());
    begun_.pop_front();
    const auto ended = device_.end();
    BOOST_REQUIRE_MESSAGE(ended, ended.error().message);
    return result_of(*first.step, first.rows, {});
  }

  /// Of the device, in the last step; 0: it has given logits.
  std::size_t asked() const { return asked_; }

private:
  struct begun_step {
    const step_changes* step;
    batch_state::rows rows;
  };

  batch_state::rows prepare(const step_changes& step, bool ahead) {
    const auto applied = state_.apply(step, ahead);
    BOOST_REQUIRE_MESSAGE(applied, applied.error().message);
    const auto& rows = **applied;
    for (const auto& joined : step.joined)
      sampler_.join(joined);
    spans_.clear();
    for (const auto& s : rows.spans)
      spans_.push_back({s.first_row, s.count, s.first_position, s.tables[0], s.tables});
    batch_ = {rows.tokens, spans_, rows.logit_rows};
    sampler_.prepare(rows, device_, batch_);
    asked_ = batch_.sampling.size();
    return rows;
  }

  step_result result_of(const step_changes& step, const batch_state::rows& rows, std::span<const float> logits) {
    step_result out;
    out.step = step.step;
    BOOST_REQUIRE(sampler_.sample(rows, logits, device_, state_, out));
    return out;
  }

  backend& device_;
  std::uint32_t vocabulary_;
  batch_state state_;
  step_sampler sampler_;
  std::vector<batch_span> spans_;
  forward_batch batch_;
  std::deque<begun_step> begun_;
  std::size_t asked_ = 0;
};

} // namespace troupe::gpu::test
