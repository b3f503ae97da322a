// Anthropic's /v1/messages: its calls, whole and streamed.
#include "serve/api/answer_reader.hpp"
#include "serve/api/api.hpp"
#include "serve/api/chat_plan.hpp"
#include "serve/api/chunks.hpp"
#include "serve/api/errors.hpp"
#include "serve/api/identity.hpp"
#include "serve/api/message_blocks.hpp"
#include "serve/api/progress.hpp"
#include "serve/api/response_fields.hpp"

namespace troupe::serve {
namespace {

class message_call final : public api_call {
public:
  message_call(const api_context& context, const anthropic_fields& fields, planned_chat&& chat)
      : identity_(make_identity(context, "msg_")), streams_(fields.call.stream), requests_(std::move(chat.requests)),
        answer_(chat.tools, chat.reasoning) {}

  std::vector<generate_request> take_requests() override { return std::move(requests_); }
  bool streams() const override { return streams_; }

  void take(std::size_t, token_delta&& delta, std::string& out) override {
    answer_part_list parts;
    answer_.feed(delta, parts);
    begin(out);
    blocks_.tell(parts, writer(out));
  }

  void take(std::size_t, const request_end& end, std::string& out) override {
    progress_.end(end);
    if (progress_.failed()) {
      if (streams_ && begun_)
        write_event("error", anthropic_error(progress_.failure()).body, out);
      return;
    }
    reason_ = end.reason;
    progress_.count_thoughts(answer_.thought_tokens());
    stopped_by_ = end.stopped_by;
    answer_part_list parts;
    answer_.finish(parts);
    begin(out);
    blocks_.tell(parts, writer(out));
    blocks_.close(writer(out));
    event("message_delta", {{"delta", stop_json()}, {"usage", usage()}}, out);
    event("message_stop", json::object(), out);
  }

  http_answer whole() override {
    if (progress_.failed())
      return anthropic_error(progress_.failure());
    auto message = head();
    message["content"] = blocks_.list();
    message.update(stop_json());
    message["usage"] = usage();
    http_answer answer;
    answer.body = to_text(message);
    return answer;
  }

private:
  json head() const {
    return {{"id", identity_.id},       {"type", "message"},
            {"role", "assistant"},      {"model", identity_.model},
            {"content", json::array()}, {"stop_reason", nullptr},
            {"stop_sequence", nullptr}, {"usage", {{"input_tokens", 0}, {"output_tokens", 0}}}};
  }

  json usage() const {
    const auto& used = progress_.used();
    return {{"input_tokens", used.prompt_tokens - used.cached_prompt_tokens},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", used.cached_prompt_tokens},
            {"output_tokens", used.completion_tokens},
            {"output_tokens_details", {{"thinking_tokens", progress_.thought_tokens()}}}};
  }

  json stop_json() const {
    if (reason_ == finish_reason::length)
      return {{"stop_reason", "max_tokens"}, {"stop_sequence", nullptr}};
    if (const auto* text = std::get_if<std::string>(&stopped_by_))
      return {{"stop_reason", "stop_sequence"}, {"stop_sequence", *text}};
    if (answer_.calls() > 0)
      return {{"stop_reason", "tool_use"}, {"stop_sequence", nullptr}};
    return {{"stop_reason", "end_turn"}, {"stop_sequence", nullptr}};
  }

  void event(const char* type, const json& members, std::string& out) const {
    if (!streams_)
      return;
    json data = {{"type", type}};
    data.update(members);
    write_event(type, to_text(data), out);
  }

  void begin(std::string& out) {
    if (!std::exchange(begun_, true))
      event("message_start", {{"message", head()}}, out);
  }

  message_blocks::event_writer writer(std::string& out) const {
    return [this, &out](const char* type, json members) { event(type, members, out); };
  }

  call_identity identity_;
  bool streams_;
  call_progress progress_{1};
  std::vector<generate_request> requests_;
  answer_reader answer_;
  message_blocks blocks_;
  bool begun_ = false; ///< The first event is written, or would be in a stream.
  finish_reason reason_ = finish_reason::stop;
  stop_cause stopped_by_;
};

expected<api_call_ptr> make_message_call(const api_context& context, std::string_view text) {
  auto body = parse_body(text);
  if (!body)
    return tl::unexpected(std::move(body.error()));
  auto fields = read_anthropic(*body);
  if (!fields)
    return tl::unexpected(std::move(fields.error()));
  auto chat = make_chat(context, call_fields(fields->call));
  if (!chat)
    return tl::unexpected(rename_field(std::move(chat.error()), "stop", "stop_sequences"));
  return std::make_unique<message_call>(context, *fields, std::move(*chat));
}

} // namespace

api_outcome messages(const api_context& context, std::string_view body) {
  auto call = make_message_call(context, body);
  if (!call)
    return {anthropic_error(call.error()), nullptr};
  return {{}, std::move(*call)};
}

} // namespace troupe::serve
