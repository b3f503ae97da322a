// The messages and tools of a chat, as templates know them, from the shapes of three APIs.
#pragma once

#include <string_view>

#include "serve/api/call_fields.hpp"

namespace troupe::serve {

// --- messages --------------------------------------------------------------------------------------------------------

/// Of /v1/chat/completions. Content is a string, or a list of parts of text, which are put together with line breaks between
/// them; of an assistant that calls tools it may be absent, and is then empty. "developer" is what newer clients call
/// "system". The arguments of calls are strings of JSON in the API and objects in templates. Errors name the place
/// ("messages[2].content[0].type").
expected<void> read_messages(const place& at, chat_fields& to);

/// Of /v1/messages: blocks of text, thoughts, calls ("tool_use") and their results; each result becomes a message of the
/// role "tool", before the rest of its message.
expected<void> read_anthropic_messages(const place& at, chat_fields& to);

/// The `input` of /v1/responses: a string, or items, of which an assistant's thoughts, text and calls that follow one
/// another are one message.
expected<void> read_input_items(const place& at, chat_fields& to);

void add_message(json message, chat_fields& to);

/// A list of at least one thing, and `max_chat_messages` at most.
expected<void> check_count(const place& at, std::string_view things);

// --- tools -----------------------------------------------------------------------------------------------------------

/// The tools that may be called: functions. Errors: unsupported (other kinds; `strict`).
expected<void> read_tools(const place& at, chat_fields& to);
expected<void> read_response_tools(const place& at, chat_fields& to);
expected<void> read_anthropic_tools(const place& at, chat_fields& to);

/// A call as templates know it.
json call_json(std::string id, std::string name, json arguments);

/// What a string of JSON says, which must be an object; an empty one is one without members.
expected<void> read_arguments(const place& at, json& to);

// --- text ------------------------------------------------------------------------------------------------------------

/// A string, or a list of parts that all are of type "text" (or `other_type`), joined by line breaks.
expected<void> read_text_content(const place& at, std::string& to, std::string_view other_type = "text");
expected<void> read_text_part(const place& at, std::string& to, std::string_view other_type = "text");

/// The `type` of an object of several kinds: read before anything else of it, so that "image_url" is refused for its type and
/// not for its members.
expected<std::string> type_of(const place& at);
tl::unexpected<error> refused_type(const place& at, std::string_view type, std::string_view wanted);

namespace kind {

json message_list();
json anthropic_message_list();
json input_items();

json tool_list();
json response_tool_list();
json anthropic_tool_list();

json text_part_of(std::string_view other_type);
json text_content_of(std::string_view other_type);

template <fixed_text Other = "text">
json text_content() {
  return text_content_of(Other.view());
}

} // namespace kind

} // namespace troupe::serve
