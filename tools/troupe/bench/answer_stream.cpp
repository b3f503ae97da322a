#include "tools/troupe/bench/answer_stream.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "protocol/utf8.hpp"

namespace troupe::cli {

namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t most_message_bytes = 300;

json messages_of(const history& before, const turn& now) {
  json messages = json::array();
  for (const auto& [said, answered] : before) {
    messages.push_back({{"role", "user"}, {"content", said}});
    messages.push_back({{"role", "assistant"}, {"content", answered}});
  }
  messages.push_back({{"role", "user"}, {"content", now.text}});
  return messages;
}

std::string prompt_of(const history& before, const turn& now) {
  std::string text;
  for (const auto& [said, answered] : before)
    text += said + answered;
  return text + now.text;
}

/// Text of a member, or nothing where it is not there, or null.
std::string text_of(const json& object, const char* member) {
  const auto found = object.find(member);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::uint32_t count_of(const json& usage, const char* member) {
  const auto found = usage.find(member);
  return found != usage.end() && found->is_number_unsigned() ? found->get<std::uint32_t>() : 0;
}

} // namespace

expected<api> api_of(const std::string& path) {
  if (path.ends_with("/chat/completions"))
    return api::chat;
  if (path.ends_with("/completions"))
    return api::completions;
  return fail(errc::unsupported,
              "--endpoint " + path + " is not known here: it ends with /completions or /chat/completions.");
}

std::string request_body(const body_settings& settings, const history& before, const turn& now) {
  json body;
  body["model"] = settings.model;
  if (settings.kind == api::chat) {
    body["messages"] = messages_of(before, now);
    body["max_completion_tokens"] = now.output_tokens;
  } else {
    body["prompt"] = prompt_of(before, now);
    body["max_tokens"] = now.output_tokens;
  }
  if (settings.temperature)
    body["temperature"] = *settings.temperature;
  if (settings.ignore_eos)
    body["ignore_eos"] = true;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  if (settings.continuous_usage)
    body["stream_options"]["continuous_usage_stats"] = true;
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

void answer_stream::feed(std::string_view bytes, double seconds) {
  if (!events_.feed(bytes, [&](const std::string& data) { take(data, seconds); }))
    outcome_.error = "An event of the stream is longer than " + std::to_string(max_event_bytes) + " bytes.";
}

void answer_stream::take(const std::string& data, double seconds) {
  if (!outcome_.error.empty())
    return;
  if (data == "[DONE]") {
    finished_ = true;
    return;
  }
  const auto chunk = json::parse(data, nullptr, false);
  if (!chunk.is_object()) {
    outcome_.error = "A chunk of the stream is no JSON object: " + std::string(cut_utf8(data, most_message_bytes));
    return;
  }
  if (const auto error = chunk.find("error"); error != chunk.end() && !error->is_null()) {
    outcome_.error = "The stream ended with an error: " + message_of(data);
    return;
  }
  const auto usage = chunk.find("usage");
  const auto before = outcome_.output_tokens;
  const bool has_count = usage != chunk.end() && usage->is_object();
  if (has_count) {
    outcome_.output_tokens = count_of(*usage, "completion_tokens");
    outcome_.prompt_tokens = count_of(*usage, "prompt_tokens");
  }
  const auto choices = chunk.find("choices");
  if (choices == chunk.end() || !choices->is_array() || choices->empty() || !choices->front().is_object())
    return;
  const auto& choice = choices->front();
  if (has_token_)
    outcome_.itl.push_back(seconds - last_);
  else
    outcome_.ttft = seconds;
  if (has_count || !outcome_.chunk_tokens.empty())
    outcome_.chunk_tokens.push_back(outcome_.output_tokens - std::min(before, outcome_.output_tokens));
  has_token_ = true;
  last_ = seconds;
  const auto delta = choice.find("delta");
  if (kind_ == api::completions)
    outcome_.text += text_of(choice, "text");
  else if (delta != choice.end() && delta->is_object())
    outcome_.text += text_of(*delta, "content");
  finished_ = finished_ || !text_of(choice, "finish_reason").empty();
}

request_outcome answer_stream::end() {
  outcome_.latency = last_;
  if (outcome_.error.empty() && !has_token_)
    outcome_.error = "The stream had no chunk with a choice.";
  if (outcome_.error.empty() && !finished_)
    outcome_.error = "The stream broke off: it had neither a finish_reason nor [DONE].";
  if (outcome_.chunk_tokens.size() != outcome_.itl.size() + 1)
    outcome_.chunk_tokens.clear();
  return std::move(outcome_);
}

std::string message_of(std::string_view body) {
  const auto parsed = json::parse(body, nullptr, false);
  if (parsed.is_object())
    if (const auto error = parsed.find("error"); error != parsed.end()) {
      if (error->is_string())
        return error->get<std::string>();
      if (error->is_object() && !text_of(*error, "message").empty())
        return text_of(*error, "message");
    }
  return std::string(cut_utf8(body, most_message_bytes));
}

} // namespace troupe::cli
