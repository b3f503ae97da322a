#include "model/answers.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/step.hpp"

namespace troupe {

answers::answers(const std::shared_ptr<const tokenizer>& tokens, answers_options options)
    : options_(std::move(options)) {
  choices_.reserve(options_.sequences);
  for (std::uint32_t i = 0; i < options_.sequences; ++i)
    choices_.emplace_back(answer_text(tokens, options_.stop, options_.min_tokens));
}

void answers::echo(const std::string& prompt) {
  for (auto& a : choices_)
    a.unsent = prompt;
}

void answers::take_prompt_logprobs(std::uint32_t position, std::span<token_logprob> logprobs, deltas& out) {
  // The first token of a prompt has none, so the first one is that of position 1.
  const auto known = prompt_logprobs_ + 1;
  if (position > known || position + logprobs.size() <= known)
    return;
  const auto fresh = logprobs.subspan(known - position);
  prompt_logprobs_ += static_cast<std::uint32_t>(fresh.size());
  auto& to = ranked() ? unsent_prompt_logprobs_ : delta_for(0, 0, out).prompt_logprobs;
  to.insert(to.end(), std::make_move_iterator(fresh.begin()), std::make_move_iterator(fresh.end()));
}

token_delta& answers::delta_for(std::uint32_t choice, std::uint32_t position, deltas& out) {
  if (!out.empty())
    if (auto& last = out.back(); last.id == options_.id && last.choice == choice)
      return last;
  auto& fresh = out.emplace_back();
  fresh.id = options_.id;
  fresh.choice = choice;
  fresh.position = position;
  if (!ranked()) // An answer's first delta has the echo.
    fresh.text = std::exchange(choices_[choice].unsent, {});
  return fresh;
}

answers::outcome answers::take(std::uint32_t choice, std::uint32_t index, token_id token,
                               std::optional<finish_reason> finished, token_logprob* logprob, deltas& out) {
  auto& a = choices_[choice];
  if (a.reason || index != a.tokens.size())
    return outcome::stale;
  if (token == no_token)
    return end_without_tokens(choice, *finished, out);
  a.tokens.push_back(token);
  ++generated_;
  if (logprob) {
    a.logprob_sum += logprob->logprob;
    ++a.logprob_count;
  }
  const auto text_of = [&](std::string& text) {
    if (finished != finish_reason::stop)
      a.text.feed(token, text);
    if (a.text.stopped())
      end(a, finish_reason::stop, text);
    else if (finished)
      end(a, *finished, text);
  };
  if (ranked()) {
    if (logprob && options_.logprobs)
      a.logprobs.push_back(std::move(*logprob));
    text_of(a.unsent);
  } else {
    auto& delta = delta_for(choice, index, out);
    delta.token_ids.push_back(token);
    if (logprob && options_.logprobs)
      delta.logprobs.push_back(std::move(*logprob));
    text_of(delta.text);
  }
  if (!a.reason)
    return outcome::goes_on;
  if (a.text.stopped())
    a.stopped_by = a.text.stopped_by();
  else if (finished == finish_reason::stop)
    a.stopped_by = token;
  return finished ? outcome::ended : outcome::stopped;
}

/// Its prompt is all of it: what there is of an echo is sent now.
answers::outcome answers::end_without_tokens(std::uint32_t choice, finish_reason reason, deltas& out) {
  auto& a = choices_[choice];
  if (!ranked() && !a.unsent.empty())
    delta_for(choice, 0, out);
  a.reason = reason;
  ++ended_;
  return outcome::ended;
}

void answers::end(answer& a, finish_reason reason, std::string& text) {
  a.text.finish(text);
  a.reason = a.text.stopped() ? finish_reason::stop : reason; // What was held back may have completed a stop string.
  ++ended_;
}

std::optional<float> answers::mean_logprob(const answer& a) const {
  if (a.logprob_count == 0)
    return std::nullopt;
  return static_cast<float>(a.logprob_sum / a.logprob_count);
}

std::vector<std::uint32_t> answers::ranking() const {
  std::vector<std::uint32_t> order(choices_.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto score = [&](std::uint32_t i) {
    return mean_logprob(choices_[i]).value_or(-std::numeric_limits<float>::infinity());
  };
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return score(a) > score(b); });
  order.resize(options_.n);
  return order;
}

void answers::finish(deltas& out) {
  if (!ranked() || !all_ended())
    return;
  std::uint32_t rank = 0;
  for (auto i : ranking()) {
    auto& a = choices_[i];
    auto& delta = delta_for(rank, 0, out);
    delta.token_ids = a.tokens;
    delta.text = std::move(a.unsent);
    delta.logprobs = std::move(a.logprobs);
    if (rank == 0)
      delta.prompt_logprobs = std::move(unsent_prompt_logprobs_);
    ++rank;
  }
}

std::vector<choice_end> answers::ends(finish_reason reason) const {
  std::vector<choice_end> result;
  if (ranked() && !all_ended())
    return result;
  const auto order = ranked() ? ranking() : std::vector<std::uint32_t>();
  for (std::uint32_t rank = 0; rank < std::min<std::size_t>(options_.n, choices_.size()); ++rank) {
    const auto& a = choices_[ranked() ? order[rank] : rank];
    result.push_back(
      {rank, a.reason.value_or(reason), static_cast<std::uint32_t>(a.tokens.size()), mean_logprob(a), a.stopped_by});
  }
  return result;
}

} // namespace troupe
