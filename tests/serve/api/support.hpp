// A server's context without a server, and the engine's side of a call played by hand.
#pragma once

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

#include "serve/api/api.hpp"
#include "serve/api/json_body.hpp"
#include "tests/support/tiny_model.hpp"

namespace troupe::test {

using serve::json;

inline const serve::api_context& tiny_context() {
  static const auto context = [] {
    auto file = gguf::parse(tiny_model());
    BOOST_REQUIRE(file);
    auto source = load_model(*file, "tiny");
    BOOST_REQUIRE(source);
    serve::api_context result;
    result.source = *source;
    result.model_name = "tiny";
    result.aliases = {"gpt-4o-mini"};
    result.context_length = 512;
    result.started = 1700000000;
    return result;
  }();
  return context;
}

/// The same with another chat template.
inline serve::api_context context_with(const std::string& source) {
  auto result = tiny_context();
  auto other = std::make_shared<model>(*result.source);
  auto parsed = chat_template::parse(source);
  BOOST_REQUIRE_MESSAGE(parsed, (parsed ? "" : parsed.error().message));
  other->chat = *parsed;
  result.source = other;
  return result;
}

/// A template of the kind that Qwen has, for tools and thoughts.
inline constexpr const char* qwen =
  "{%- if tools %}{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<tool_call>{% endif %}"
  "{%- for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content %}<think>{{ m.reasoning_content "
  "}}</think>{% endif %}{{ m.content }}"
  "{%- for call in m.tool_calls %}<tool_call>{{ call.function.name }}{{ call.function.arguments | tojson "
  "}}</tool_call>"
  "{%- endfor %}{{ m.tool_call_id }}<|im_end|>\n{% endfor %}"
  "{%- if add_generation_prompt %}<|im_start|>assistant\n{% if think %}<think>\n{% endif %}{% endif %}"
  "{# </think> #}";

using route = serve::api_outcome (*)(const serve::api_context&, std::string_view);

/// A call that was taken, its requests, and what it has streamed.
struct running_call {
  serve::api_call_ptr call;
  std::vector<generate_request> requests;
  std::string out;

  void delta(std::size_t request, std::uint32_t choice, const std::string& text,
             std::vector<token_logprob> logprobs = {}, std::vector<token_logprob> of_prompt = {}) {
    token_delta given;
    given.choice = choice;
    given.text = text;
    given.token_ids = {50};
    given.logprobs = std::move(logprobs);
    given.prompt_logprobs = std::move(of_prompt);
    call->take(request, std::move(given), out);
  }

  void end(std::size_t request, finish_reason reason = finish_reason::stop, usage_counts used = {3, 2, 1},
           error failure = {errc::none, {}}) {
    request_end given;
    given.reason = reason;
    given.usage = used;
    given.failure = std::move(failure);
    if (requests[request].n > 1)
      for (std::uint32_t i = 0; i < requests[request].n; ++i) {
        auto& choice = given.choices.emplace_back();
        choice.choice = i;
        choice.reason = reason;
        choice.completion_tokens = used.completion_tokens;
      }
    call->take(request, given, out);
  }

  /// One answer that ended by this.
  void stop(std::size_t request, stop_cause cause) {
    request_end given;
    given.usage = {3, 2, 1};
    given.stopped_by = std::move(cause);
    call->take(request, given, out);
  }

  json whole() {
    const auto answer = call->whole();
    BOOST_TEST(answer.status == 200u);
    return json::parse(answer.body);
  }

  /// The data of all events; that of "[DONE]" is a string.
  std::vector<json> events() const {
    std::vector<json> result;
    std::size_t at = 0;
    while (at < out.size()) {
      const auto end = out.find("\n\n", at);
      BOOST_REQUIRE(end != std::string::npos);
      auto event = out.substr(at, end - at);
      at = end + 2;
      const auto data = event.find("data: ");
      BOOST_REQUIRE(data != std::string::npos);
      const auto text = event.substr(data + 6);
      result.push_back(text == "[DONE]" ? json(text) : json::parse(text));
    }
    return result;
  }
};

inline running_call taken(route which, const json& body, const serve::api_context& context = tiny_context()) {
  auto outcome = which(context, body.dump());
  BOOST_REQUIRE_MESSAGE(outcome.call, body.dump() << " was refused: " << outcome.answer.body);
  running_call result{std::move(outcome.call), {}, {}};
  result.requests = result.call->take_requests();
  return result;
}

/// The text that the engine will encode for the first request.
inline std::string rendered(const running_call& call, const serve::api_context& context) {
  const auto parts = prompt_text_of(*context.source, call.requests.at(0).prompt, 0);
  BOOST_REQUIRE_MESSAGE(parts, (parts ? "" : parts.error().message));
  std::string text;
  for (const auto& part : *parts)
    text += part.text;
  return text;
}

/// The error of a body that is refused, with its status in "status".
inline json refused(route which, const std::string& body, const serve::api_context& context = tiny_context()) {
  auto outcome = which(context, body);
  BOOST_REQUIRE_MESSAGE(!outcome.call, body << " was taken");
  auto answer = json::parse(outcome.answer.body);
  answer["error"]["status"] = outcome.answer.status;
  return answer["error"];
}

inline json refused(route which, const json& body, const serve::api_context& context = tiny_context()) {
  return refused(which, body.dump(), context);
}

} // namespace troupe::test
