#include "tests/simulation/story.hpp"

#include <sstream>

namespace troupe::simulated {

namespace {

void tell(std::ostream& out, const step_changes& step) {
  out << "step " << step.step << " of epoch " << step.epoch << (step.snapshot ? ", snapshot" : "");
  for (auto slot : step.left)
    out << "; slot " << slot << " left";
  for (const auto& joined : step.joined)
    out << "; " << joined.sequence << " joined slot " << joined.slot;
  for (const auto& appended : step.appended) {
    out << "; slot " << appended.slot << " group " << int{appended.group} << " +";
    for (std::uint32_t i = 0; i < appended.count; ++i)
      out << ' ' << static_cast<std::int64_t>(static_cast<std::int32_t>(step.blocks[appended.offset + i]));
  }
  for (const auto& copied : step.copied)
    out << "; group " << int{copied.group} << " copy " << copied.from << " to " << copied.to;
  for (const auto& rows : step.rows)
    out << "; slot " << rows.slot << " [" << rows.first_position << ", " << rows.first_position + rows.count << ")"
        << (rows.samples ? " samples" : "") << (rows.holds_last ? " holds" : "")
        << (rows.drafts ? " drafts " + std::to_string(rows.drafts) : "");
}

void tell(std::ostream& out, const kv_report& report) {
  constexpr const char* names[] = {"spend", "fill", "fork", "drop_front", "release", "take_back"};
  out << "generation " << report.generation << (report.reset ? ", reset" : "");
  for (const auto& each : report.operations) {
    out << "; " << each.sequence << " g" << int{each.group} << ' ' << names[static_cast<int>(each.kind)] << ' ' << each.count;
    if (each.kind == kv_operation::kind_type::spend)
      for (std::uint32_t i = 0; i < each.count; ++i)
        out << " b" << report.blocks[each.offset + i];
  }
  for (const auto& each : report.lookups)
    out << "; look up " << each.sequence << " of " << each.tokens->size();
  for (auto target : report.purse_targets)
    out << "; purse " << target;
}

void tell(std::ostream& out, const kv_grant& grant) {
  out << "generation " << grant.generation;
  for (std::size_t g = 0; g < grant.blocks.size(); ++g) {
    out << "; group " << g << " +";
    for (auto id : grant.blocks[g])
      out << ' ' << id;
    out << " of " << grant.available[g] << " more";
  }
  for (const auto& hit : grant.hits)
    out << "; " << hit.sequence << " hits " << hit.tokens;
}

void tell(std::ostream& out, const stream_events& events) {
  for (const auto& each : events.admissions)
    out << "; " << each.sequence << " admitted";
  for (const auto& each : events.tokens)
    out << "; " << each.sequence << " token " << each.index << (each.finished ? " last" : "");
  for (const auto& each : events.failures)
    out << "; " << each.sequence << " failed: " << each.why.message;
}

} // namespace

std::string story_of(const char* link, const caf::message& m) {
  std::ostringstream out;
  out << link << ": ";
  std::size_t next = 0;
  if (!m.empty() && m.match_element<caf::atom_value>(0))
    out << caf::to_string(m.get_as<caf::atom_value>(next++)) << ' ';
  for (; next < m.size(); ++next) {
    if (m.match_element<step_ptr>(next))
      tell(out, *m.get_as<step_ptr>(next));
    else if (m.match_element<kv_report>(next))
      tell(out, m.get_as<kv_report>(next));
    else if (m.match_element<kv_grant>(next))
      tell(out, m.get_as<kv_grant>(next));
    else if (m.match_element<stream_events>(next))
      tell(out, m.get_as<stream_events>(next));
    else if (m.match_element<step_result>(next))
      out << "step " << m.get_as<step_result>(next).step << " of epoch " << m.get_as<step_result>(next).epoch;
    else if (m.match_element<new_sequence>(next))
      out << "sequence " << m.get_as<new_sequence>(next).id << " of " << m.get_as<new_sequence>(next).prompt->size()
          << " + " << m.get_as<new_sequence>(next).max_tokens << " fork of " << m.get_as<new_sequence>(next).fork_of
          << " drafts " << m.get_as<new_sequence>(next).max_drafts << " credit " << m.get_as<new_sequence>(next).credit;
    else if (m.match_element<std::uint64_t>(next))
      out << m.get_as<std::uint64_t>(next) << ' ';
    else if (m.match_element<std::uint32_t>(next))
      out << m.get_as<std::uint32_t>(next) << ' ';
    else
      out << "... ";
  }
  return out.str();
}

} // namespace troupe::simulated
