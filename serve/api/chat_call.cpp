// /v1/chat/completions: its calls, whole and streamed.
#include "serve/api/api.hpp"
#include "serve/api/call_fields.hpp"
#include "serve/api/chunks.hpp"
#include "serve/api/errors.hpp"
#include "serve/api/identity.hpp"
#include "serve/api/logprobs.hpp"
#include "serve/api/progress.hpp"
#include "serve/api/requests.hpp"

namespace troupe::serve {
namespace {

/// What of the body the answer depends on.
struct chat_options {
  std::uint32_t n = 1;
  bool stream = false;
  bool include_usage = false;
  bool logprobs = false;
  std::int32_t prompt_logprobs = -1;
};

class chat_call final : public api_call {
public:
  chat_call(const api_context& context, const chat_options& options, std::vector<generate_request>&& requests)
      : tokens_(context.source->tokens), options_(options), identity_(make_identity(context, "chatcmpl-")),
        chunks_(identity_, "chat.completion.chunk", options.include_usage), progress_(requests.size()),
        requests_(std::move(requests)), choices_(options.n) {}

  std::vector<generate_request> take_requests() override { return std::move(requests_); }
  bool streams() const override { return options_.stream; }

  void take(std::size_t, token_delta&& delta, std::string& out) override {
    if (progress_.failed())
      return;
    auto& choice = choices_[delta.choice];
    if (options_.stream)
      return stream(delta, choice, out);
    choice.text += delta.text;
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
      if (!options_.stream)
        continue;
      begin(each.choice, choice, out);
      chunks_.choice(delta_json(each.choice, json::object(), nullptr, to_string(each.reason)), out);
    }
    if (options_.stream)
      chunks_.finish(progress_.used(), out);
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
                 {"usage", usage_json(progress_.used())}};
    if (options_.prompt_logprobs >= 0)
      body["prompt_logprobs"] = prompt_logprobs(*tokens_, prompt_, options_.prompt_logprobs);
    http_answer answer;
    answer.body = to_text(body);
    return answer;
  }

private:
  struct choice_state {
    std::string text;                    ///< Of a whole answer.
    std::vector<token_logprob> logprobs; ///< The same.
    finish_reason reason = finish_reason::stop;
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

  void stream(const token_delta& delta, choice_state& choice, std::string& out) {
    begin(delta.choice, choice, out);
    if (delta.text.empty() && delta.logprobs.empty())
      return;
    chunks_.choice(delta_json(delta.choice, {{"content", delta.text}}, logprobs_json(delta.logprobs), nullptr), out);
  }

  json whole_choice(std::size_t index) const {
    const auto& choice = choices_[index];
    return {{"index", index},
            {"message", {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}}},
            {"logprobs", logprobs_json(choice.logprobs)},
            {"finish_reason", to_string(choice.reason)}};
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

expected<api_call_ptr> make_call(const api_context& context, std::string_view text) {
  auto body = parse_body(text);
  if (!body)
    return tl::unexpected(std::move(body.error()));
  auto fields = read_chat(*body);
  if (!fields)
    return tl::unexpected(std::move(fields.error()));
  auto& request = fields->request;
  // The engine ends an answer where the context is full.
  request.sampling.max_tokens = fields->max_tokens.value_or(std::max(context.context_length, 1u));
  const chat_options options{request.n, fields->stream, fields->include_usage, request.sampling.logprobs >= 0,
                             request.sampling.prompt_logprobs};
  auto requests = make_requests(context, std::move(*fields));
  if (!requests)
    return tl::unexpected(std::move(requests.error()));
  return std::make_unique<chat_call>(context, options, std::move(*requests));
}

} // namespace

api_outcome chat_completions(const api_context& context, std::string_view body) {
  auto call = make_call(context, body);
  if (!call)
    return {openai_error(call.error()), nullptr};
  return {{}, std::move(*call)};
}

} // namespace troupe::serve
