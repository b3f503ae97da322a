// The order in which sequences are served, as a value: a key, the lower the more urgent.
//
// A key is fixed when a sequence is queued, so that queues are ordered sets and no step costs more because many wait.
// Ageing needs no clock for that: all who wait grow older at the same rate, so the order of (arrival + so much a
// level of priority) never changes, and whoever has waited `ageing_ms` for each level between them goes before a
// more urgent newcomer. So nothing starves under any policy.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>

#include "protocol/error.hpp"
#include "protocol/messages.hpp"

namespace troupe {

struct scheduling_policy {
  enum class kind_type : std::uint8_t {
    first_come, ///< In the order of arrival.
    priority,   ///< By `scheduling_parameters::priority`, with ageing.
    deadline,   ///< By when the first token is due.
  };
  kind_type kind = kind_type::first_come;
  std::uint32_t ageing_ms = 1000;        ///< Waiting so long is worth one level of priority.
  std::uint32_t default_ttft_ms = 10000; ///< Of a request without a target, under `deadline`.
  bool operator==(const scheduling_policy&) const = default;
};

/// Microseconds on the scheduler's clock, whose zero means nothing.
using engine_time = std::uint64_t;

struct urgency {
  std::int64_t due = 0;
  std::uint64_t arrival = 0; ///< Counts sequences: no two are equal.
  auto operator<=>(const urgency&) const = default;
};

std::string_view to_string(scheduling_policy::kind_type policy);

/// Whether the policy looks at all that a request wishes. Error: unsupported, which names the field that would mean
/// nothing.
expected<void> check_wishes(scheduling_policy::kind_type policy, const scheduling_parameters& wishes);

urgency urgency_of(const scheduling_policy& policy, const scheduling_parameters& wishes, engine_time now,
                   std::uint64_t arrival);

} // namespace troupe
