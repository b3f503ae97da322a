// An entry of the log as a line, for people or for programs. Whatever is in it, it is one line.
#pragma once

#include <string>

#include "protocol/log.hpp"

namespace troupe::serve {

/// The message, and the fields as name=value, in quotes where something else than letters, digits and ._:/+-@ is in them.
/// Control characters, and what changes the direction or the line of a text, are escaped; what is no UTF-8 is U+FFFD.
std::string text_of(const log_entry& entry);

/// The members of a JSON object without its braces: "event", "message" and the fields. ASCII alone.
std::string json_members_of(const log_entry& entry);

} // namespace troupe::serve
