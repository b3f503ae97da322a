// What tells one call's answer from others: an id, the time, the model's name and a fingerprint.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "serve/api/call.hpp"

namespace troupe::serve {

struct call_identity {
  std::string id;
  std::int64_t created = 0; ///< Seconds since 1970.
  std::string model;
  std::string fingerprint;
};

/// `prefix` and 32 random hexadecimal digits: "chatcmpl-...".
std::string random_id(std::string_view prefix);

/// For requests that bring no seed. Below 2^63, so that any client can send it back.
std::uint64_t random_seed();

std::int64_t seconds_now();

call_identity make_identity(const api_context& context, std::string_view prefix);

} // namespace troupe::serve
