#include "engine/policy.hpp"

#include <algorithm>
#include <string>

namespace troupe {

namespace {

// Far from the ends of the numbers, so that no sum of two such times overflows.
constexpr std::int64_t most_us = std::int64_t{1} << 61;

std::int64_t microseconds(std::int64_t milliseconds) {
  return std::clamp(milliseconds, -most_us / 1000, most_us / 1000) * 1000;
}

} // namespace

std::string_view to_string(scheduling_policy::kind_type policy) {
  switch (policy) {
    case scheduling_policy::kind_type::first_come: return "fcfs";
    case scheduling_policy::kind_type::priority: return "priority";
    case scheduling_policy::kind_type::deadline: return "deadline";
  }
  return "unknown";
}

expected<void> check_wishes(scheduling_policy::kind_type policy, const scheduling_parameters& wishes) {
  using kind = scheduling_policy::kind_type;
  const auto check = [policy](const char* field, bool given, kind needed) -> expected<void> {
    if (!given || policy == needed)
      return {};
    return fail(errc::unsupported, "Field '" + std::string(field) + "' would mean nothing: this server schedules by " +
                                     std::string(to_string(policy)) + ", not by " + std::string(to_string(needed)) +
                                     ". Leave it out.");
  };
  if (auto known = check("priority", wishes.priority != 0, kind::priority); !known)
    return known;
  if (auto known = check("ttft_ms", wishes.ttft_ms != 0, kind::deadline); !known)
    return known;
  return check("itl_ms", wishes.itl_ms != 0, kind::deadline);
}

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
