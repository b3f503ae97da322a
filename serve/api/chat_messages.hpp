// The `messages` of a chat, as templates know them.
#pragma once

#include <string_view>

#include "serve/api/call_fields.hpp"

namespace troupe::serve {

/// Content is a string, or a list of parts of text, which are put together with line breaks between them; of an
/// assistant that calls tools it may be absent, and is then empty. "developer" is what newer clients call "system". The
/// arguments of calls are strings of JSON in the API and objects in templates. Errors name the place
/// ("messages[2].content[0].type").
expected<void> read_messages(const place& at, chat_fields& to);

/// The tools that may be called: functions. Errors: unsupported (other kinds; `strict`).
expected<void> read_tools(const place& at, chat_fields& to);

/// A string, or a list of parts that all are of type "text" (or `other_type`), joined by line breaks.
expected<void> read_text_content(const place& at, std::string& to, std::string_view other_type = "text");

} // namespace troupe::serve
