#include "tests/simulation/fake_model.hpp"

#include <algorithm>
#include <stdexcept>

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

token_id next_token(const fake_model& model, const sequence_sampling& sampling, std::uint32_t index) {
  return model.next(tiny()->program.vocabulary, index >= sampling.min_tokens);
}

namespace {

bool has_a_stop_string(const std::vector<std::string>& stop, const std::string& text) {
  return std::any_of(stop.begin(), stop.end(), [&](const auto& s) { return text.find(s) != std::string::npos; });
}

bool ends(const sampling_parameters& sampling, token_id token) {
  return (token == end_token && !sampling.ignore_eos) ||
         std::count(sampling.stop_tokens.begin(), sampling.stop_tokens.end(), token) > 0;
}

} // namespace

right_answer right_answer_to(const generate_request& request, std::span<const token_id> prompt, std::uint32_t choice,
                             std::uint32_t capacity) {
  const auto& sampling = request.sampling;
  fake_model model(sampling.seed, choice), plain(0, 0);
  for (auto token : prompt) {
    model.feed(token);
    plain.feed(token);
  }
  right_answer answer;
  std::string text;
  double logprobs = 0;
  while (true) {
    const auto index = answer.tokens.size();
    const auto token = model.next(tiny()->program.vocabulary, index >= sampling.min_tokens);
    answer.tokens.push_back(token);
    logprobs += plain.logprob(token, 0).logprob;
    model.feed(token);
    plain.feed(token);
    const bool last = index >= sampling.min_tokens && ends(sampling, token);
    if (!last && !tiny()->tokens->is_special(token))
      text += tiny()->tokens->bytes_of(token);
    if (last || has_a_stop_string(sampling.stop, text)) {
      answer.reason = finish_reason::stop;
      break;
    }
    if (answer.tokens.size() >= sampling.max_tokens || prompt.size() + answer.tokens.size() >= capacity)
      break;
  }
  answer.mean_logprob = static_cast<float>(logprobs / static_cast<double>(answer.tokens.size()));
  return answer;
}

std::vector<right_answer> given_answers(const generate_request& request, std::vector<right_answer> generated) {
  if (generated.size() > request.n)
    std::stable_sort(generated.begin(), generated.end(),
                     [](const auto& a, const auto& b) { return a.mean_logprob > b.mean_logprob; });
  generated.resize(request.n);
  return generated;
}

std::vector<token_id> ids_of(const prompt& what) {
  if (auto* tokens = std::get_if<prompt_tokens>(&what))
    return *tokens;
  auto ids = prefix_of(*tiny(), what);
  const auto text = prompt_text_of(*tiny(), what, 0); // The tiny model's template prints no date.
  const auto encoded = tiny()->tokens->encode(text.value());
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  return ids;
}

} // namespace troupe::simulated
