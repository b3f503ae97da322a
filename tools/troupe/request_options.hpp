// What can be asked for with a prompt, defined once: as options of the command line, and as fields of a line of
// `troupe batch`. The names of fields are those of docs/protocol.md.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "protocol/messages.hpp"

namespace CLI {
class App;
}

namespace troupe::cli {

/// Which options a command has.
enum class answers : std::uint8_t {
  one,     ///< One answer, of which only the text is of use: `chat`.
  several, ///< All of them.
};

/// Options that write to `request`. It must outlive the parsing.
void add_request_options(CLI::App* group, generate_request& request, answers which);

/// Sets the field of this name from JSON; false if there is none. Throws something derived from std::exception where
/// the value is of the wrong type.
bool set_request_field(generate_request& request, const std::string& name, const nlohmann::ordered_json& value);

/// As `validate`, for options without a prompt.
expected<void> validate_options(const generate_request& request);

} // namespace troupe::cli
