#include "actors/interfaces.hpp"
#include "bench/actor_probe.hpp"

namespace troupe::bench {

namespace {

template <class T>
std::uint64_t size_of(const std::vector<T>& values) {
  return values.size() * sizeof(T);
}

std::uint64_t bytes_of(const step_changes& step) {
  return sizeof step + size_of(step.left) + size_of(step.joined) + size_of(step.appended) + size_of(step.copied) +
         size_of(step.rows) + size_of(step.tokens) + size_of(step.blocks);
}

std::uint64_t bytes_of(const step_result& result) {
  return sizeof result + size_of(result.sampled) + size_of(result.accepted);
}

std::uint64_t bytes_of(const kv_report& report) {
  return sizeof report + size_of(report.operations) + size_of(report.blocks) + size_of(report.tokens) +
         size_of(report.lookups) + size_of(report.purse_targets);
}

std::uint64_t bytes_of(const kv_grant& grant) {
  auto sum = sizeof grant + size_of(grant.available);
  for (const auto& blocks : grant.blocks)
    sum += size_of(blocks);
  return sum;
}

std::uint64_t bytes_of(const delivery& what) {
  auto sum = sizeof what + size_of(what.messages);
  for (const auto& message : what.messages)
    if (const auto* step = std::get_if<step_deltas>(&message)) {
      sum += size_of(step->deltas);
      for (const auto& delta : step->deltas)
        sum += size_of(delta.token_ids) + delta.text.size();
    }
  return sum;
}

} // namespace

// A step is counted where it is sent first, to the executor; all others share it.
std::uint64_t payload_bytes(caf::type_erased_tuple& content) {
  if (content.match_elements<step_atom, step_ptr>())
    return content.get_as<step_ptr>(1).use_count() == 1 ? bytes_of(*content.get_as<step_ptr>(1)) : 0;
  if (content.match_elements<result_atom, std::uint64_t, step_outcome>()) {
    const auto& outcome = content.get_as<step_outcome>(2);
    return outcome ? bytes_of(*outcome) : 0;
  }
  if (content.match_elements<result_atom, step_result>())
    return bytes_of(content.get_as<step_result>(1));
  if (content.match_elements<tokens_atom, stream_events>())
    return sizeof(stream_events) + size_of(content.get_as<stream_events>(1).tokens);
  if (content.match_elements<report_atom, kv_report>())
    return bytes_of(content.get_as<kv_report>(1));
  if (content.match_elements<kv_grant>())
    return bytes_of(content.get_as<kv_grant>(0));
  if (content.match_elements<deliver_atom, delivery>())
    return bytes_of(content.get_as<delivery>(1));
  return 0;
}

} // namespace troupe::bench
