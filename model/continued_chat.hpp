// Chats whose last message is the beginning of the answer.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/text.hpp"
#include "protocol/error.hpp"

namespace troupe {

/// The variable of a `chat_prompt` that asks for it; templates do not see it.
inline constexpr const char* continue_final_message = "continue_final_message";

/// A rendered chat up to the end of its last message's content: what the template puts behind it (the end of a turn) is left out.
/// Space around the content is there as far as the template leaves it. Errors: invalid_argument (the last message is not the
/// assistant's, or has no text), unsupported (the template does not show the content as it is).
expected<text_parts> up_to_final_content(text_parts rendered, const nlohmann::ordered_json& messages);

} // namespace troupe
