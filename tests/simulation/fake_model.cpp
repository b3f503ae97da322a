#include "tests/simulation/fake_model.hpp"

#include <algorithm>
#include <stdexcept>

#include "engine/step.hpp"
#include "tests/support/tiny_model.hpp"

namespace troupe::simulated {

std::shared_ptr<const model> tiny() {
  static const auto loaded = [] {
    auto file = gguf::parse(test::tiny_model());
    if (!file)
      throw std::runtime_error(file.error().message);
    auto result = load_model(*file, "tiny");
    if (!result)
      throw std::runtime_error(result.error().message);
    return *result;
  }();
  return loaded;
}

namespace {

bool has(const std::vector<token_id>& tokens, token_id token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

bool completes(const std::vector<token_id>& word, std::span<const token_id> answer, token_id token) {
  return !word.empty() && word.back() == token && word.size() - 1 <= answer.size() &&
         std::equal(word.begin(), word.end() - 1, answer.end() - static_cast<std::ptrdiff_t>(word.size() - 1));
}

bool may_come(const sequence_sampling& sampling, std::span<const token_id> answer, token_id token) {
  if (answer.size() < sampling.min_tokens && (token == end_token || has(sampling.end_tokens, token)))
    return false;
  return std::none_of(sampling.bad_words.begin(), sampling.bad_words.end(),
                      [&](const auto& word) { return completes(word, answer, token); });
}

} // namespace

token_id next_token(const fake_model& model, const sequence_sampling& sampling, std::span<const token_id> answer) {
  const auto h = model.draw();
  const auto& allowed = sampling.allowed_tokens;
  if (allowed.empty() && h % 32 == 0 && may_come(sampling, answer, end_token))
    return end_token;
  const auto count = allowed.empty() ? tiny()->program.vocabulary - first_plain_token : allowed.size();
  for (std::size_t i = 0; i < count; ++i) {
    const auto index = (h / 32 + i) % count;
    const auto token = allowed.empty() ? first_plain_token + static_cast<token_id>(index) : allowed[index];
    if (may_come(sampling, answer, token))
      return token;
  }
  return no_token;
}

} // namespace troupe::simulated
