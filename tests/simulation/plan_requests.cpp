// The requests of a world.
#include <algorithm>

#include "tests/simulation/plan.hpp"

namespace troupe::simulated {

request_drawing::request_drawing(dice& random, const world_plan& plan) : random_(random), plan_(plan) {
  for (auto& document : documents_)
    for (std::size_t i = 0; i < 512; ++i)
      document.push_back(plain_token());
}

planned_request request_drawing::request(request_id id, microseconds span, std::uint32_t usual_tokens) {
  planned_request result;
  auto& r = result.request;
  r.id = id;
  r.prompt = any_prompt();
  result.at = microseconds(random_.below(static_cast<std::uint64_t>(span.count()) + 1));
  r.sampling.max_tokens = random_.chance(10) ? 1 : random_.between(1, random_.chance(20) ? 4 * usual_tokens : usual_tokens);
  r.sampling.seed = random_.below(4);
  r.sampling.ignore_eos = random_.chance(30);
  if (random_.chance(15))
    r.sampling.min_tokens = random_.below(r.sampling.max_tokens + 1);
  if (random_.chance(10))
    r.sampling.logprobs = static_cast<std::int32_t>(random_.below(4));
  if (random_.chance(6))
    r.sampling.prompt_logprobs = static_cast<std::int32_t>(random_.below(3));
  if (random_.chance(15))
    r.n = random_.between(2, 4);
  if (random_.chance(3))
    r.best_of = r.n + random_.between(1, 2);
  r.echo = random_.chance(8);
  if (plan_.answers.real_worker)
    season(r.sampling);
  want(r.scheduling);
  if (random_.chance(12))
    want_no_tokens(r);
  if (random_.chance(4))
    spoil(result);
  else
    expect(result);
  if (random_.chance(20) && r.best_of <= r.n && r.embed == pooling::none)
    limit_credit(result);
  if (random_.chance(15))
    result.cancel = microseconds(random_.below(random_.chance(50) ? 3000 : 60000));
  if (random_.chance(8))
    for (auto turns = 2 * random_.between(1, 3); turns > 0; --turns)
      result.turns.push_back(microseconds(random_.below(30000)));
  std::sort(result.turns.begin(), result.turns.end());
  if (random_.chance(12))
    result.again.push_back(request(id, microseconds(random_.chance(50) ? 0 : 5000), usual_tokens));
  return result;
}

token_id request_drawing::plain_token() {
  return first_plain_token + static_cast<token_id>(random_.below(tiny()->program.vocabulary - first_plain_token));
}

prompt request_drawing::any_prompt() {
  if (random_.chance(8))
    return prompt_text(words());
  if (random_.chance(4))
    return prompt_messages{{"user", words()}};
  prompt_tokens tokens;
  const auto most = std::max(2u, plan_.answers.capacity * 2 / 3);
  if (random_.chance(plan_.tier ? 85 : 60)) {
    const auto& document = documents_[random_.below(3)];
    const auto length = random_.below(std::min<std::uint32_t>(most, 512));
    tokens.assign(document.begin(), document.begin() + length);
  }
  for (auto more = random_.between(1, random_.chance(70) ? 12 : 70); more > 0 && tokens.size() < most; --more)
    tokens.push_back(plain_token());
  return tokens;
}

std::string request_drawing::words() {
  std::string text;
  for (auto count = random_.between(1, 12); count > 0; --count) {
    for (auto letters = random_.between(1, 6); letters > 0; --letters)
      text += static_cast<char>('a' + random_.below(26));
    text += ' ';
  }
  return text;
}

void request_drawing::want(scheduling_parameters& wishes) {
  using kind = scheduling_policy::kind_type;
  if (plan_.policy.kind == kind::priority && random_.chance(50))
    wishes.priority = static_cast<std::int32_t>(random_.below(7)) - 3;
  if (plan_.policy.kind == kind::deadline && random_.chance(50))
    wishes.ttft_ms = random_.between(1, 200);
  if (plan_.policy.kind == kind::deadline && random_.chance(20))
    wishes.itl_ms = random_.between(1, 20);
  if (random_.chance(10))
    wishes.cache_salt.assign(1, random_.chance(50) ? 'a' : 'b');
}

/// What only a real sampler understands. Its noise is never stronger than the model by much, so that a token out of a
/// wrong history is a wrong token soon.
void request_drawing::season(sampling_parameters& sampling) {
  if (random_.chance(50))
    sampling.temperature = 0.05f * static_cast<float>(random_.between(1, 6));
  if (random_.chance(20))
    sampling.top_k = random_.between(1, 40);
  if (random_.chance(20))
    sampling.top_p = 0.1f * static_cast<float>(random_.between(1, 9));
  if (random_.chance(10))
    sampling.min_p = 0.05f * static_cast<float>(random_.between(1, 4));
  if (random_.chance(10))
    sampling.typical_p = 0.1f * static_cast<float>(random_.between(3, 9));
  if (random_.chance(15))
    sampling.repetition_penalty = 1.0f + 0.1f * static_cast<float>(random_.between(1, 5));
  if (random_.chance(15))
    sampling.frequency_penalty = 0.1f * static_cast<float>(random_.between(1, 5));
  if (random_.chance(15))
    sampling.presence_penalty = 0.1f * static_cast<float>(random_.between(1, 5));
  if (random_.chance(15))
    sampling.logit_bias.push_back({plain_token(), 0.25f * static_cast<float>(random_.between(1, 6))});
}

/// Its prompt is the answer: as an embedding, as an echo, or by its logprobs.
void request_drawing::want_no_tokens(generate_request& request) {
  if (random_.chance(60)) {
    request.sampling = {};
    request.scheduling.itl_ms = 0;
    request.n = 1;
    request.best_of = 0;
    request.echo = false;
    request.embed = random_.chance(50) ? pooling::last : pooling::mean;
    return;
  }
  request.sampling.max_tokens = request.sampling.min_tokens = 0;
  request.best_of = 0;
  request.echo = request.echo || request.sampling.prompt_logprobs < 0;
}

void request_drawing::expect(planned_request& result) {
  auto& r = result.request;
  const bool has_tokens = r.embed == pooling::none && r.sampling.max_tokens > 0;
  result.prompt_ids = ids_of(r.prompt);
  if (result.prompt_ids.size() + has_tokens > plan_.answers.capacity) {
    result.refusal = errc::context_overflow;
    return;
  }
  result.embedding = right_embedding(r, result.prompt_ids);
  if (has_tokens && random_.chance(15))
    restrict_tokens(result);
  if (has_tokens && random_.chance(12))
    stop_at_some_token(result);
  std::vector<right_answer> generated;
  for (std::uint32_t choice = 0; choice < std::max(r.n, r.best_of); ++choice) {
    generated.push_back(right_answer_to(plan_.answers, r, result.prompt_ids, choice));
    result.generated += generated.back().tokens.size();
    result.fails = result.fails || generated.back().fails;
  }
  result.answers = given_answers(r, std::move(generated));
  if (r.sampling.prompt_logprobs >= 0)
    result.prompt_logprobs = right_prompt_logprobs(plan_.answers, r, result.prompt_ids);
  if (r.echo)
    result.echo = echo_of(r.prompt);
}

/// Plain text of one token, or of two that follow each other, that would come; or nothing.
const std::string& request_drawing::printable_text_of(const std::vector<token_id>& tokens) {
  const auto plain = [](std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127; });
  };
  printable_.clear();
  const auto begin = random_.below(tokens.size());
  for (std::size_t i = 0; i < tokens.size() && printable_.empty(); ++i) {
    const auto at = (begin + i) % tokens.size();
    if (tiny()->tokens->is_special(tokens[at]) || !plain(tiny()->tokens->bytes_of(tokens[at])))
      continue;
    printable_ = tiny()->tokens->bytes_of(tokens[at]);
    if (at + 1 < tokens.size() && !tiny()->tokens->is_special(tokens[at + 1]) &&
        plain(tiny()->tokens->bytes_of(tokens[at + 1])))
      printable_ += tiny()->tokens->bytes_of(tokens[at + 1]);
  }
  return printable_;
}

/// Some tokens must not come, and would: bad words, or all but a few.
void request_drawing::restrict_tokens(planned_request& result) {
  auto& sampling = result.request.sampling;
  if (random_.chance(15))
    return exclude_all(sampling);
  if (random_.chance(50)) {
    for (auto words = random_.between(1, 3); words > 0; --words) { // Another answer comes each time.
      const auto without = right_answer_to(plan_.answers, result.request, result.prompt_ids, 0);
      if (!without.tokens.empty() && !printable_text_of(without.tokens).empty())
        sampling.bad_words.push_back(printable_);
    }
    return;
  }
  for (auto tokens = random_.between(1, 20); tokens > 0; --tokens)
    sampling.allowed_tokens.push_back(plain_token());
  if (random_.chance(50))
    sampling.allowed_tokens.push_back(end_token);
  std::sort(sampling.allowed_tokens.begin(), sampling.allowed_tokens.end());
  sampling.allowed_tokens.erase(std::unique(sampling.allowed_tokens.begin(), sampling.allowed_tokens.end()),
                                sampling.allowed_tokens.end());
}

/// A request that cannot be had, at once or after some tokens; its client is told, and nobody else notices.
void request_drawing::exclude_all(sampling_parameters& sampling) {
  if (random_.chance(50)) {
    sampling.allowed_tokens = {end_token};
    sampling.ignore_eos = false;
    sampling.min_tokens = random_.between(1, sampling.max_tokens);
  } else {
    const auto letter = static_cast<char>('a' + random_.below(26));
    sampling.bad_words = {std::string(random_.between(1, 3), letter)};
    sampling.allowed_tokens = tiny()->tokens->encode(std::string(1, letter));
  }
}

/// A stop token, or a stop string, that will come, most probably.
void request_drawing::stop_at_some_token(planned_request& result) {
  auto& sampling = result.request.sampling;
  const auto without = right_answer_to(plan_.answers, result.request, result.prompt_ids, 0);
  if (without.tokens.empty())
    return;
  if (random_.chance(70) && !printable_text_of(without.tokens).empty()) {
    sampling.min_tokens = 0; // Where text may stop is another matter.
    sampling.stop.push_back(printable_);
  } else {
    sampling.stop_tokens.push_back(without.tokens[random_.below(without.tokens.size())]);
  }
}

void request_drawing::spoil(planned_request& result) {
  auto& r = result.request;
  result.refusal = errc::invalid_argument;
  switch (random_.below(5)) {
    case 0:
      r.sampling.max_tokens = 0;
      r.sampling.prompt_logprobs = -1;
      r.echo = false;
      break;
    case 1: r.prompt = prompt_tokens{}; break;
    case 2: r.prompt = prompt_tokens{5, 100000}; break;
    case 3: r.sampling.bad_words = {"  "}; break;
    default:
      r.prompt = prompt_tokens(plan_.answers.capacity + random_.between(1, 50), first_plain_token);
      result.refusal = errc::context_overflow;
  }
}

void request_drawing::limit_credit(planned_request& result) {
  result.request.credit = random_.below(6);
  microseconds when{0};
  for (auto grants = random_.below(8); grants > 0; --grants) {
    when += microseconds(random_.below(10000));
    result.grants.push_back({when, random_.between(1, 5)});
  }
  when += microseconds(random_.below(random_.chance(50) ? 10000 : 400000)); // Some stop reading for long.
  result.grants.push_back({when, random_.chance(50) ? unlimited_credit : 4096u});
}

} // namespace troupe::simulated
