#include "protocol/validate.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <type_traits>
#include <variant>

#include <fmt/format.h>

#include "protocol/limits.hpp"
#include "protocol/trace_context.hpp"
#include "protocol/utf8.hpp"

namespace troupe {
namespace {

expected<void> check_text(std::string_view field, std::string_view text) {
  if (text.size() > max_string_bytes)
    return fail(errc::limit_exceeded, fmt::format("Field '{}' has {} bytes, but at most {} are allowed. Shorten it.",
                                                  field, text.size(), max_string_bytes));
  if (const auto valid = valid_utf8_bytes(text); valid != text.size())
    return fail(errc::malformed,
                fmt::format("Field '{}' is not valid UTF-8 at byte {}. Send text as UTF-8.", field, valid));
  return {};
}

expected<void> check(const prompt_text& text) {
  if (text.empty())
    return fail(errc::invalid_argument, "Field 'prompt' is empty. Give the model something to go on from.");
  return check_text("prompt", text);
}

expected<void> check_ids(std::string_view field, const std::vector<token_id>& tokens, std::size_t most) {
  if (tokens.size() > most)
    return fail(errc::limit_exceeded,
                fmt::format("Field '{}' has {} ids, but at most {} are allowed.", field, tokens.size(), most));
  const auto negative = std::find_if(tokens.begin(), tokens.end(), [](token_id id) { return id < 0; });
  if (negative != tokens.end())
    return fail(errc::invalid_argument, fmt::format("Field '{}[{}]' is {}, but token ids start at 0.", field,
                                                    negative - tokens.begin(), *negative));
  return {};
}

expected<void> check(const prompt_tokens& tokens) {
  if (tokens.empty())
    return fail(errc::invalid_argument, "Field 'tokens' is empty. Give the model something to go on from.");
  return check_ids("tokens", tokens, max_prompt_tokens);
}

/// A role goes into the model's template as it stands: nothing may be in it that could pass for the template's own.
expected<void> check_role(std::size_t index, std::string_view role) {
  const std::string field = fmt::format("messages[{}].role", index);
  if (role.empty())
    return fail(errc::invalid_argument,
                fmt::format("Field '{}' is empty. Common roles are system, user and assistant.", field));
  if (role.size() > max_role_bytes)
    return fail(errc::limit_exceeded, fmt::format("Field '{}' has {} bytes, but at most {} are allowed.", field,
                                                  role.size(), max_role_bytes));
  const bool plain = std::all_of(role.begin(), role.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (!plain)
    return fail(errc::invalid_argument,
                fmt::format("Field '{}' is {}, but a role has only ASCII letters, digits, '_' and '-'.", field,
                            in_quotes(role)));
  return {};
}

expected<void> check(const prompt_messages& messages) {
  if (messages.empty())
    return fail(errc::invalid_argument, "Field 'messages' is empty. Send at least one message.");
  if (messages.size() > max_chat_messages)
    return fail(errc::limit_exceeded, fmt::format("Field 'messages' has {} messages, but at most {} are allowed.",
                                                  messages.size(), max_chat_messages));
  std::size_t total_bytes = 0;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (auto ok = check_role(i, messages[i].role); !ok)
      return ok;
    if (auto ok = check_text(fmt::format("messages[{}].content", i), messages[i].content); !ok)
      return ok;
    total_bytes += messages[i].content.size();
    if (total_bytes > max_string_bytes)
      return fail(errc::limit_exceeded,
                  fmt::format("Field 'messages' has more than {} bytes of content up to 'messages[{}]'. Shorten it.",
                              max_string_bytes, i));
  }
  return {};
}

/// That it is the right JSON is for who renders it.
expected<void> check(const chat_prompt& chat) {
  if (chat.variables.empty())
    return fail(errc::invalid_argument, "Field 'chat' is empty. It must be a JSON object with messages.");
  return check_text("chat", chat.variables);
}

/// Short texts that are looked for in the answer.
expected<void> check_texts(std::string_view field, const std::vector<std::string>& texts, std::size_t most,
                           std::size_t most_bytes) {
  if (texts.size() > most)
    return fail(errc::limit_exceeded,
                fmt::format("Field '{}' has {} strings, but at most {} are allowed.", field, texts.size(), most));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty())
      return fail(errc::invalid_argument,
                  fmt::format("Field '{}[{}]' is empty, which every text contains. Leave it out.", field, i));
    if (texts[i].size() > most_bytes)
      return fail(errc::limit_exceeded, fmt::format("Field '{}[{}]' has {} bytes, but at most {} are allowed.", field,
                                                    i, texts[i].size(), most_bytes));
    if (!is_valid_utf8(texts[i])) // Only then is a name for it made.
      return check_text(fmt::format("{}[{}]", field, i), texts[i]);
  }
  return {};
}

template <class Number>
expected<void> check_range(std::string_view field, Number value, Number lowest, Number highest) {
  if (value >= lowest && value <= highest) // Not so for NaN.
    return {};
  return fail(errc::invalid_argument,
              fmt::format("Field '{}' is {}, but must be from {} to {}.", field, value, lowest, highest));
}

/// A share of the probability that must not be nothing.
expected<void> check_share(std::string_view field, float value) {
  if (value > 0 && value <= 1)
    return {};
  return fail(errc::invalid_argument,
              fmt::format("Field '{}' is {}, but must be over 0, and at most 1 (off).", field, value));
}

expected<void> check_temperature(float temperature) {
  if (!std::isfinite(temperature) || temperature < 0 || temperature > max_temperature)
    return fail(errc::invalid_argument, fmt::format("Field 'temperature' is {}, but must be from 0 (greedy) to {}.",
                                                    temperature, max_temperature));
  if (temperature > 0 && temperature < min_temperature)
    return fail(
      errc::invalid_argument,
      fmt::format("Field 'temperature' is {}, but must be 0 (greedy) or at least {}.", temperature, min_temperature));
  return {};
}

expected<void> check_logit_bias(const std::vector<logit_bias_entry>& entries) {
  if (entries.size() > max_logit_bias)
    return fail(errc::limit_exceeded, fmt::format("Field 'logit_bias' has {} tokens, but at most {} are allowed.",
                                                  entries.size(), max_logit_bias));
  std::vector<token_id> tokens;
  tokens.reserve(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].token < 0)
      return fail(errc::invalid_argument,
                  fmt::format("Field 'logit_bias[{}].token' is {}, but token ids start at 0.", i, entries[i].token));
    if (!(std::abs(entries[i].bias) <= max_bias)) // Not so for NaN.
      return fail(errc::invalid_argument, fmt::format("Field 'logit_bias[{}].bias' is {}, but must be from {} to {}.",
                                                      i, entries[i].bias, -max_bias, max_bias));
    tokens.push_back(entries[i].token);
  }
  std::sort(tokens.begin(), tokens.end());
  if (const auto twice = std::adjacent_find(tokens.begin(), tokens.end()); twice != tokens.end())
    return fail(errc::invalid_argument,
                fmt::format("Field 'logit_bias' has token {} twice. Give each one bias.", *twice));
  return {};
}

/// What is at least 0 or, where it is off, -1.
expected<void> check_logprobs(std::string_view field, std::int32_t value) {
  if (value >= -1 && value <= max_logprobs)
    return {};
  return fail(errc::invalid_argument, fmt::format("Field '{}' is {}, but must be from 0 to {}, or not be there.",
                                                  field, value, max_logprobs));
}

expected<void> check_lengths(const sampling_parameters& sampling) {
  if (sampling.max_tokens < 1)
    return fail(errc::invalid_argument, "Field 'max_tokens' is 0, but must be at least 1.");
  if (sampling.min_tokens > sampling.max_tokens)
    return fail(errc::invalid_argument, fmt::format("Field 'min_tokens' is {}, but 'max_tokens' only {}.",
                                                    sampling.min_tokens, sampling.max_tokens));
  return {};
}

expected<void> check(const scheduling_parameters& scheduling) {
  if (auto ok = check_range("priority", scheduling.priority, -max_priority, max_priority); !ok)
    return ok;
  if (scheduling.cache_salt.size() > max_salt_bytes)
    return fail(errc::limit_exceeded, fmt::format("Field 'cache_salt' has {} bytes, but at most {} are allowed.",
                                                  scheduling.cache_salt.size(), max_salt_bytes));
  return check_text("cache_salt", scheduling.cache_salt);
}

expected<void> check(const request_origin& origin) {
  const auto& text = origin.traceparent;
  if (text.empty() || (text.size() == traceparent_bytes && parse_traceparent(text)))
    return {};
  return fail(errc::invalid_argument,
              "Field 'traceparent' is not as W3C Trace Context has it: a version, 32, 16 and 2 "
              "hexadecimal digits in lower case, with a '-' between them.");
}

expected<void> check_choices(const generate_request& request) {
  if (auto ok = check_range("n", request.n, 1u, max_choices); !ok)
    return ok;
  if (request.best_of == 0)
    return {};
  if (request.best_of < request.n || request.best_of > max_choices)
    return fail(errc::invalid_argument,
                fmt::format("Field 'best_of' is {}, but must be from {} ('n') to {}, or not be there.",
                            request.best_of, request.n, max_choices));
  if (request.best_of > request.n && request.credit != unlimited_credit)
    return fail(
      errc::invalid_argument,
      fmt::format("Field 'credit' is {}, but 'best_of' is more than 'n': nothing is sent before all answers "
                  "are there. Leave one of the two out.",
                  request.credit));
  return {};
}

} // namespace

expected<void> validate(const sampling_parameters& sampling) {
  return check_temperature(sampling.temperature)
    .and_then([&] { return check_share("top_p", sampling.top_p); })
    .and_then([&] { return check_range("min_p", sampling.min_p, 0.0f, 1.0f); })
    .and_then([&] { return check_share("typical_p", sampling.typical_p); })
    .and_then([&] {
      return check_range("repetition_penalty", sampling.repetition_penalty, min_repetition_penalty,
                         max_repetition_penalty);
    })
    .and_then([&] { return check_range("presence_penalty", sampling.presence_penalty, -max_penalty, max_penalty); })
    .and_then([&] { return check_range("frequency_penalty", sampling.frequency_penalty, -max_penalty, max_penalty); })
    .and_then([&] { return check_logit_bias(sampling.logit_bias); })
    .and_then([&] { return check_ids("allowed_tokens", sampling.allowed_tokens, max_allowed_tokens); })
    .and_then([&] { return check_texts("bad_words", sampling.bad_words, max_bad_words, max_bad_word_bytes); })
    .and_then([&] { return check_lengths(sampling); })
    .and_then([&] { return check_texts("stop", sampling.stop, max_stop_strings, max_stop_bytes); })
    .and_then([&] { return check_ids("stop_tokens", sampling.stop_tokens, max_stop_tokens); })
    .and_then([&] { return check_logprobs("logprobs", sampling.logprobs); })
    .and_then([&] { return check_logprobs("prompt_logprobs", sampling.prompt_logprobs); });
}

expected<void> validate(const generate_request& request) {
  return std::visit([](const auto& prompt) { return check(prompt); }, request.prompt)
    .and_then([&] { return validate(request.sampling); })
    .and_then([&] { return check(request.scheduling); })
    .and_then([&] { return check(request.origin); })
    .and_then([&] { return check_choices(request); });
}

expected<void> check_version(const hello& greeting) {
  if (greeting.version != protocol_version)
    return fail(errc::version_mismatch,
                fmt::format("The client speaks version {} of the protocol and this server version {}. Use a client "
                            "of the server's version.",
                            greeting.version, protocol_version));
  return {};
}

} // namespace troupe
