// The `messages` of a chat, as the engine takes them.
#pragma once

#include "protocol/messages.hpp"
#include "serve/api/field_values.hpp"

namespace troupe::serve {

/// Content is a string, or a list of parts of text, which are put together with line breaks between them.
/// "developer" is what newer clients call "system". Errors name the place ("messages[2].content[0].type").
expected<void> read_messages(const place& at, prompt_messages& to);

/// A string, or a list of parts that all are of type "text" (or `other_type`), joined by line breaks.
expected<void> read_text_content(const place& at, std::string& to, std::string_view other_type = "text");

} // namespace troupe::serve
