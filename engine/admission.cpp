#include "engine/admission.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace troupe {

namespace {

constexpr double memory_us = 10e6; ///< Of `leaving_rate`.

/// Seconds until so much has left; infinite if nothing ever leaves.
double seconds_until(double amount, const leaving_rate& rate, engine_time now) {
  return amount <= 0 ? 0 : amount / rate.per_second(now);
}

std::string of_at_most(std::uint64_t open, std::uint64_t most, const char* what) {
  return std::to_string(open) + " of at most " + std::to_string(most) + " " + what;
}

} // namespace

void leaving_rate::left(engine_time now, double amount) {
  if (!first_)
    first_ = last_ = now;
  sum_ = decayed(now) + amount;
  last_ = std::max(last_, now);
}

double leaving_rate::decayed(engine_time now) const {
  return now <= last_ ? sum_ : sum_ * std::exp(-static_cast<double>(now - last_) / memory_us);
}

double leaving_rate::per_second(engine_time now) const {
  if (!first_)
    return 0;
  // What was watched for a moment only says little: a tenth of a second counts as that much at least.
  const double watched_us = std::max(1e5, now <= *first_ ? 0.0 : static_cast<double>(now - *first_));
  const double weight_us = memory_us * -std::expm1(-watched_us / memory_us);
  return decayed(now) / weight_us * 1e6;
}

expected<ticket> admission_control::admit(owner_id owner, std::uint32_t tokens, std::uint32_t sequences,
                                          engine_time now) {
  if (draining_) {
    ++refused_;
    return fail(errc::unavailable, "The server takes no new requests: it ends when those that are open have ended.");
  }
  if (tokens > limits_.max_open_tokens || sequences > limits_.max_open_sequences || limits_.max_open_requests == 0) {
    ++refused_;
    return fail(errc::limit_exceeded, "A request of " + std::to_string(sequences) + " answers to about " +
                                        std::to_string(tokens) +
                                        " tokens is more than this server takes at all: ask for less.");
  }
  if (open_.size() >= limits_.max_open_requests || open_sequences_ + sequences > limits_.max_open_sequences ||
      open_tokens_ + tokens > limits_.max_open_tokens)
    return refuse(tokens, sequences, now);
  const ticket granted{last_id_ + 1, sequences};
  last_id_ += sequences;
  open_.insert(granted.id, {owner, tokens, sequences});
  open_sequences_ += sequences;
  open_tokens_ += tokens;
  return granted;
}

tl::unexpected<error> admission_control::refuse(std::uint32_t tokens, std::uint32_t sequences, engine_time now) {
  ++refused_;
  // Whoever was refused before will be there too: each is told when there will be room for all of them.
  expected_back_ = std::min(expected_back_ + 1, 1e6);
  const auto over = [](std::uint64_t open, std::uint64_t more, std::uint64_t most) {
    return open + more > most ? static_cast<double>(open + more - most) : 0.0;
  };
  double seconds = unknown_retry_ms / 1000.0;
  if (requests_left_.per_second(now) > 0)
    seconds =
      std::max({seconds_until(expected_back_, requests_left_, now),
                seconds_until(over(open_sequences_, sequences, limits_.max_open_sequences), sequences_left_, now),
                seconds_until(over(open_tokens_, tokens, limits_.max_open_tokens), tokens_left_, now)});
  const auto retry_ms =
    static_cast<std::uint32_t>(std::clamp(std::ceil(seconds * 1000), double{min_retry_ms}, double{max_retry_ms}));
  error why{errc::queue_full,
            "The server is full: it has " + of_at_most(open_.size(), limits_.max_open_requests, "open requests, ") +
              of_at_most(open_sequences_, limits_.max_open_sequences, "answers, and prompts of about ") +
              of_at_most(open_tokens_, limits_.max_open_tokens, "tokens") + ". Try again in " +
              std::to_string(retry_ms) + " ms."};
  why.retry_after_ms = retry_ms;
  return tl::unexpected<error>(std::move(why));
}

bool admission_control::count_prompt(sequence_id id, std::uint32_t tokens) {
  auto* found = open_.find(id);
  if (!found)
    return false;
  open_tokens_ += tokens;
  open_tokens_ -= found->tokens;
  found->tokens = tokens;
  return true;
}

std::optional<ticket> admission_control::fresh_ids(sequence_id id) {
  const auto* found = open_.find(id);
  if (!found)
    return std::nullopt;
  const ticket fresh{last_id_ + 1, found->sequences};
  last_id_ += found->sequences;
  return fresh;
}

bool admission_control::rename(sequence_id id, ticket fresh) {
  const auto* found = open_.find(id);
  if (!found)
    return false;
  const auto same = *found;
  open_.erase(id);
  return open_.insert(fresh.id, same);
}

void admission_control::settle(const request& ended, engine_time now) {
  open_sequences_ -= ended.sequences;
  open_tokens_ -= ended.tokens;
  requests_left_.left(now, 1);
  sequences_left_.left(now, ended.sequences);
  tokens_left_.left(now, ended.tokens);
  expected_back_ = std::max(0.0, expected_back_ - 1);
}

bool admission_control::leave(sequence_id id, engine_time now) {
  const auto* found = open_.find(id);
  if (!found)
    return false;
  settle(*found, now);
  return open_.erase(id);
}

std::vector<sequence_id> admission_control::owner_died(owner_id owner, engine_time now) {
  std::vector<sequence_id> gone;
  open_.for_each([&](sequence_id id, const request& r) {
    if (r.owner == owner)
      gone.push_back(id);
  });
  for (auto id : gone)
    leave(id, now);
  return gone;
}

} // namespace troupe
