#include "serve/api/api.hpp"

#include "serve/api/answer_kinds.hpp"
#include "serve/api/call_fields.hpp"
#include "serve/api/embedding_fields.hpp"
#include "serve/api/response_fields.hpp"

namespace troupe::serve {
namespace {

operation about(std::string_view summary, field_kind body, field_kind answer, bool streams = false) {
  operation result;
  result.summary = summary;
  result.body = body;
  result.answer = answer;
  result.streams = streams;
  result.needs_model = true;
  return result;
}

} // namespace

const std::vector<api_operation>& operations() {
  constexpr bool streams = true;
  static const std::vector<api_operation> all = {
    {"/v1/completions", &completions,
     about("Goes on with a text", kind::completion_body, kind::completion_answer, streams)},
    {"/v1/chat/completions", &chat_completions, about("Answers a chat", kind::chat_body, kind::chat_answer, streams)},
    {"/v1/embeddings", &embeddings,
     about("Turns texts into vectors of length 1", kind::embedding_body, kind::embedding_answer)},
    {"/v1/responses", &responses,
     about("Answers a chat, in the shape of OpenAI's newer API", kind::response_body, kind::response_answer,
           streams)},
    {"/v1/messages", &messages,
     about("Answers a chat, in Anthropic's shape", kind::anthropic_body, kind::message_answer, streams)},
    {"/v1/messages/count_tokens", &count_tokens,
     about("How many tokens a chat has, in Anthropic's shape", kind::anthropic_prompt, kind::token_count_answer)},
    {"/tokenize", &tokenize, about("The tokens of a text or of a chat", kind::tokenize_body, kind::tokens_answer)},
    {"/detokenize", &detokenize, about("The text of tokens", kind::detokenize_body, kind::text_answer)},
  };
  return all;
}

} // namespace troupe::serve
