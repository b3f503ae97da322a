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
float look_at(std::span<const float> row, std::span<const float> block_largest, sampling_workspace& room) {
  if (block_largest.empty())
    return room.kernels->scan(row.data(), row.size(), room.block_largest.data());
  std::ranges::copy(block_largest, room.block_largest.begin());
  return room.kernels->scan(block_largest.data(), block_largest.size(), room.block_weights.data());
}

} // namespace

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
  assert(block_largest.empty() || block_largest.size() == room.block_largest.size());
  if (s.needs_history() && history_.size() != position)
    return fail(errc::internal, "A token was asked for position " + std::to_string(position) +
                                  " of a sequence with " + std::to_string(history_.size()) + " tokens.");
  const auto row = process(logits, position, mask, room.row);
  const bool hides = !mask.empty() || !s.allowed_tokens.empty(), changed = row.data() != logits.data();
  const bool damaged = hides && look_at(logits, block_largest, room) == infinity;
  const auto largest = look_at(row, changed ? std::span<const float>() : block_largest, room);
  if (damaged || largest == infinity)
    return fail(errc::internal, "The model has computed something that is not a number: its file may be damaged.");
  if (largest == -infinity)
    return fail(errc::invalid_argument, "No token is left to sample: allowed_tokens, bad_words, min_tokens and the "
                                        "grammar exclude all that the model could go on with.");
  if (s.temperature <= 0.0f)
    return static_cast<token_id>(room.find_largest(row, largest));
  const auto left = sampling::survivors_of(s, row, largest, room);
  return sampling::draw(row, largest, left, s.temperature, noise_key(s, position), room);
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

std::span<const float> sequence_sampler::process(std::span<const float> logits, std::uint32_t position,
                                                 sampling::token_mask mask, std::span<float> row) const {
  if (!changes_logits(mask, position))
    return logits;
  sampling::allow(logits, sampling_->allowed_tokens, mask, row);
  sampling::ban_words(sampling_->bad_words, history_, row);
  if (too_short_to_end(position))
    sampling::ban(sampling_->end_tokens, row);
  sampling::add_bias(sampling_->logit_bias, row);
  sampling::penalise(*sampling_, history_, row);
  return row;
}

} // namespace troupe
