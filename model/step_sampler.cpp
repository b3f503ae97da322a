#include "model/step_sampler.hpp"

#include <algorithm>

#include "model/sampling/logprobs.hpp"

namespace troupe {

namespace {

/// Logits that it is sampled from, if all of its drafts are right.
std::uint32_t logits_of(const batch_state::rows::sample& s) {
  return static_cast<std::uint32_t>(s.drafts.size()) + 1;
}

} // namespace

step_sampler::step_sampler(std::uint32_t vocabulary) : vocabulary_(vocabulary) {
  rooms_.emplace_back(vocabulary);
}

void step_sampler::join(const sequence_joined& joined) {
  if (joined.slot >= samplers_.size())
    samplers_.resize(joined.slot + 1);
  const auto history = joined.history ? std::span<const token_id>(*joined.history) : std::span<const token_id>();
  samplers_[joined.slot] = sequence_sampler(joined.sampling, joined.prompt_tokens, history);
}

bool step_sampler::can_run_ahead(const step_changes& step, const backend& device) {
  if (!device.runs_ahead() || step.snapshot || !step.joined.empty() || !step.left.empty())
    return false;
  ahead_.clear();
  for (const auto& row : step.rows) {
    if (row.slot >= samplers_.size() || !samplers_[row.slot])
      return false; // Whoever applies it says what is wrong.
    const auto& parameters = samplers_[row.slot].parameters();
    if (row.drafts > 0 || row.prompt_logprobs || parameters.pooling != pooling::none ||
        (row.samples && parameters.needs_history()))
      return false;
    if (row.samples)
      ahead_.push_back(samplers_[row.slot].request(0, row.first_position + row.count));
  }
  return device.samples(ahead_);
}

void step_sampler::prepare(const batch_state::rows& rows, const backend& device, forward_batch& batch) {
  batch.own_logits = own_logits(rows, device);
  auto& asked = asked_[prepared_++ % asked_.size()];
  ask(rows, device, asked);
  batch.sampling = asked.requests;
  batch.chosen = asked.chosen;
}

/// For everything that the step samples or judges, or for nothing.
void step_sampler::ask(const batch_state::rows& rows, const backend& device, device_step& asked) {
  asked.requests.clear();
  asked.chosen.clear();
  bool can = true;
  for (const auto& s : rows.samples)
    can = can && ask(s, asked);
  for (const auto& part : rows.prompt_parts)
    for (std::uint32_t i = 0; i < part.tokens.size(); ++i) {
      asked.requests.push_back(samplers_[part.slot].request(part.first_logit + i, part.position + i));
      asked.requests.back().given = part.tokens[i];
    }
  if (can && device.samples(asked.requests))
    asked.chosen.resize(rows.logit_rows.size());
  else
    asked.requests.clear();
}

/// Of all its logits, as if every draft were right. False: what comes after a draft depends on it by more than its logits.
bool step_sampler::ask(const batch_state::rows::sample& s, device_step& asked) {
  const auto& sampler = samplers_[s.slot];
  for (std::uint32_t l = 0; l < logits_of(s); ++l) {
    if (!sampler.knows_all_before(s.position + l))
      return false;
    asked.requests.push_back(sampler.request(s.first_logit + l, s.position + l));
  }
  return true;
}

std::span<const std::uint32_t> step_sampler::own_logits(const batch_state::rows& rows, const backend& device) {
  own_logits_.clear();
  if (outcomes_.size() < rows.samples.size())
    outcomes_.resize(rows.samples.size());
  const bool shared = device.own_vocabulary().ranks > 1;
  std::size_t proposals = 0;
  for (std::size_t i = 0; i < rows.samples.size(); ++i) {
    const auto& s = rows.samples[i];
    const auto& sampler = samplers_[s.slot];
    auto& out = outcomes_[i];
    out.each = shared && sampler.parameters().logprobs < 0 ? sampler.proposals() : 0;
    out.first = proposals;
    proposals += std::size_t{out.each} * logits_of(s);
    for (std::uint32_t l = 0; out.each > 0 && l < logits_of(s); ++l)
      own_logits_.push_back(s.first_logit + l);
  }
  mine_.assign(proposals, {});
  return own_logits_;
}

row_part step_sampler::part_of(const computed& step, std::uint32_t logit, std::uint32_t begin,
                               std::uint32_t end) const {
  row_part out{step.logits.subspan(std::size_t{logit} * vocabulary_ + begin, end - begin),
               static_cast<token_id>(begin)};
  if (!step.block_largest.empty()) {
    const auto from = std::size_t{logit} * sampling::blocks_of(vocabulary_) + begin / sampling::block_tokens;
    out.block_largest = step.block_largest.subspan(from, sampling::blocks_of(end - begin));
  }
  return out;
}

void step_sampler::propose(const batch_state::rows::sample& s, const computed& step, sampling_workspace& room,
                           outcome& out) {
  auto& sampler = samplers_[s.slot];
  for (std::uint32_t l = 0; l < logits_of(s) && !out.failed; ++l) {
    const auto part = part_of(step, s.first_logit + l, step.own.begin, step.own.end);
    const auto to = std::span(mine_).subspan(out.first + std::size_t{l} * out.each, out.each);
    if (auto done = sampler.propose(part, s.position + l, room, to); !done)
      out.failed = std::move(done.error());
    else if (l < s.drafts.size())
      sampler.accept(s.drafts[l]);
  }
  if (!s.drafts.empty())
    sampler.truncate(s.position);
}

expected<void> step_sampler::exchange(backend& device, std::span<const batch_state::rows::sample> samples) {
  const std::size_t ranks = device.own_vocabulary().ranks;
  all_.resize(mine_.size() * ranks);
  by_row_.resize(all_.size());
  if (auto done = device.exchange(std::as_bytes(std::span(mine_)), std::as_writable_bytes(std::span(all_))); !done)
    return done;
  auto to = by_row_.begin();
  for (std::size_t i = 0; i < samples.size(); ++i)
    for (std::uint32_t l = 0; l < logits_of(samples[i]); ++l)
      for (std::size_t r = 0; r < ranks; ++r)
        to = std::copy_n(all_.data() + r * mine_.size() + outcomes_[i].first + std::size_t{l} * outcomes_[i].each,
                         outcomes_[i].each, to);
  return {};
}

expected<token_id> step_sampler::take(const batch_state::rows::sample& s, std::uint32_t accepted,
                                      const computed& step, sampling_workspace& room, const outcome& out) const {
  const auto& sampler = samplers_[s.slot];
  const auto position = s.position + accepted;
  if (!step.chosen.empty())
    return step.chosen[s.first_logit + accepted].token;
  if (out.each > 0) {
    const std::size_t count = std::size_t{step.own.ranks} * out.each;
    return sampler.decide(std::span(by_row_).subspan(out.first * step.own.ranks + accepted * count, count), position,
                          room);
  }
  const auto row = part_of(step, s.first_logit + accepted, 0, vocabulary_);
  // Of gathered rows nobody has looked at all parts.
  return sampler.sample(row.logits, position, room, {},
                        step.own.ranks > 1 ? std::span<const float>() : row.block_largest);
}

expected<token_logprob> step_sampler::judge(const computed& step, std::uint32_t logit, token_id token,
                                            std::int32_t top, sampling_workspace& room) {
  if (step.chosen.empty())
    return logprob_of(part_of(step, logit, 0, vocabulary_).logits, token, static_cast<std::uint32_t>(top), room);
  auto& chosen = step.chosen[logit];
  return chosen.token.map([&](token_id) { return std::move(chosen.logprob); });
}

/// Samples after a row, and after each draft that was right. What makes it impossible is the sequence's own: parameters
/// that leave no token, or logits that are no numbers. Rows are of different sequences, so threads share nothing here.
void step_sampler::sample_row(const batch_state::rows::sample& s, const computed& step, sampling_workspace& room,
                              batch_state& batch, std::uint64_t number, outcome& out) {
  auto& sampler = samplers_[s.slot];
  const auto top = sampler.parameters().logprobs;
  out.tokens.clear();
  out.logprobs.clear();
  for (std::uint32_t accepted = 0;; ++accepted) {
    const auto token = out.failed ? tl::unexpected(*out.failed) : take(s, accepted, step, room, out);
    if (!token) {
      out.failed = token.error();
    } else if (top >= 0) {
      if (auto logprob = judge(step, s.first_logit + accepted, *token, top, room))
        out.logprobs.push_back(std::move(*logprob));
      else
        out.failed = std::move(logprob.error());
    }
    out.tokens.push_back(out.failed ? no_token : *token);
    const auto goes_on_from =
      out.failed ? token_id{0} : *token; // In a step in flight, whose rows for it nobody sees.
    sampler.accept(goes_on_from);
    batch.sampled(s.slot, number, goes_on_from);
    if (out.failed || accepted == s.drafts.size() || s.drafts[accepted] != *token)
      return;
  }
}

expected<void> step_sampler::sample(const batch_state::rows& rows, std::span<const float> logits, backend& device,
                                    batch_state& batch, step_result& result) {
  const computed step{logits, device.largest_logits(), device.own_vocabulary(),
                      asked_[sampled_++ % asked_.size()].chosen};
  const auto count = static_cast<std::uint32_t>(rows.samples.size());
  for (std::uint32_t i = 0; i < count; ++i)
    outcomes_[i].failed.reset();
  while (rooms_.size() < std::min(count, device.threads()))
    rooms_.emplace_back(vocabulary_);
  if (!own_logits_.empty()) {
    device.for_each(count, [&](std::uint32_t index, unsigned thread) {
      if (outcomes_[index].each > 0)
        propose(rows.samples[index], step, rooms_[thread], outcomes_[index]);
    });
    if (auto done = exchange(device, rows.samples); !done)
      return done;
  }
  device.for_each(count, [&](std::uint32_t index, unsigned thread) {
    sample_row(rows.samples[index], step, rooms_[thread], batch, result.step, outcomes_[index]);
  });
  for (std::uint32_t i = 0; i < count; ++i) {
    auto& row = outcomes_[i];
    result.sampled.insert(result.sampled.end(), row.tokens.begin(), row.tokens.end());
    result.accepted.push_back(static_cast<std::uint16_t>(row.tokens.size() - 1));
    if (!row.logprobs.empty())
      result.logprobs.push_back({rows.samples[i].row, rows.samples[i].position, std::move(row.logprobs)});
    if (row.failed)
      result.failures.push_back({rows.samples[i].row, std::move(*row.failed)});
  }
  for (const auto& part : rows.prompt_parts)
    judge_prompt(part, step, result);
  return {};
}

/// Logprobs of the tokens that the prompt itself has.
void step_sampler::judge_prompt(const batch_state::rows::prompt_part& part, const computed& step,
                                step_result& result) {
  const auto top = samplers_[part.slot].parameters().prompt_logprobs;
  row_logprobs logprobs{part.row, part.position, {}};
  for (std::uint32_t i = 0; i < part.tokens.size(); ++i) {
    auto logprob = judge(step, part.first_logit + i, part.tokens[i], top, rooms_.front());
    if (!logprob) {
      result.failures.push_back({part.row, std::move(logprob.error())});
      return;
    }
    logprobs.tokens.push_back(std::move(*logprob));
  }
  result.prompt_logprobs.push_back(std::move(logprobs));
}

} // namespace troupe
