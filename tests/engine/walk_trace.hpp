// What a walk does, in words, for whoever looks for the reason of a failure: set `TROUPE_WALK_TRACE`.
#pragma once

#include <cstdlib>
#include <iostream>

#include "engine/planner.hpp"

namespace troupe::test {

class walk_trace {
public:
  template <class... Parts>
  void operator()(const Parts&... parts) const {
    if (on_)
      ((std::cerr << parts << ' '), ...) << '\n';
  }

  void options(const planner_options& o) const {
    (*this)("rows", o.max_batched_tokens, "sequences", o.max_sequences, "logit rows", o.max_logit_rows, "context",
            o.context_length, "policy", int(o.policy.kind), "long", o.long_prefill_tokens, "budget", o.step_budget_ms,
            "ahead", o.steps_ahead, "stages", o.stages, "lookahead", o.lookahead, "skips", o.max_skips);
    for (const auto& group : o.groups)
      (*this)("  group of", group.blocks, "blocks, window", group.window);
  }

  void request(const new_sequence& r, bool taken) const {
    (*this)(taken ? "add" : "refused", r.id, "prompt", r.prompt->size(), "most", r.max_tokens, "credit", r.credit,
            "drafts", r.max_drafts, "fork of", r.fork_of, "priority", r.scheduling.priority, "prompt logprobs",
            r.sampling->prompt_logprobs);
  }

  void step(const step_changes& step) const {
    if (!on_)
      return;
    (*this)("step", step.step, step.snapshot ? "snapshot" : "");
    for (auto slot : step.left)
      (*this)("  left", slot);
    for (const auto& joined : step.joined)
      (*this)("  joined", joined.slot, "sequence", joined.sequence);
    for (const auto& appended : step.appended) {
      std::cerr << "  slot " << appended.slot << " group " << int(appended.group) << " blocks";
      for (std::uint32_t i = 0; i < appended.count; ++i)
        std::cerr << ' ' << static_cast<std::int32_t>(step.blocks.at(appended.offset + i));
      std::cerr << '\n';
    }
    for (const auto& copied : step.copied)
      (*this)("  copied", int(copied.group), copied.from, copied.to);
    for (const auto& rows : step.rows)
      (*this)("  rows of slot", rows.slot, "from", rows.first_position, "count", rows.count, "drafts", rows.drafts,
              rows.samples ? "samples" : "", rows.holds_last ? "holds last" : "",
              rows.prompt_logprobs ? "prompt logprobs" : "");
  }

  void report(const kv_report& report) const {
    if (!on_)
      return;
    (*this)("report of generation", report.generation, report.reset ? "reset" : "");
    constexpr const char* kinds[] = {"spend", "fill", "fork", "drop front", "release", "take back"};
    for (const auto& operation : report.operations)
      (*this)("  ", kinds[static_cast<int>(operation.kind)], operation.sequence, "group", int(operation.group),
              "count", operation.count, "other", operation.other);
    for (const auto& lookup : report.lookups)
      (*this)("   look up", lookup.sequence, "of", lookup.tokens->size(), lookup.may_hit ? "" : "may not hit");
    for (auto target : report.purse_targets)
      (*this)("   target", target);
  }

  void hit(const kv_hit& hit) const { (*this)("  hit of", hit.sequence, hit.tokens, "tokens"); }

  void grant(const kv_grant& grant) const {
    if (!on_)
      return;
    (*this)("grant of generation", grant.generation);
    for (std::size_t g = 0; g < grant.blocks.size(); ++g)
      (*this)("  group", g, "leases", grant.blocks[g].size(), "available", grant.available[g]);
    for (const auto& found : grant.hits)
      hit(found);
  }

  void result(const step_result& result) const {
    (*this)("result of step", result.step, "with", result.sampled.size(), "tokens");
  }

private:
  bool on_ = std::getenv("TROUPE_WALK_TRACE") != nullptr;
};

} // namespace troupe::test
