// What a chat comes to with the model that serves it: its prompt, and how its answer is taken apart.
#pragma once

#include "serve/api/answer_parts.hpp"
#include "serve/api/call.hpp"
#include "serve/api/call_fields.hpp"

namespace troupe::serve {

struct chat_plan {
  prompt made;
  tool_format tools = tool_format::none;
  reasoning_format reasoning = reasoning_format::none;
};

/// Errors: unsupported (the model's template has no place for what is asked; it names the field).
expected<chat_plan> plan_chat(const api_context& context, chat_fields&& fields);

/// The whole way: the one request to the engine, and how its answer is taken apart.
struct planned_chat {
  std::vector<generate_request> requests;
  tool_format tools = tool_format::none;
  reasoning_format reasoning = reasoning_format::none;
};

/// Without max_tokens an answer may be as long as the context. Errors: those of `make_requests`, too.
expected<planned_chat> make_chat(const api_context& context, call_fields&& fields);

} // namespace troupe::serve
