// JSON to values.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/jinja/value.hpp"

namespace troupe::jinja {

/// Every string, keys too, gets the flag.
value from_json(workspace& ws, const nlohmann::ordered_json& json, bool trusted);

} // namespace troupe::jinja
