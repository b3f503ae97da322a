// /v1/responses: text in, text out; whole and streamed.
#include "serve/api/answer_parts.hpp"
#include "serve/api/api.hpp"
#include "serve/api/chat_plan.hpp"
#include "serve/api/chunks.hpp"
#include "serve/api/errors.hpp"
#include "serve/api/identity.hpp"
#include "serve/api/progress.hpp"
#include "serve/api/response_fields.hpp"

namespace troupe::serve {
namespace {

json output_text(const std::string& text) {
  return {{"type", "output_text"}, {"text", text}, {"annotations", json::array()}, {"logprobs", json::array()}};
}

json reasoning_text(const std::string& text) {
  return {{"type", "reasoning_text"}, {"text", text}};
}

json usage_of(const usage_counts& used) {
  return {{"input_tokens", used.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", used.cached_prompt_tokens}, {"cache_write_tokens", 0}}},
          {"output_tokens", used.completion_tokens},
          {"output_tokens_details", {{"reasoning_tokens", 0}}},
          {"total_tokens", std::uint64_t{used.prompt_tokens} + used.completion_tokens}};
}

class response_call final : public api_call {
public:
  response_call(const api_context& context, const response_fields& fields, planned_chat&& chat)
      : identity_(make_identity(context, "resp_")), streams_(fields.call.stream), requests_(std::move(chat.requests)),
        splitter_(chat.tools, chat.reasoning) {
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
             {"tool_choice", "auto"},
             {"tools", json::array()},
             {"text", {{"format", {{"type", "text"}}}}},
             {"truncation", "disabled"},
             {"store", false},
             {"previous_response_id", nullptr}};
  }

  std::vector<generate_request> take_requests() override { return std::move(requests_); }
  bool streams() const override { return streams_; }

  void take(std::size_t, token_delta&& delta, std::string& out) override {
    answer_part_list parts;
    splitter_.feed(delta.text, parts);
    begin(out);
    tell(parts, out);
  }

  void take(std::size_t, const request_end& end, std::string& out) override {
    progress_.end(end);
    if (progress_.failed() && !begun_)
      return;
    answer_part_list parts;
    splitter_.finish(parts);
    reason_ = end.reason;
    begin(out);
    if (!progress_.failed()) {
      tell(parts, out);
      if (items_.empty()) // An answer without any text has a message, too.
        open(false, out);
    }
    close(out);
    const auto status = this->status();
    event("response." + status, {{"response", body(status)}}, out);
  }

  http_answer whole() override {
    if (progress_.failed())
      return openai_error(progress_.failure());
    http_answer answer;
    answer.body = to_text(body(status()));
    return answer;
  }

private:
  /// What the model thought, or its message.
  struct item {
    bool thought = false;
    std::string id, text;
  };

  std::string status() const {
    if (progress_.failed())
      return "failed";
    return reason_ == finish_reason::length ? "incomplete" : "completed";
  }

  static json item_json(const item& item, std::string_view status) {
    if (item.thought)
      return {{"id", item.id},
              {"type", "reasoning"},
              {"summary", json::array()},
              {"content", item.text.empty() ? json::array() : json::array({reasoning_text(item.text)})},
              {"status", status}};
    const bool begun = status == "in_progress";
    return {{"id", item.id},
            {"type", "message"},
            {"role", "assistant"},
            {"status", status},
            {"content", begun ? json::array() : json::array({output_text(item.text)})}};
  }

  json body(std::string_view status) const {
    json result = head_;
    auto output = json::array();
    for (const auto& item : items_)
      output.push_back(item_json(item, status == "completed" ? "completed" : "incomplete"));
    result["status"] = status;
    result["output"] = status == "in_progress" ? json::array() : std::move(output);
    result["error"] = nullptr;
    if (status == "failed")
      result["error"] = {{"code", "server_error"}, {"message", progress_.failure().message}};
    result["incomplete_details"] = nullptr;
    if (status == "incomplete")
      result["incomplete_details"] = {{"reason", "max_output_tokens"}};
    result["usage"] = status == "in_progress" ? json() : usage_of(progress_.used());
    return result;
  }

  void event(const std::string& type, json more, std::string& out) {
    if (!streams_)
      return;
    json data = {{"type", type}, {"sequence_number", sequence_++}};
    data.update(more);
    write_event(type, to_text(data), out);
  }

  void begin(std::string& out) {
    if (std::exchange(begun_, true))
      return;
    event("response.created", {{"response", body("in_progress")}}, out);
    event("response.in_progress", {{"response", body("in_progress")}}, out);
  }

  json place_of() const {
    return {{"item_id", items_.back().id}, {"output_index", items_.size() - 1}, {"content_index", 0}};
  }

  static json with(json place, const char* key, json value) {
    place[key] = std::move(value);
    return place;
  }

  json part_of(const std::string& text) const {
    return items_.back().thought ? reasoning_text(text) : output_text(text);
  }

  void open(bool thought, std::string& out) {
    items_.push_back({thought, random_id(thought ? "rs_" : "msg_"), {}});
    open_ = true;
    event("response.output_item.added",
          {{"output_index", items_.size() - 1}, {"item", item_json(items_.back(), "in_progress")}}, out);
    event("response.content_part.added", with(place_of(), "part", part_of("")), out);
  }

  void close(std::string& out) {
    if (!std::exchange(open_, false))
      return;
    const auto& item = items_.back();
    const std::string kind = item.thought ? "response.reasoning_text" : "response.output_text";
    auto done = with(place_of(), "text", item.text);
    if (!item.thought)
      done["logprobs"] = json::array();
    event(kind + ".done", std::move(done), out);
    event("response.content_part.done", with(place_of(), "part", part_of(item.text)), out);
    const bool whole = !progress_.failed() && reason_ != finish_reason::length;
    event("response.output_item.done",
          {{"output_index", items_.size() - 1}, {"item", item_json(item, whole ? "completed" : "incomplete")}}, out);
  }

  void tell(const answer_part_list& parts, std::string& out) {
    for (const auto& part : parts) {
      const bool thought = part.what == answer_part::kind::reasoning;
      if (open_ && items_.back().thought != thought)
        close(out);
      if (!open_)
        open(thought, out);
      items_.back().text += part.text;
      auto delta = with(place_of(), "delta", part.text);
      if (!thought)
        delta["logprobs"] = json::array();
      event(thought ? "response.reasoning_text.delta" : "response.output_text.delta", std::move(delta), out);
    }
  }

  call_identity identity_;
  bool streams_;
  json head_; ///< What the answer repeats of the request.
  call_progress progress_{1};
  std::vector<generate_request> requests_;
  answer_splitter splitter_;
  std::vector<item> items_;
  bool begun_ = false; ///< The first event is written, or would be in a stream.
  bool open_ = false;  ///< The last item goes on.
  finish_reason reason_ = finish_reason::stop;
  std::uint64_t sequence_ = 0;
};

expected<api_call_ptr> make_call(const api_context& context, std::string_view text) {
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
  auto call = make_call(context, body);
  if (!call)
    return {openai_error(call.error()), nullptr};
  return {{}, std::move(*call)};
}

} // namespace troupe::serve
