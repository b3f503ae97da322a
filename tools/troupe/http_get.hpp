// The smallest HTTP client: one question to a Troupe on this or another machine.
#pragma once

#include <chrono>
#include <string>

#include "protocol/error.hpp"

namespace troupe::cli {

/// The body of a GET, with the first key of TROUPE_API_KEY if that is set. `url` is "http://HOST:PORT". Errors:
/// invalid_argument (another kind of URL), unavailable (nobody answers, or with another status than 200).
expected<std::string> http_get(const std::string& url, const std::string& path, std::chrono::milliseconds patience);

} // namespace troupe::cli
