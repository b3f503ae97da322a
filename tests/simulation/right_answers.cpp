#include "tests/simulation/right_answers.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "engine/step.hpp"
#include "model/request_sampling.hpp"
#include "model/sampling/logprobs.hpp"
#include "model/sampling/sampler.hpp"
#include "tests/support/fake_backend.hpp"

namespace troupe::simulated {

namespace {

std::uint32_t vocabulary() {
  return tiny()->program.vocabulary;
}

sampling_workspace& room() {
  static sampling_workspace result(vocabulary());
  return result;
}

template <class T>
T must(expected<T> value) {
  if (!value)
    throw std::runtime_error(value.error().message);
  return std::move(*value);
}

/// A sequence by itself.
class alone {
public:
  alone(bool real, shared_sampling sampling, std::span<const token_id> prompt)
      : real_(real), sampling_(std::move(sampling)), keyed_(sampling_->seed, sampling_->choice),
        prompt_tokens_(prompt.size()) {
    if (real_)
      sampler_ = sequence_sampler(sampling_, static_cast<std::uint32_t>(prompt.size()), prompt);
    for (auto token : prompt)
      feed(token);
  }

  token_id next() {
    if (!real_)
      return next_token(keyed_, *sampling_, std::span(tokens_).subspan(prompt_tokens_));
    const auto token = sampler_.sample(logits(), static_cast<std::uint32_t>(tokens_.size()), room());
    if (!token && token.error().code == errc::invalid_argument)
      return no_token;
    return must(token);
  }

  token_logprob logprob(token_id token, std::int32_t top) {
    return real_ ? must(logprob_of(logits(), token, static_cast<std::uint32_t>(top), room()))
                 : plain_.logprob(token, top);
  }

  void accept(token_id token) {
    if (real_)
      sampler_.accept(token);
    feed(token);
  }

private:
  void feed(token_id token) {
    tokens_.push_back(token);
    keyed_.feed(token);
    plain_.feed(token);
  }

  std::span<const float> logits() {
    logits_.assign(vocabulary(), 0.0f);
    logits_[static_cast<std::size_t>(test::fake_next(tokens_, vocabulary()))] = 1.0f;
    return logits_;
  }

  bool real_;
  shared_sampling sampling_;
  fake_model keyed_, plain_{0, 0};
  std::size_t prompt_tokens_;
  sequence_sampler sampler_;
  std::vector<token_id> tokens_;
  std::vector<float> logits_;
};

shared_sampling sampling_of(const generate_request& request, std::uint32_t choice) {
  static const auto ends = tiny()->end_tokens();
  const auto words = must(encode_bad_words(*tiny()->tokens, request.sampling.bad_words));
  return std::make_shared<const sequence_sampling>(
    sequence_sampling_of(request.sampling, words, ends, choice, request.best_of > request.n));
}

/// Where the first stop string begins, and which it is: the shortest of several.
std::pair<std::size_t, std::string> first_stop(const std::vector<std::string>& stop, const std::string& text) {
  std::pair result(std::string::npos, std::string());
  for (const auto& each : stop)
    if (const auto at = text.find(each); at != std::string::npos)
      if (at < result.first || (at == result.first && each.size() < result.second.size()))
        result = {at, each};
  return result;
}

} // namespace

right_answer right_answer_to(const world_of_answers& world, const generate_request& request,
                             const std::vector<token_id>& prompt, std::uint32_t choice) {
  const auto sampling = sampling_of(request, choice);
  alone sequence(world.real_worker, sampling, prompt);
  detokenizer text(tiny()->tokens);
  right_answer answer;
  double sum = 0;
  auto stop = std::string::npos;
  while (request.embed == pooling::none && request.sampling.max_tokens > 0) {
    const auto token = sequence.next();
    answer.fails = token == no_token;
    if (answer.fails)
      break;
    answer.tokens.push_back(token);
    if (sampling->logprobs >= 0) {
      const auto logprob = sequence.logprob(token, sampling->logprobs);
      sum += logprob.logprob;
      if (request.sampling.logprobs >= 0)
        answer.logprobs.push_back(logprob);
    }
    sequence.accept(token);
    const auto count = answer.tokens.size();
    const bool last = count > sampling->min_tokens &&
                      std::count(sampling->end_tokens.begin(), sampling->end_tokens.end(), token) > 0;
    if (!last)
      text.feed(token, answer.text);
    const auto found = first_stop(request.sampling.stop, answer.text);
    stop = found.first;
    if (last || stop != std::string::npos)
      answer.reason = finish_reason::stop;
    if (stop != std::string::npos)
      answer.stopped_by = found.second;
    else if (last)
      answer.stopped_by = token;
    if (last || stop != std::string::npos || count >= request.sampling.max_tokens ||
        prompt.size() + count >= world.capacity)
      break;
  }
  if (stop == std::string::npos)
    answer.text += text.flush();
  answer.text.resize(std::min(answer.text.size(), stop));
  if (!answer.tokens.empty())
    answer.mean_logprob = static_cast<float>(sum / static_cast<double>(answer.tokens.size()));
  return answer;
}

std::vector<right_answer> given_answers(const generate_request& request, std::vector<right_answer> generated) {
  if (generated.size() > request.n)
    std::stable_sort(generated.begin(), generated.end(),
                     [](const auto& a, const auto& b) { return a.mean_logprob > b.mean_logprob; });
  generated.resize(request.n);
  return generated;
}

std::vector<token_logprob> right_prompt_logprobs(const world_of_answers& world, const generate_request& request,
                                                 const std::vector<token_id>& prompt) {
  alone sequence(world.real_worker, std::make_shared<const sequence_sampling>(), std::span(prompt).first(1));
  std::vector<token_logprob> result;
  for (auto token : std::span(prompt).subspan(1)) {
    result.push_back(sequence.logprob(token, request.sampling.prompt_logprobs));
    sequence.accept(token);
  }
  return result;
}

std::vector<float> right_embedding(const generate_request& request, const std::vector<token_id>& prompt) {
  return request.embed == pooling::none ? std::vector<float>() : test::fake_embedding(prompt, request.embed);
}

token_id guess_right(const world_of_answers& world, const shared_sampling& sampling,
                     std::span<const token_id> prompt, std::span<const token_id> answer) {
  alone sequence(world.real_worker, sampling, prompt);
  for (auto token : answer)
    sequence.accept(token);
  return sequence.next();
}

std::vector<token_id> ids_of(const prompt& what) {
  if (auto* tokens = std::get_if<prompt_tokens>(&what))
    return *tokens;
  auto ids = prefix_of(*tiny(), what);
  const auto text = must(prompt_text_of(*tiny(), what, 0)); // The tiny model's template prints no date.
  const auto encoded = tiny()->tokens->encode(text);
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  return ids;
}

std::string echo_of(const prompt& what) {
  std::string result;
  if (auto* tokens = std::get_if<prompt_tokens>(&what)) {
    detokenizer text(tiny()->tokens);
    for (auto token : *tokens)
      text.feed_bytes(tiny()->tokens->bytes_of(token), result);
    return result + text.flush();
  }
  for (const auto& part : must(prompt_text_of(*tiny(), what, 0)))
    result += part.text;
  return result;
}

} // namespace troupe::simulated
