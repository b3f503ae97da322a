#include "engine/policy.hpp"

#include <algorithm>

namespace troupe {

namespace {

// Far from the ends of the numbers, so that no sum of two such times overflows.
constexpr std::int64_t most_us = std::int64_t{1} << 61;

std::int64_t microseconds(std::int64_t milliseconds) {
  return std::clamp(milliseconds, -most_us / 1000, most_us / 1000) * 1000;
}

} // namespace

urgency urgency_of(const scheduling_policy& policy, const scheduling_parameters& wishes, engine_time now,
                   std::uint64_t arrival) {
  const auto arrived = static_cast<std::int64_t>(std::min<engine_time>(now, most_us));
  switch (policy.kind) {
    case scheduling_policy::kind_type::first_come: break;
    case scheduling_policy::kind_type::priority:
      return {arrived + microseconds(std::int64_t{wishes.priority} * policy.ageing_ms), arrival};
    case scheduling_policy::kind_type::deadline:
      return {arrived + microseconds(wishes.ttft_ms != 0 ? wishes.ttft_ms : policy.default_ttft_ms), arrival};
  }
  return {0, arrival};
}

} // namespace troupe
