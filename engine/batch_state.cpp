#include "engine/batch_state.hpp"

#include <string>

namespace troupe {

namespace {

auto broken(sequence_id id, const char* what) {
  return fail(errc::internal, "A step is wrong for sequence " + std::to_string(id) + ": " + what +
                                "; this is a bug of the scheduler.");
}

} // namespace

expected<const batch_state::rows*> batch_state::apply(const step_changes& step) {
  if (step.snapshot)
    sequences_.clear();
  for (auto id : step.left)
    if (sequences_.erase(id) == 0)
      return broken(id, "it left without having joined");
  for (const auto& joined : step.joined) {
    if (joined.mask != 0 || joined.adapter != 0)
      return fail(errc::unsupported, "Grammar masks and adapters are not supported by this worker.");
    if (!sequences_.emplace(joined.sequence, member{joined.sampling, {}, -1}).second)
      return broken(joined.sequence, "it joined twice");
  }
  for (const auto& appended : step.appended) {
    auto found = sequences_.find(appended.sequence);
    if (found == sequences_.end())
      return broken(appended.sequence, "blocks were appended before it joined");
    if (appended.group != 0)
      return fail(errc::unsupported, "More than one KV group is not supported by this worker.");
    found->second.blocks.insert(found->second.blocks.end(), appended.blocks.begin(), appended.blocks.end());
  }
  rows_.tokens.clear();
  rows_.spans.clear();
  rows_.samples.clear();
  for (const auto& r : step.rows) {
    auto found = sequences_.find(r.sequence);
    if (found == sequences_.end())
      return broken(r.sequence, "it has rows but has not joined");
    auto& s = found->second;
    const auto given = static_cast<std::uint32_t>(r.tokens.size());
    if (r.drafts != 0)
      return fail(errc::unsupported, "Draft rows are not supported by this worker.");
    if (r.count == 0 || (given != r.count && (given + 1 != r.count || s.last_token < 0)))
      return broken(r.sequence, "its rows lack tokens");
    if (std::uint64_t{r.first_position} + r.count > s.blocks.size() * std::uint64_t{tokens_per_block})
      return broken(r.sequence, "its rows lack blocks");
    const auto first_row = static_cast<std::uint32_t>(rows_.tokens.size());
    rows_.tokens.insert(rows_.tokens.end(), r.tokens.begin(), r.tokens.end());
    if (given != r.count)
      rows_.tokens.push_back(s.last_token);
    rows_.spans.push_back({r.sequence, first_row, r.count, r.first_position, s.blocks});
    if (r.samples)
      rows_.samples.push_back({r.sequence, first_row + r.count - 1, r.first_position + r.count, s.sampling});
  }
  return &rows_;
}

void batch_state::sampled(sequence_id sequence, token_id token) {
  if (auto found = sequences_.find(sequence); found != sequences_.end())
    found->second.last_token = token;
}

} // namespace troupe
