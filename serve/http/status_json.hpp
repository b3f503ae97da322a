// A server's counts as JSON, by the names of docs/protocol.md: what `troupe status --json` prints and /load answers.
#pragma once

#include <type_traits>
#include <vector>

#include <nlohmann/json.hpp>

#include "protocol/status_fields.hpp"

namespace troupe::serve {

/// counts: a server_status, or the tier_status of one of its tiers.
template <class Counts>
nlohmann::ordered_json status_json(const Counts& counts) {
  auto object = nlohmann::ordered_json::object();
  each_field(counts, [&](const char* name, const auto& value) {
    if constexpr (std::is_same_v<decltype(value), const std::vector<tier_status>&>) {
      auto& tiers = object[name] = nlohmann::ordered_json::array();
      for (const auto& tier : value)
        tiers.push_back(status_json(tier));
    } else {
      object[name] = value;
    }
  });
  return object;
}

} // namespace troupe::serve
