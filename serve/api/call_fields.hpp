// What the fields of a body for generation come to: /v1/completions and /v1/chat/completions share most of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/messages.hpp"
#include "serve/api/field_rules.hpp"

namespace troupe::serve {

/// A chat before it is a prompt: what the model's template will see.
struct chat_fields {
  json messages = json::array();     ///< Objects.
  bool plain = true;                 ///< They have roles and contents alone.
  json tools;                        ///< A list, or null.
  bool tools_off = false;            ///< There are some, but none may be called.
  json variables = json::object();   ///< Of the template, beside messages and tools.
  std::optional<std::string> effort; ///< reasoning_effort: a variable of some templates.
  std::optional<bool> add_generation_prompt;
  bool continue_final = false; ///< The answer goes on with the last message, which is the assistant's.
  bool include_reasoning = true;
};

struct call_fields {
  std::optional<std::string> model;
  std::vector<prompt> prompts;
  bool several_prompts = false; ///< They came as a list, so sentences name "prompt[1]".
  chat_fields chat;
  generate_request request; ///< All but its prompt.
  std::optional<std::uint32_t> max_tokens, max_completion_tokens;
  std::optional<std::uint64_t> seed;
  std::optional<bool> chat_logprobs;
  std::optional<std::int32_t> top_logprobs;
  bool stream = false;
  bool stream_options = false; ///< Were there.
  bool include_usage = false;

  call_fields() { request.sampling.temperature = 1.0f; } // As OpenAI documents.
};

using call_table = field_table<call_fields>;

/// model, stream, seed, stop and the like; vLLM's extra ones, too.
call_table shared_call_table();
call_table completion_table(); ///< Those of /v1/completions alone.
call_table chat_table();       ///< Those of /v1/chat/completions alone.

/// By the rule of that name, which must be there: for bodies that have a field in common with these.
expected<void> read_as_in(call_table table, std::string_view name, const place& at, call_fields& to);

/// max_tokens by its several names: at least 1.
expected<void> read_length(const place& at, std::optional<std::uint32_t>& to);

/// Reads a body and what its fields are together. Errors name the field.
expected<call_fields> read_completion(const json& body);
expected<call_fields> read_chat(const json& body);

namespace kind {

json text_format(); ///< response_format
json prompts();     ///< One prompt or several.
json completion_body();
json chat_body();

} // namespace kind

} // namespace troupe::serve
