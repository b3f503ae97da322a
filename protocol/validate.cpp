#include "protocol/validate.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <type_traits>
#include <variant>

#include <fmt/format.h>

#include "protocol/limits.hpp"
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

expected<void> check(const prompt_tokens& tokens) {
  if (tokens.empty())
    return fail(errc::invalid_argument, "Field 'tokens' is empty. Give the model something to go on from.");
  if (tokens.size() > max_prompt_tokens)
    return fail(errc::limit_exceeded, fmt::format("Field 'tokens' has {} ids, but at most {} are allowed.",
                                                  tokens.size(), max_prompt_tokens));
  const auto negative = std::find_if(tokens.begin(), tokens.end(), [](token_id id) { return id < 0; });
  if (negative != tokens.end())
    return fail(errc::invalid_argument, fmt::format("Field 'tokens[{}]' is {}, but token ids start at 0.",
                                                    negative - tokens.begin(), *negative));
  return {};
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

expected<void> check_stop(const std::vector<std::string>& stop) {
  if (stop.size() > max_stop_strings)
    return fail(errc::limit_exceeded, fmt::format("Field 'stop' has {} strings, but at most {} are allowed.",
                                                  stop.size(), max_stop_strings));
  for (std::size_t i = 0; i < stop.size(); ++i) {
    if (stop[i].empty())
      return fail(errc::invalid_argument,
                  fmt::format("Field 'stop[{}]' is empty, which every text contains. Leave it out.", i));
    if (stop[i].size() > max_stop_bytes)
      return fail(errc::limit_exceeded, fmt::format("Field 'stop[{}]' has {} bytes, but at most {} are allowed.", i,
                                                    stop[i].size(), max_stop_bytes));
    if (auto ok = check_text(fmt::format("stop[{}]", i), stop[i]); !ok)
      return ok;
  }
  return {};
}

} // namespace

expected<void> validate(const sampling_parameters& sampling) {
  const float temperature = sampling.temperature;
  if (!std::isfinite(temperature) || temperature < 0 || temperature > max_temperature)
    return fail(errc::invalid_argument,
                fmt::format("Field 'temperature' is {}, but must be from 0 (greedy) to {}.", temperature,
                            max_temperature));
  if (temperature > 0 && temperature < min_temperature)
    return fail(errc::invalid_argument,
                fmt::format("Field 'temperature' is {}, but must be 0 (greedy) or at least {}.", temperature,
                            min_temperature));
  if (sampling.max_tokens < 1)
    return fail(errc::invalid_argument, "Field 'max_tokens' is 0, but must be at least 1.");
  return check_stop(sampling.stop);
}

expected<void> validate(const generate_request& request) {
  if (auto ok = std::visit([](const auto& prompt) { return check(prompt); }, request.prompt); !ok)
    return ok;
  return validate(request.sampling);
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
