#include "model/sampling/sampler.hpp"

#include <algorithm>
#include <cassert>
#include <limits>
#include <string>

#include "model/sampling/draw.hpp"
#include "model/sampling/survivors.hpp"

namespace troupe {

namespace {

expected<void> check_field(std::span<const token_id> tokens, const char* field, std::uint32_t vocabulary) {
  for (const auto token : tokens)
    if (token < 0 || static_cast<std::uint32_t>(token) >= vocabulary)
      return fail(errc::invalid_argument, std::string(field) + " has the token " + std::to_string(token) +
                                            ", but the model's tokens are 0 to " + std::to_string(vocabulary - 1) +
                                            ".");
  return {};
}

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Fills `room.block_largest`, and returns the largest of all; +infinity where something is no number.
float find_largest(std::span<const float> row, std::span<const float> block_largest, sampling_workspace& room) {
  if (block_largest.empty())
    return room.kernels->scan(row.data(), row.size(), room.block_largest.data());
  std::ranges::copy(block_largest, room.block_largest.begin());
  return room.kernels->scan(block_largest.data(), block_largest.size(), room.block_weights.data());
}

/// Whether there is anything to sample from, by the largest logit.
expected<void> check_largest(float largest) {
  if (largest == infinity)
    return tl::unexpected(damaged_logits());
  if (largest == -infinity)
    return tl::unexpected(no_token_left());
  return {};
}

} // namespace

error damaged_logits() {
  return {errc::internal, "The model has computed something that is not a number: its file may be damaged."};
}

error no_token_left() {
  return {errc::invalid_argument, "No token is left to sample: allowed_tokens, bad_words, min_tokens and the grammar "
                                  "exclude all that the model could go on with."};
}

expected<void> check_tokens(const sequence_sampling& sampling, std::uint32_t vocabulary) {
  for (const auto& b : sampling.logit_bias)
    if (auto ok = check_field({&b.token, 1}, "logit_bias", vocabulary); !ok)
      return ok;
  for (const auto& word : sampling.bad_words)
    if (auto ok = check_field(word, "bad_words", vocabulary); !ok)
      return ok;
  if (auto ok = check_field(sampling.allowed_tokens, "allowed_tokens", vocabulary); !ok)
    return ok;
  return check_field(sampling.end_tokens, "stop_tokens", vocabulary);
}

sequence_sampler::sequence_sampler(std::shared_ptr<const sequence_sampling> sampling, std::uint32_t prompt_tokens,
                                   std::span<const token_id> history)
    : sampling_(std::move(sampling)), prompt_tokens_(prompt_tokens) {
  if (sampling_->needs_history())
    history_ = sampling::token_history(prompt_tokens, history);
}

expected<token_id> sequence_sampler::sample(std::span<const float> logits, std::uint32_t position,
                                            sampling_workspace& room, sampling::token_mask mask,
                                            std::span<const float> block_largest) const {
  const auto& s = *sampling_;
  if (logits.size() != room.row.size())
    return fail(errc::internal, "A row has " + std::to_string(logits.size()) + " logits, but the vocabulary " +
                                  std::to_string(room.row.size()) + " tokens.");
  const auto seen = look_at({logits, 0, block_largest}, position, room, mask);
  if (!seen)
    return tl::unexpected(seen.error());
  const auto [row, largest] = *seen;
  if (auto checked = check_largest(largest); !checked)
    return tl::unexpected(checked.error());
  if (s.temperature <= 0.0f)
    return static_cast<token_id>(room.find_largest(row, largest));
  const auto left = sampling::survivors_of(s, row, largest, room);
  return sampling::draw(row, 0, largest, left, s.temperature, noise_key(s, position), room).token;
}

auto sequence_sampler::look_at(const row_part& part, std::uint32_t position, sampling_workspace& room,
                               sampling::token_mask mask) const -> expected<processed> {
  const auto& s = *sampling_;
  assert(part.block_largest.empty() || part.block_largest.size() == sampling::blocks_of(part.logits.size()));
  if (!knows_all_before(position))
    return fail(errc::internal, "A token was asked for position " + std::to_string(position) +
                                  " of a sequence with " + std::to_string(history_.size()) + " tokens.");
  const auto row = process(part, position, mask, std::span(room.row).first(part.logits.size()));
  const bool hides = !mask.empty() || !s.allowed_tokens.empty(), changed = row.data() != part.logits.data();
  const bool damaged = hides && find_largest(part.logits, part.block_largest, room) == infinity;
  const auto largest = find_largest(row, changed ? std::span<const float>() : part.block_largest, room);
  return processed{row, damaged ? infinity : largest};
}

std::uint32_t sequence_sampler::proposals() const {
  if (sampling_->temperature <= 0.0f || !truncates())
    return 1;
  return sampling_->top_k <= max_proposals ? sampling_->top_k : 0; // 0 without top-k, too.
}

expected<void> sequence_sampler::propose(const row_part& part, std::uint32_t position, sampling_workspace& room,
                                         std::span<proposal> out, sampling::token_mask mask) const {
  const auto& s = *sampling_;
  assert(!out.empty() && out.size() == proposals() && part.first % sampling::block_tokens == 0);
  if (static_cast<std::size_t>(part.first) + part.logits.size() > room.row.size())
    return fail(errc::internal, "A part of a row ends after the vocabulary, which has " +
                                  std::to_string(room.row.size()) + " tokens.");
  const auto seen = look_at(part, position, room, mask);
  if (!seen)
    return tl::unexpected(seen.error());
  const auto [row, largest] = *seen;
  std::ranges::fill(out, proposal{});
  if (largest == infinity) {
    out.front().score = infinity;
  } else if (largest == -infinity) {
    return {};
  } else if (s.temperature <= 0.0f) {
    out.front() = {largest, part.first + static_cast<token_id>(room.find_largest(row, largest))};
  } else if (!truncates()) {
    const auto drawn = sampling::draw(row, part.first, largest, {}, s.temperature, noise_key(s, position), room);
    out.front() = {drawn.score, drawn.token};
  } else {
    sampling::keep_top_k(s.top_k, row, largest, room);
    for (std::size_t i = 0; i < room.kept.count; ++i)
      out[i] = {room.kept.values[i], part.first + room.kept.ids[i]};
  }
  return {};
}

expected<token_id> sequence_sampler::decide(std::span<const proposal> all, std::uint32_t position,
                                            sampling_workspace& room) const {
  const auto& s = *sampling_;
  auto& kept = room.kept;
  kept.count = 0;
  bool damaged = false;
  proposal best{.score = -infinity};
  for (const auto& one : all) {
    damaged = damaged || one.score == infinity;
    if (one.token == no_token)
      continue;
    if (one.score > best.score) // The first of equals has the lowest id, as its part is the first.
      best = one;
    kept.values[kept.count] = static_cast<float>(one.score);
    kept.ids[kept.count++] = one.token;
  }
  if (auto checked = check_largest(damaged ? infinity : best.token == no_token ? -infinity : 0.0f); !checked)
    return tl::unexpected(checked.error());
  if (s.temperature <= 0.0f || !truncates())
    return best.token;
  sampling::survivors_of_kept(s, static_cast<float>(best.score), room);
  return sampling::draw_kept(s.temperature, noise_key(s, position), room).token;
}

sampling_request sequence_sampler::request(std::uint32_t logits, std::uint32_t position) const {
  return {logits, sampling_.get(), position, prompt_tokens_, &history_};
}

bool sequence_sampler::knows_all_before(std::uint32_t position) const {
  return !sampling_->needs_history() || history_.size() == position;
}

void sequence_sampler::accept(token_id token) {
  if (sampling_->needs_history())
    history_.append(token);
}

void sequence_sampler::truncate(std::uint32_t tokens) {
  history_.truncate(tokens);
}

bool sequence_sampler::too_short_to_end(std::uint32_t position) const {
  return position < std::uint64_t{prompt_tokens_} + sampling_->min_tokens && !sampling_->end_tokens.empty();
}

bool sequence_sampler::changes_logits(sampling::token_mask mask, std::uint32_t position) const {
  return !mask.empty() || !sampling_->allowed_tokens.empty() || !sampling_->logit_bias.empty() ||
         sampling_->needs_history() || too_short_to_end(position);
}

std::span<const float> sequence_sampler::process(const row_part& part, std::uint32_t position,
                                                 sampling::token_mask mask, std::span<float> row) const {
  if (!changes_logits(mask, position))
    return part.logits;
  const sampling::processed_part out{row, part.first};
  sampling::allow(part.logits, sampling_->allowed_tokens, mask, out);
  sampling::ban_words(sampling_->bad_words, history_, out);
  if (too_short_to_end(position))
    sampling::ban(sampling_->end_tokens, out);
  sampling::add_bias(sampling_->logit_bias, out);
  sampling::penalise(*sampling_, history_, out);
  return row;
}

} // namespace troupe
