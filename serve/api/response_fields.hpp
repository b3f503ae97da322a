// The bodies of /v1/responses and of Anthropic's /v1/messages, as chats.
#pragma once

#include "serve/api/call_fields.hpp"

namespace troupe::serve {

struct response_fields {
  call_fields call;
  json instructions; ///< A string or null: comes back in the answer.
  json metadata = json::object();
};

struct anthropic_fields {
  call_fields call;
  std::optional<std::string> system;
};

expected<response_fields> read_response(const json& body);
expected<anthropic_fields> read_anthropic(const json& body);

} // namespace troupe::serve
