// OpenAI's API and what goes with it, as functions of a body: for each route one. They know JSON and the model, and
// neither sockets nor actors; nothing in them blocks, but the longest body takes about a second to read.
//
// Threads: any, also at once. A call belongs to one thread; see call.hpp.
#pragma once

#include <string_view>
#include <vector>

#include "serve/api/call.hpp"
#include "serve/api/operation.hpp"

namespace troupe::serve {

api_outcome completions(const api_context& context, std::string_view body);      ///< POST /v1/completions
api_outcome chat_completions(const api_context& context, std::string_view body); ///< POST /v1/chat/completions

api_outcome embeddings(const api_context& context, std::string_view body); ///< POST /v1/embeddings

api_outcome responses(const api_context& context, std::string_view body); ///< POST /v1/responses
api_outcome messages(const api_context& context, std::string_view body);  ///< POST /v1/messages, Anthropic's

/// POST /v1/messages/count_tokens
api_outcome count_tokens(const api_context& context, std::string_view body);

api_outcome tokenize(const api_context& context, std::string_view body);   ///< POST /tokenize, as vLLM has it
api_outcome detokenize(const api_context& context, std::string_view body); ///< POST /detokenize

/// All that is asked for by POST, in the order in which documents list it.
struct api_operation {
  std::string_view path;
  api_outcome (*read)(const api_context& context, std::string_view body);
  operation about;
};
const std::vector<api_operation>& operations();

http_answer models(const api_context& context);                             ///< GET /v1/models
http_answer model_named(const api_context& context, std::string_view name); ///< GET /v1/models/NAME

namespace kind {

json tokenize_body();
json detokenize_body();

} // namespace kind

} // namespace troupe::serve
