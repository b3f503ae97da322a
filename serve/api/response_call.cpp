// /v1/responses: its calls, whole and streamed.
#include "serve/api/answer_reader.hpp"
#include "serve/api/api.hpp"
#include "serve/api/chat_plan.hpp"
#include "serve/api/chunks.hpp"
#include "serve/api/errors.hpp"
#include "serve/api/identity.hpp"
#include "serve/api/progress.hpp"
#include "serve/api/response_fields.hpp"
#include "serve/api/response_items.hpp"

namespace troupe::serve {
namespace {

json usage_of(const call_progress& progress) {
  const auto& used = progress.used();
  return {{"input_tokens", used.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", used.cached_prompt_tokens}, {"cache_write_tokens", 0}}},
          {"output_tokens", used.completion_tokens},
          {"output_tokens_details", {{"reasoning_tokens", progress.thought_tokens()}}},
          {"total_tokens", std::uint64_t{used.prompt_tokens} + used.completion_tokens}};
}

class response_call final : public api_call {
public:
  response_call(const api_context& context, const response_fields& fields, planned_chat&& chat)
      : identity_(make_identity(context, "resp_")), streams_(fields.call.stream), requests_(std::move(chat.requests)),
        answer_(chat.tools, chat.reasoning) {
    const auto& sampling = fields.call.request.sampling;
    const auto most = fields.call.max_tokens;
    head_ = {{"id", identity_.id},
             {"object", "response"},
             {"created_at", identity_.created},
             {"model", identity_.model},
             {"instructions", fields.instructions},
             {"metadata", fields.metadata},
             {"temperature", sampling.temperature},
             {"top_p", sampling.top_p},
             {"max_output_tokens", most ? json(*most) : json()},
             {"parallel_tool_calls", true},
             {"tool_choice", fields.tool_choice},
             {"tools", fields.tools},
             {"text", {{"format", {{"type", "text"}}}}},
             {"truncation", "disabled"},
             {"store", false},
             {"previous_response_id", nullptr}};
  }

  std::vector<generate_request> take_requests() override { return std::move(requests_); }
  bool streams() const override { return streams_; }

  void take(std::size_t, token_delta&& delta, std::string& out) override {
    answer_part_list parts;
    answer_.feed(delta, parts);
    begin(out);
    items_.tell(parts, writer(out));
  }

  void take(std::size_t, const request_end& end, std::string& out) override {
    progress_.end(end);
    if (progress_.failed() && !begun_)
      return;
    progress_.count_thoughts(answer_.thought_tokens());
    reason_ = end.reason;
    begin(out);
    if (progress_.failed()) {
      items_.give_up(writer(out));
    } else {
      answer_part_list parts;
      answer_.finish(parts);
      items_.tell(parts, writer(out));
      items_.end(reason_ != finish_reason::length, writer(out));
    }
    const auto status = this->status();
    event(status, {{"response", body(status)}}, out);
  }

  http_answer whole() override {
    if (progress_.failed())
      return openai_error(progress_.failure());
    http_answer answer;
    answer.body = to_text(body(status()));
    return answer;
  }

private:
  std::string status() const {
    if (progress_.failed())
      return "failed";
    return reason_ == finish_reason::length ? "incomplete" : "completed";
  }

  json body(std::string_view status) const {
    json result = head_;
    const bool begun = status == "in_progress";
    result["status"] = status;
    result["output"] = begun ? json::array() : items_.list();
    result["error"] = nullptr;
    if (status == "failed")
      result["error"] = {{"code", "server_error"}, {"message", progress_.failure().message}};
    result["incomplete_details"] = nullptr;
    if (status == "incomplete")
      result["incomplete_details"] = {{"reason", "max_output_tokens"}};
    result["usage"] = status == "in_progress" ? json() : usage_of(progress_);
    return result;
  }

  void event(const std::string& type, const json& members, std::string& out) {
    if (!streams_)
      return;
    const auto name = "response." + type;
    json data = {{"type", name}, {"sequence_number", sequence_++}};
    data.update(members);
    write_event(name, to_text(data), out);
  }

  void begin(std::string& out) {
    if (std::exchange(begun_, true))
      return;
    event("created", {{"response", body("in_progress")}}, out);
    event("in_progress", {{"response", body("in_progress")}}, out);
  }

  response_items::event_writer writer(std::string& out) {
    return [this, &out](const std::string& type, json members) { event(type, std::move(members), out); };
  }

  call_identity identity_;
  bool streams_;
  json head_; ///< What the answer repeats of the request.
  call_progress progress_{1};
  std::vector<generate_request> requests_;
  answer_reader answer_;
  response_items items_;
  bool begun_ = false; ///< The first event is written, or would be in a stream.
  finish_reason reason_ = finish_reason::stop;
  std::uint64_t sequence_ = 0;
};

expected<api_call_ptr> make_response_call(const api_context& context, std::string_view text) {
  auto body = parse_body(text);
  if (!body)
    return tl::unexpected(std::move(body.error()));
  auto fields = read_response(*body);
  if (!fields)
    return tl::unexpected(std::move(fields.error()));
  auto chat = make_chat(context, call_fields(fields->call));
  if (!chat)
    return tl::unexpected(
      rename_field(rename_field(std::move(chat.error()), "messages", "input"), "max_tokens", "max_output_tokens"));
  return std::make_unique<response_call>(context, *fields, std::move(*chat));
}

} // namespace

api_outcome responses(const api_context& context, std::string_view body) {
  auto call = make_response_call(context, body);
  if (!call)
    return {openai_error(call.error()), nullptr};
  return {{}, std::move(*call)};
}

} // namespace troupe::serve
