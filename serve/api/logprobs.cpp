#include "serve/api/logprobs.hpp"

#include <algorithm>
#include <utility>

#include "protocol/utf8.hpp"
#include "serve/api/limits.hpp"

namespace troupe::serve {
namespace {

std::string text_of(const tokenizer& tokens, token_id token) {
  return replace_invalid_utf8(tokens.bytes_of(token));
}

float shown(float logprob) {
  return logprob >= lowest_shown_logprob ? logprob : lowest_shown_logprob; // NaN, too.
}

json bytes_of(const tokenizer& tokens, token_id token) {
  auto list = json::array();
  for (const char byte : tokens.bytes_of(token))
    list.push_back(static_cast<unsigned char>(byte));
  return list;
}

json entry_of(const tokenizer& tokens, token_id token, float logprob) {
  return {{"token", text_of(tokens, token)}, {"logprob", shown(logprob)}, {"bytes", bytes_of(tokens, token)}};
}

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(
    std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

} // namespace

json chat_logprobs(const tokenizer& tokens, std::span<const token_logprob> logprobs) {
  auto content = json::array();
  for (const auto& each : logprobs) {
    auto entry = entry_of(tokens, each.token, each.logprob);
    auto top = json::array();
    for (const auto& other : each.top)
      top.push_back(entry_of(tokens, other.token, other.logprob));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return content;
}

json prompt_logprobs(const tokenizer& tokens, std::span<const token_logprob> logprobs, std::int32_t count) {
  json list = json::array({nullptr});
  for (const auto& each : logprobs) {
    auto entry = json::object();
    const auto add = [&](token_id token, float logprob, std::size_t rank) {
      entry[std::to_string(token)] = {
        {"logprob", shown(logprob)}, {"rank", rank}, {"decoded_token", text_of(tokens, token)}};
    };
    add(each.token, each.logprob, each.rank);
    for (std::size_t i = 0; i < each.top.size() && std::cmp_less(i, count); ++i)
      if (each.top[i].token != each.token)
        add(each.top[i].token, each.top[i].logprob, i + 1);
    list.push_back(std::move(entry));
  }
  return list;
}

void completion_logprobs::add_text(std::string text, bool special) {
  offsets_.push_back(offset_);
  offset_ += special ? 0 : code_points(text); // A special token is shown here and not in the answer's text.
  texts_.push_back(std::move(text));
}

void completion_logprobs::add(std::string_view text) {
  add_text(std::string(text), false);
  logprobs_.push_back(nullptr);
  top_.push_back(nullptr);
}

void completion_logprobs::add(std::span<const token_logprob> logprobs) {
  for (const auto& each : logprobs) {
    auto top = json::object();
    for (std::size_t i = 0; i < std::min(each.top.size(), count_); ++i)
      top.emplace(text_of(*tokens_, each.top[i].token), shown(each.top[i].logprob)); // The likelier of equal texts.
    top.emplace(text_of(*tokens_, each.token), shown(each.logprob));
    add_text(text_of(*tokens_, each.token), tokens_->is_special(each.token));
    logprobs_.push_back(shown(each.logprob));
    top_.push_back(std::move(top));
  }
}

json completion_logprobs::take() {
  json result = {{"text_offset", std::exchange(offsets_, json::array())},
                 {"token_logprobs", std::exchange(logprobs_, json::array())},
                 {"tokens", std::exchange(texts_, json::array())},
                 {"top_logprobs", std::exchange(top_, json::array())}};
  return result;
}

} // namespace troupe::serve
