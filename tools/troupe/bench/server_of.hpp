// Which server the options name.
#pragma once

#include "tools/troupe/bench/flags.hpp"
#include "tools/troupe/bench/http_exchange.hpp"

namespace troupe::cli {

/// `stop` outlives it. Errors: those of `parse_address`, and of `api_of` for the endpoint.
expected<server_access> access_of(const server_flags& server, const load_flags& load, const stop_signal& stop);

} // namespace troupe::cli
