// The bodies of /v1/responses and of Anthropic's /v1/messages, as chats.
#pragma once

#include "serve/api/call_fields.hpp"

namespace troupe::serve {

struct response_fields {
  call_fields call;
  // What comes back in the answer.
  json instructions; ///< A string or null.
  json metadata = json::object();
  json tools = json::array();
  std::string tool_choice = "auto";
};

struct anthropic_fields {
  call_fields call;
  std::optional<std::string> system;
};

expected<response_fields> read_response(const json& body);
expected<anthropic_fields> read_anthropic(const json& body);
expected<anthropic_fields> read_anthropic_prompt(const json& body); ///< Of /v1/messages/count_tokens.

std::vector<field_row> response_rows();
std::vector<field_row> anthropic_rows();

namespace kind {

json response_body();
json anthropic_body();
json anthropic_prompt();

} // namespace kind

} // namespace troupe::serve
