#include "model/request_sampling.hpp"

#include <algorithm>

namespace troupe {

namespace {

expected<void> check_token(const char* field, std::size_t index, token_id token, std::size_t vocabulary) {
  if (token >= 0 && static_cast<std::size_t>(token) < vocabulary)
    return {};
  return fail(errc::invalid_argument, "Field '" + std::string(field) + "[" + std::to_string(index) + "]' has token " +
                                        std::to_string(token) + ", but this model's vocabulary has ids 0 to " +
                                        std::to_string(vocabulary - 1) + ".");
}

expected<void> check_tokens(const char* field, const std::vector<token_id>& tokens, std::size_t vocabulary) {
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (auto ok = check_token(field, i, tokens[i], vocabulary); !ok)
      return ok;
  return {};
}

bool ends_with(const std::vector<token_id>& tokens, const std::vector<token_id>& end) {
  return tokens.size() >= end.size() && std::equal(end.rbegin(), end.rend(), tokens.rbegin());
}

} // namespace

expected<void> check_vocabulary(const sampling_parameters& sampling, std::size_t vocabulary) {
  for (std::size_t i = 0; i < sampling.logit_bias.size(); ++i)
    if (auto ok = check_token("logit_bias", i, sampling.logit_bias[i].token, vocabulary); !ok)
      return ok;
  if (auto ok = check_tokens("allowed_tokens", sampling.allowed_tokens, vocabulary); !ok)
    return ok;
  return check_tokens("stop_tokens", sampling.stop_tokens, vocabulary);
}

expected<std::vector<std::vector<token_id>>> encode_bad_words(const tokenizer& tokens,
                                                              const std::vector<std::string>& words) {
  std::vector<std::vector<token_id>> result;
  const auto add = [&](std::vector<token_id> form) {
    if (std::find(result.begin(), result.end(), form) == result.end())
      result.push_back(std::move(form));
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto word = words[i].substr(std::min(words[i].find_first_not_of(' '), words[i].size()));
    auto at_start = word.empty() ? std::vector<token_id>() : tokens.encode(word);
    if (at_start.empty())
      return fail(errc::invalid_argument, "Field 'bad_words[" + std::to_string(i) +
                                            "]' has nothing that this model could generate: leave it out.");
    auto after_space = tokens.encode(" " + word);
    const bool covered = ends_with(after_space, at_start);
    add(std::move(at_start));
    if (!covered)
      add(std::move(after_space));
  }
  return result;
}

sequence_sampling sequence_sampling_of(const sampling_parameters& sampling,
                                       const std::vector<std::vector<token_id>>& bad_words,
                                       std::span<const token_id> model_end_tokens, std::uint32_t choice,
                                       bool ranked) {
  sequence_sampling result;
  result.temperature = sampling.temperature;
  result.seed = sampling.seed;
  result.choice = choice;
  result.top_k = sampling.top_k;
  result.top_p = sampling.top_p;
  result.min_p = sampling.min_p;
  result.typical_p = sampling.typical_p;
  result.repetition_penalty = sampling.repetition_penalty;
  result.presence_penalty = sampling.presence_penalty;
  result.frequency_penalty = sampling.frequency_penalty;
  result.min_tokens = sampling.min_tokens;
  result.logprobs = ranked ? std::max(0, sampling.logprobs) : sampling.logprobs;
  result.prompt_logprobs = choice == 0 ? sampling.prompt_logprobs : -1;
  for (const auto& entry : sampling.logit_bias)
    result.logit_bias.push_back({entry.token, entry.bias});
  result.allowed_tokens = sampling.allowed_tokens;
  result.bad_words = bad_words;
  if (!sampling.ignore_eos)
    result.end_tokens.assign(model_end_tokens.begin(), model_end_tokens.end());
  for (auto token : sampling.stop_tokens)
    if (std::find(result.end_tokens.begin(), result.end_tokens.end(), token) == result.end_tokens.end())
      result.end_tokens.push_back(token);
  return result;
}

} // namespace troupe
