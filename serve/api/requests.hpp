// From what a body asks for to the requests to the engine, or to the reason why not.
#pragma once

#include <vector>

#include "serve/api/call.hpp"
#include "serve/api/call_fields.hpp"

namespace troupe::serve {

/// not_found ("Field 'model' is ..., which is not served here") unless it is the server's model or an alias.
expected<void> check_model(const api_context& context, const std::optional<std::string>& name);

/// One request for each prompt, each valid as far as can be said without the engine. A seed that the body does not
/// bring is drawn, for each prompt its own. Errors name the field as the API does.
expected<std::vector<generate_request>> make_requests(const api_context& context, call_fields&& fields);

} // namespace troupe::serve
