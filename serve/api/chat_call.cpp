// /v1/chat/completions: its calls, whole and streamed.
#include "serve/api/answer_reader.hpp"
#include "serve/api/api.hpp"
#include "serve/api/chat_plan.hpp"
#include "serve/api/chunks.hpp"
#include "serve/api/errors.hpp"
#include "serve/api/identity.hpp"
#include "serve/api/logprobs.hpp"
#include "serve/api/progress.hpp"

namespace troupe::serve {
namespace {

/// What of the body the answer depends on.
struct chat_options {
  std::uint32_t n = 1;
  bool stream = false;
  bool include_usage = false;
  bool logprobs = false;
  std::int32_t prompt_logprobs = -1;
  bool include_reasoning = true;
  tool_format tools = tool_format::none;
  reasoning_format reasoning = reasoning_format::none;
};

class chat_call final : public api_call {
public:
  chat_call(const api_context& context, const chat_options& options, std::vector<generate_request>&& requests)
      : tokens_(context.source->tokens), options_(options), identity_(make_identity(context, "chatcmpl-")),
        chunks_(identity_, "chat.completion.chunk", options.include_usage), progress_(requests.size()),
        requests_(std::move(requests)), choices_(options.n) {
    for (auto& choice : choices_)
      choice.answer = answer_reader(options.tools, options.reasoning);
  }

  std::vector<generate_request> take_requests() override { return std::move(requests_); }
  bool streams() const override { return options_.stream; }

  void take(std::size_t, token_delta&& delta, std::string& out) override {
    if (progress_.failed())
      return;
    auto& choice = choices_[delta.choice];
    answer_part_list parts;
    choice.answer.feed(delta, parts);
    if (options_.stream)
      return stream(delta.choice, choice, parts, delta.logprobs, out);
    keep(choice, std::move(parts));
    append(choice.logprobs, std::move(delta.logprobs));
    append(prompt_, std::move(delta.prompt_logprobs));
  }

  void take(std::size_t, const request_end& end, std::string& out) override {
    progress_.end(end);
    if (progress_.failed()) {
      chunks_.fail(progress_.failure(), out);
      return chunks_.finish_failed(out);
    }
    for (const auto& each : ends_of(end)) {
      auto& choice = choices_[each.choice];
      choice.reason = each.reason;
      choice.stopped_by = each.stopped_by;
      answer_part_list parts;
      choice.answer.finish(parts);
      progress_.count_thoughts(choice.answer.thought_tokens());
      if (!options_.stream) {
        keep(choice, std::move(parts));
        continue;
      }
      stream(each.choice, choice, parts, {}, out);
      auto last = delta_json(each.choice, json::object(), nullptr, reason_of(choice));
      last["stop_reason"] = stop_reason_json(choice.stopped_by, *tokens_);
      chunks_.choice(last, out);
    }
    if (options_.stream)
      chunks_.finish(progress_, out);
  }

  http_answer whole() override {
    if (progress_.failed())
      return openai_error(progress_.failure());
    auto list = json::array();
    for (std::size_t i = 0; i < choices_.size(); ++i)
      list.push_back(whole_choice(i));
    json body = {{"id", identity_.id},
                 {"object", "chat.completion"},
                 {"created", identity_.created},
                 {"model", identity_.model},
                 {"system_fingerprint", identity_.fingerprint},
                 {"choices", std::move(list)},
                 {"usage", usage_json(progress_)}};
    if (options_.prompt_logprobs >= 0)
      body["prompt_logprobs"] = prompt_logprobs(*tokens_, prompt_, options_.prompt_logprobs);
    http_answer answer;
    answer.body = to_text(body);
    return answer;
  }

private:
  struct tool_call {
    std::string id, name, arguments;
  };

  struct choice_state {
    answer_reader answer;
    std::string content, reasoning;      ///< Of a whole answer.
    std::vector<tool_call> calls;        ///< The same.
    std::vector<token_logprob> logprobs; ///< The same.
    finish_reason reason = finish_reason::stop;
    stop_cause stopped_by;
    bool begun = false; ///< Its first chunk, with the role, is written.
  };

  static void append(std::vector<token_logprob>& to, std::vector<token_logprob>&& more) {
    to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }

  static json delta_json(std::size_t index, json delta, json logprobs, json reason) {
    return {{"index", index},
            {"delta", std::move(delta)},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", std::move(reason)}};
  }

  json logprobs_json(std::span<const token_logprob> logprobs) const {
    if (!options_.logprobs)
      return nullptr;
    return {{"content", chat_logprobs(*tokens_, logprobs)}, {"refusal", nullptr}};
  }

  void begin(std::size_t index, choice_state& choice, std::string& out) {
    if (std::exchange(choice.begun, true))
      return;
    chunks_.choice(delta_json(index, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr), out);
  }

  static std::string_view reason_of(const choice_state& choice) {
    const bool called = choice.reason == finish_reason::stop && choice.answer.calls() > 0;
    return called ? "tool_calls" : to_string(choice.reason);
  }

  /// Parts of a whole answer.
  static void keep(choice_state& choice, answer_part_list&& parts) {
    for (auto& part : parts)
      switch (part.what) {
      case answer_part::kind::content:
        choice.content += part.text;
        break;
      case answer_part::kind::reasoning:
        choice.reasoning += part.text;
        break;
      case answer_part::kind::call:
        choice.calls.push_back({random_id("call_"), std::move(part.text), {}});
        break;
      case answer_part::kind::arguments:
        choice.calls[part.call].arguments += part.text;
        break;
      }
  }

  static json part_json(const answer_part& part) {
    switch (part.what) {
    case answer_part::kind::reasoning:
      return {{"reasoning", part.text}, {"reasoning_content", part.text}};
    case answer_part::kind::call:
      return {{"tool_calls", json::array({{{"index", part.call},
                                           {"id", random_id("call_")},
                                           {"type", "function"},
                                           {"function", {{"name", part.text}, {"arguments", ""}}}}})}};
    case answer_part::kind::arguments:
      return {{"tool_calls", json::array({{{"index", part.call}, {"function", {{"arguments", part.text}}}}})}};
    case answer_part::kind::content:
      break;
    }
    return {{"content", part.text}};
  }

  /// A chunk for each part; the logprobs are with the first.
  void stream(std::size_t index, choice_state& choice, const answer_part_list& parts,
              std::span<const token_logprob> logprobs, std::string& out) {
    begin(index, choice, out);
    for (const auto& part : parts) {
      if (part.what == answer_part::kind::reasoning && !options_.include_reasoning)
        continue;
      chunks_.choice(delta_json(index, part_json(part), logprobs.empty() ? json() : logprobs_json(logprobs), nullptr),
                     out);
      logprobs = {};
    }
    if (!logprobs.empty())
      chunks_.choice(delta_json(index, {{"content", ""}}, logprobs_json(logprobs), nullptr), out);
  }

  json message_json(const choice_state& choice) const {
    json message = {{"role", "assistant"}, {"content", choice.content}, {"refusal", nullptr}};
    if (choice.content.empty() && !choice.calls.empty())
      message["content"] = nullptr;
    if (!choice.reasoning.empty() && options_.include_reasoning)
      message["reasoning"] = message["reasoning_content"] = choice.reasoning;
    for (const auto& call : choice.calls)
      message["tool_calls"].push_back(
        {{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    return message;
  }

  json whole_choice(std::size_t index) const {
    const auto& choice = choices_[index];
    return {{"index", index},
            {"message", message_json(choice)},
            {"logprobs", logprobs_json(choice.logprobs)},
            {"finish_reason", reason_of(choice)},
            {"stop_reason", stop_reason_json(choice.stopped_by, *tokens_)}};
  }

  std::shared_ptr<const tokenizer> tokens_;
  chat_options options_;
  call_identity identity_;
  chunk_writer chunks_;
  call_progress progress_;
  std::vector<generate_request> requests_; ///< The one, until it is taken.
  std::vector<choice_state> choices_;
  std::vector<token_logprob> prompt_;
};

expected<api_call_ptr> make_chat_call(const api_context& context, std::string_view text) {
  auto body = parse_body(text);
  if (!body)
    return tl::unexpected(std::move(body.error()));
  auto fields = read_chat(*body);
  if (!fields)
    return tl::unexpected(std::move(fields.error()));
  chat_options options;
  options.n = fields->request.n;
  options.stream = fields->stream;
  options.include_usage = fields->include_usage;
  options.logprobs = fields->request.sampling.logprobs >= 0;
  options.prompt_logprobs = fields->request.sampling.prompt_logprobs;
  options.include_reasoning = fields->chat.include_reasoning;
  auto chat = make_chat(context, std::move(*fields));
  if (!chat)
    return tl::unexpected(std::move(chat.error()));
  options.tools = chat->tools;
  options.reasoning = chat->reasoning;
  return std::make_unique<chat_call>(context, options, std::move(chat->requests));
}

} // namespace

api_outcome chat_completions(const api_context& context, std::string_view body) {
  auto call = make_chat_call(context, body);
  if (!call)
    return {openai_error(call.error()), nullptr};
  return {{}, std::move(*call)};
}

} // namespace troupe::serve
