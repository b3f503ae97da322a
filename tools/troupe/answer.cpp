#include "tools/troupe/answer.hpp"

#include <algorithm>
#include <iterator>

namespace troupe::cli {

namespace {

using json = nlohmann::ordered_json;

template <class T>
void append(std::vector<T>& all, std::vector<T>& more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

void describe_choice(json& object, const generate_request& request, const answer::choice& choice,
                     finish_reason reason, bool with_tokens) {
  if (with_tokens)
    object["token_ids"] = choice.tokens;
  object["text"] = choice.text;
  object["finish_reason"] = to_string(reason);
  if (request.sampling.logprobs >= 0)
    object["logprobs"] = json_of(choice.logprobs);
}

} // namespace

void answer::take(token_delta& delta) {
  if (choices.size() <= delta.choice)
    choices.resize(delta.choice + 1);
  auto& choice = choices[delta.choice];
  choice.text += delta.text;
  append(choice.tokens, delta.token_ids);
  append(choice.logprobs, delta.logprobs);
  append(prompt_logprobs, delta.prompt_logprobs);
}

const answer::choice& answer::at(std::size_t index) const {
  static const choice nothing;
  return index < choices.size() ? choices[index] : nothing;
}

json json_of(const std::vector<token_logprob>& logprobs) {
  json list = json::array();
  for (const auto& each : logprobs) {
    json top = json::array();
    for (const auto& other : each.top)
      top.push_back({{"token", other.token}, {"logprob", other.logprob}});
    list.push_back({{"token", each.token}, {"logprob", each.logprob}, {"rank", each.rank}, {"top", std::move(top)}});
  }
  return list;
}

void describe(json& object, const generate_request& request, const answer& answer, bool with_tokens) {
  if (request.n == 1) {
    describe_choice(object, request, answer.at(0), answer.end.reason, with_tokens);
  } else {
    json choices = json::array();
    const auto& ends = answer.end.choices;
    for (std::uint32_t i = 0; i < request.n; ++i) {
      const auto end =
        std::find_if(ends.begin(), ends.end(), [&](const choice_end& each) { return each.choice == i; });
      json choice;
      choice["choice"] = i;
      describe_choice(choice, request, answer.at(i), end == ends.end() ? answer.end.reason : end->reason,
                      with_tokens);
      if (end != ends.end() && end->mean_logprob)
        choice["mean_logprob"] = *end->mean_logprob;
      choices.push_back(std::move(choice));
    }
    object["finish_reason"] = to_string(answer.end.reason);
    object["choices"] = std::move(choices);
  }
  if (request.sampling.prompt_logprobs >= 0)
    object["prompt_logprobs"] = json_of(answer.prompt_logprobs);
}

} // namespace troupe::cli
