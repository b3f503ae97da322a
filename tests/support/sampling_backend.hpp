// A backend that samples by itself and runs ahead, for tests of whoever asks it: another one's logits, sampled here.
//
// What is begun is computed as late as may be, or as early, in turns; and of what it is given with a step it keeps nothing that it
// may not.
#pragma once

#include <algorithm>
#include <atomic>
#include <deque>

#include "model/backend.hpp"
#include "model/sampling/logprobs.hpp"
#include "model/sampling/sampler.hpp"

namespace troupe::test {

class sampling_backend final : public backend {
public:
  using counter = std::shared_ptr<std::atomic<std::uint64_t>>;

  /// ahead: counts steps that were begun before the one before them had ended. most_looks: so often it says that a step is not done,
  /// while no other has begun.
  sampling_backend(std::unique_ptr<backend> real, std::uint32_t vocabulary,
                   counter ahead = std::make_shared<std::atomic<std::uint64_t>>(0), unsigned most_looks = 2)
      : real_(std::move(real)), vocabulary_(vocabulary), ahead_(std::move(ahead)), most_looks_(most_looks),
        room_(vocabulary) {}

  std::string_view device() const override { return real_->device(); }
  std::string_view name() const override { return real_->name(); }
  memory_account memory() const override { return real_->memory(); }
  std::string_view kv_type() const override { return real_->kv_type(); }
  std::size_t block_bytes(kv_group group) const override { return real_->block_bytes(group); }
  expected<void> read_block(kv_group group, block_id block, std::span<std::byte> to) const override {
    compute_all();
    return real_->read_block(group, block, to);
  }
  expected<void> write_block(kv_group group, block_id block, std::span<const std::byte> from) override {
    compute_all();
    return real_->write_block(group, block, from);
  }
  expected<void> copy_block(kv_group group, block_id from, block_id to) override {
    compute_all();
    return real_->copy_block(group, from, to);
  }

  bool samples(std::span<const sampling_request> asked) const override {
    return std::ranges::none_of(asked, [](const auto& each) { return each.parameters->needs_history(); });
  }
  bool runs_ahead() const override { return true; }

  expected<void> forward(const forward_batch& batch, std::span<float> logits) override {
    if (!begun_.empty())
      return fail(errc::internal, "A step is computed as a whole before those that were begun have ended.");
    if (batch.sampling.empty())
      return real_->forward(batch, logits);
    auto plain = batch;
    plain.sampling = {};
    logits_.resize(std::size_t{vocabulary_} * batch.logit_rows.size());
    if (auto done = real_->forward(plain, logits_); !done)
      return done;
    choose(batch.sampling, batch.chosen);
    return {};
  }

  expected<void> begin(const forward_batch& batch) override {
    if (begun_.size() == 2 || batch.given_logits() > 0 || !batch.hidden_rows.empty())
      return fail(errc::internal, "A step cannot be begun.");
    *ahead_ += begun_.size();
    begun_.emplace_back(batch);
    if (++steps_ % 2 == 0)
      compute_all();
    return {};
  }

  expected<bool> is_done() override {
    if (begun_.size() < 2 && ++looks_ <= most_looks_)
      return false;
    looks_ = 0;
    return true;
  }

  expected<void> end() override {
    compute_all();
    auto first = std::move(begun_.front());
    begun_.pop_front();
    std::ranges::move(first.chosen, first.wanted.begin());
    return first.done;
  }

private:
  /// All that a step needs but what may be asked for until its end.
  struct begun_step {
    explicit begun_step(const forward_batch& batch)
        : tokens(batch.tokens.begin(), batch.tokens.end()), spans(batch.spans.begin(), batch.spans.end()),
          logit_rows(batch.logit_rows.begin(), batch.logit_rows.end()), asked(batch.sampling), wanted(batch.chosen),
          chosen(batch.logit_rows.size()) {
      for (auto& span : spans)
        tables.emplace_back(span.tables.begin(), span.tables.end());
      for (std::size_t i = 0; i < spans.size(); ++i) {
        spans[i].tables = tables[i];
        spans[i].blocks = tables[i].front();
      }
    }
    begun_step(begun_step&&) = default;

    std::vector<token_id> tokens;
    std::deque<std::vector<std::vector<block_id>>> tables;
    std::vector<batch_span> spans;
    std::vector<std::uint32_t> logit_rows;
    std::span<const sampling_request> asked;
    std::span<chosen_token> wanted;
    std::vector<chosen_token> chosen;
    bool computed = false;
    expected<void> done{};
  };

  void compute_all() const {
    for (auto& step : begun_)
      if (!step.computed)
        step.done = compute(step);
  }

  expected<void> compute(begun_step& step) const {
    step.computed = true;
    for (auto& token : step.tokens)
      if (is_awaited(token))
        token = last_.at(static_cast<std::size_t>(awaited_token(0) - token));
    logits_.resize(std::size_t{vocabulary_} * step.logit_rows.size());
    if (auto done = real_->forward({step.tokens, step.spans, step.logit_rows}, logits_); !done)
      return done;
    choose(step.asked, step.chosen);
    return {};
  }

  void choose(std::span<const sampling_request> asked, std::span<chosen_token> chosen) const {
    last_.assign(chosen.size(), 0);
    for (const auto& each : asked) {
      auto& out = chosen[each.logits];
      choose(each, std::span(logits_).subspan(std::size_t{each.logits} * vocabulary_, vocabulary_), out);
      last_[each.logits] = out.token.value_or(0);
    }
  }

  void choose(const sampling_request& asked, std::span<const float> row, chosen_token& out) const {
    const std::shared_ptr<const sequence_sampling> parameters(std::shared_ptr<void>(), asked.parameters);
    out.token = asked.given;
    if (asked.given == no_token)
      out.token = sequence_sampler(parameters, asked.prompt_tokens).sample(row, asked.position, room_);
    if (!out.token || asked.logprobs() < 0)
      return;
    if (auto logprob = logprob_of(row, *out.token, static_cast<std::uint32_t>(asked.logprobs()), room_))
      out.logprob = std::move(*logprob);
    else
      out.token = tl::unexpected(logprob.error());
  }

  std::unique_ptr<backend> real_;
  std::uint32_t vocabulary_;
  counter ahead_;
  unsigned most_looks_;
  mutable std::vector<float> logits_;
  mutable sampling_workspace room_;
  mutable std::deque<begun_step> begun_;
  mutable std::vector<token_id> last_; ///< Chosen in the last step that was computed, [logit rows].
  std::uint64_t steps_ = 0;
  unsigned looks_ = 0;
};

} // namespace troupe::test
