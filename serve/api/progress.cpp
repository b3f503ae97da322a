#include "serve/api/progress.hpp"

namespace troupe::serve {

void call_progress::end(const request_end& end) {
  --open_;
  used_.prompt_tokens += end.usage.prompt_tokens;
  used_.completion_tokens += end.usage.completion_tokens;
  used_.cached_prompt_tokens += end.usage.cached_prompt_tokens;
  if (failed())
    return;
  if (end.reason == finish_reason::cancelled)
    failure_ = {errc::cancelled, "The request was cancelled."};
  else if (end.reason == finish_reason::error)
    failure_ =
      end.failure.code != errc::none ? end.failure : error{errc::internal, "The request failed without saying why."};
}

json usage_json(const call_progress& progress) {
  const auto& used = progress.used();
  return {{"prompt_tokens", used.prompt_tokens},
          {"completion_tokens", used.completion_tokens},
          {"total_tokens", std::uint64_t{used.prompt_tokens} + used.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", used.cached_prompt_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", progress.thought_tokens()}}}};
}

json stop_reason_json(const stop_cause& cause, const tokenizer& tokens) {
  if (const auto* text = std::get_if<std::string>(&cause))
    return *text;
  const auto* token = std::get_if<token_id>(&cause);
  return token && !tokens.ends_generation(*token) ? json(*token) : json();
}

std::vector<choice_end> ends_of(const request_end& end) {
  if (!end.choices.empty())
    return end.choices;
  return {{0, end.reason, end.usage.completion_tokens, {}, end.stopped_by}};
}

} // namespace troupe::serve
