#include "serve/observe/request_log.hpp"

#include "protocol/utf8.hpp"

namespace troupe::serve {

namespace {

std::string shown(const prompt_text& text) {
  return text;
}
std::string shown(const chat_prompt& chat) {
  return chat.variables;
}
std::string shown(const prompt_tokens& tokens) {
  std::string text;
  for (auto token = tokens.begin(); token != tokens.end() && text.size() < request_log::most_prompt_bytes; ++token) {
    if (token != tokens.begin())
      text += ' ';
    text += std::to_string(*token);
  }
  return text;
}
std::string shown(const prompt_messages& messages) {
  std::string text;
  for (const auto& message : messages)
    text += message.role + ": " + message.content + "\n";
  return text;
}

} // namespace

void request_log::taken(const generate_request& request, std::uint64_t) {
  if (!log_.takes(log_level::debug))
    return;
  std::vector<log_field> fields{{"request", request.origin.name},
                                {"n", std::uint64_t{request.n}},
                                {"max_tokens", std::uint64_t{request.sampling.max_tokens}}};
  if (prompts_) {
    auto text = std::visit([](const auto& prompt) { return shown(prompt); }, request.prompt);
    fields.push_back({"prompt", std::string(cut_utf8(text, most_prompt_bytes))});
  }
  say(log_, log_level::debug, "request_taken", "request taken", std::move(fields));
}

void request_log::say_end(const request_record& request, log_level level, std::string_view event,
                          const char* what) const {
  if (!log_.takes(level))
    return;
  std::vector<log_field> fields{{"request", request.origin.name}, {"reason", std::string(to_string(request.reason))}};
  if (request.failure != errc::none)
    fields.push_back({"error", std::string(to_string(request.failure))});
  fields.insert(fields.end(), {{"prompt_tokens", std::uint64_t{request.usage.prompt_tokens}},
                               {"cached_prompt_tokens", std::uint64_t{request.usage.cached_prompt_tokens}},
                               {"completion_tokens", std::uint64_t{request.usage.completion_tokens}}});
  const auto add_ms = [&](std::string_view name, const std::optional<double>& seconds) {
    if (seconds)
      fields.push_back({name, *seconds * 1000});
  };
  add_ms("queue_ms", request.queue_s);
  add_ms("prefill_ms", request.prefill_s);
  add_ms("decode_ms", request.decode_s);
  add_ms("total_ms", request.total_s);
  say(log_, level, event, what, std::move(fields));
}

void request_log::ended(const request_record& request) {
  say_end(request, log_level::info, "request_ended", "request ended");
}

void request_log::refused(const request_record& request) {
  say_end(request, log_level::info, "request_refused", "request refused");
}

} // namespace troupe::serve
