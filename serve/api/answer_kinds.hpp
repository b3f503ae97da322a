// What is answered, as JSON Schema: every member that an answer may have, and no others. tests/e2e/test_openapi.py compares them with what
// a server says.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "serve/api/json_body.hpp"

namespace troupe::serve::kind {

/// An object with these members and no others; a name with a '?' behind it may be missing.
json object_of(std::initializer_list<std::pair<std::string, json>> members);

/// An object whose one member says so.
json said(const char* member, const char* what);

/// Of the shape that this value has: objects with its members, lists of what its first item is.
json like(const json& sample);

json completion_answer();
json chat_answer();
json response_answer();
json message_answer();
json embedding_answer();
json token_count_answer();
json tokens_answer();
json text_answer();
json models_answer();
json model_answer();

json openai_error();
json anthropic_error();

} // namespace troupe::serve::kind
