#include "tests/simulation/planted_bugs.hpp"

#include <array>
#include <memory>
#include <optional>
#include <set>

#include "tests/simulation/tampering.hpp"

namespace troupe::simulated {

namespace {

using kind = kv_operation::kind_type;

mischief leaks_a_block() {
  return before(place::kv_report, with_operations(kind::release, [](simulation& world, auto&, auto&) {
                  return world.random().chance(20);
                }));
}

mischief drops_an_ending() {
  return before(place::to_client, with_deltas([](simulation& world, step_deltas& step) {
                  if (!step.ends.empty() && world.random().chance(30))
                    step.ends.pop_back();
                }));
}

mischief ends_twice() {
  return before(place::to_client, with_deltas([](simulation& world, step_deltas& step) {
                  if (!step.ends.empty() && world.random().chance(30))
                    step.ends.push_back(step.ends.back());
                }));
}

mischief names_a_wrong_reason() {
  return before(place::to_client, with_deltas([](simulation&, step_deltas& step) {
                  for (auto& end : step.ends)
                    if (end.reason == finish_reason::stop)
                      end.reason = finish_reason::length;
                }));
}

mischief counts_a_token_twice() {
  return after(place::to_stream, with<tokens_atom, stream_events>([](simulation& world, stream_events& events) {
                 if (!events.tokens.empty() && !events.tokens.back().finished && world.random().chance(5)) {
                   events.tokens.push_back(events.tokens.back());
                   ++events.tokens.back().index;
                 }
                 return passage::once;
               }));
}

/// The manager has forgotten whom it gave a block to, and leases it again.
mischief grants_a_block_again() {
  auto given = std::make_shared<std::vector<block_id>>();
  return after(place::kv_grant, [given](simulation& world, caf::message& m) {
    if (!m.match_elements<kv_grant>())
      return passage::once;
    auto& grant = m.get_mutable_as<kv_grant>(0);
    if (!given->empty() && world.random().chance(10))
      grant.blocks[0].push_back((*given)[world.random().below(given->size())]);
    given->insert(given->end(), grant.blocks[0].begin(), grant.blocks[0].end());
    return passage::once;
  });
}

/// Some are less urgent than anybody, and age too slowly for it to matter.
mischief starves_a_priority() {
  return after(place::to_scheduler, with<add_atom, new_sequence>([](simulation&, new_sequence& added) {
                 if (added.id % 4 == 0)
                   added.scheduling.priority = 1000;
                 return passage::once;
               }));
}

mischief ignores_a_cancel() {
  return after(place::to_scheduler, [](simulation&, caf::message& m) {
    return is<remove_atom>(m) ? passage::lost : passage::once;
  });
}

mischief ignores_credit() {
  return after(place::to_scheduler, with<add_atom, new_sequence>([](simulation&, new_sequence& added) {
                 added.credit = unlimited_credit;
                 return passage::once;
               }));
}

mischief loses_credit() {
  return after(place::to_scheduler, [](simulation& world, caf::message& m) {
    if (is<flow_atom>(m) && world.random().chance(30))
      m.get_mutable_as<flow_change>(1).credit.clear();
    return is<credit_atom>(m) && world.random().chance(30) ? passage::lost : passage::once;
  });
}

/// A result of an old epoch is taken for that of the step which runs now.
mischief accepts_an_old_result() {
  struct memory {
    std::uint64_t epoch = 0;
    std::optional<step_outcome> outcome;
  };
  auto kept = std::make_shared<memory>();
  return after(place::stage_result, [kept](simulation&, caf::message& m) {
    if (!is<result_atom>(m))
      return passage::once;
    const auto epoch = m.get_as<std::uint64_t>(1);
    auto& outcome = m.get_mutable_as<step_outcome>(2);
    if (kept->outcome && kept->epoch < epoch && outcome && *kept->outcome) {
      auto old = **std::exchange(kept->outcome, std::nullopt);
      old.epoch = epoch;
      old.step = outcome->step;
      outcome = std::move(old);
    } else if (!kept->outcome || epoch == 0) {
      *kept = {epoch, outcome};
    }
    return passage::once;
  });
}

/// A sequence that joins again comes without its last token; the others take its place.
mischief loses_a_token_on_preemption() {
  auto joined = std::make_shared<std::set<sequence_id>>();
  return after(place::steps, with_step([joined](simulation&, step_changes& step) {
                 for (const auto& each : step.joined) {
                   if (joined->insert(each.sequence).second)
                     continue;
                   for (const auto& rows : step.rows)
                     if (rows.slot == each.slot && rows.given() > 1)
                       step.tokens[rows.offset + rows.given() - 1] = step.tokens[rows.offset + rows.given() - 2];
                 }
               }));
}

mischief forgets_to_copy_a_block() {
  return after(place::steps, with_step([](simulation&, step_changes& step) { step.copied.clear(); }));
}

mischief mixes_salts() {
  return after(place::kv_report, with<report_atom, kv_report>([](simulation&, kv_report& report) {
                 for (auto& lookup : report.lookups)
                   lookup.key.salt.clear();
                 return passage::once;
               }));
}

/// A window passes one block too early.
mischief drops_a_window_too_early() {
  return before(place::kv_report, with_operations(kind::drop_front, [](simulation&, kv_operation& each, auto&) {
                  ++each.count;
                  return false;
                }));
}

/// A block is spent twice: by whom it was leased for, and by the next one.
mischief spends_a_block_twice() {
  auto last = std::make_shared<std::optional<block_id>>();
  return before(place::steps, with_step([last](simulation& world, step_changes& step) {
                  for (const auto& each : step.appended) {
                    if (each.group != 0 || each.count == 0)
                      continue;
                    auto& block = step.blocks[each.offset + each.count - 1];
                    if (*last && world.random().chance(10))
                      block = **last;
                    *last = block;
                  }
                }));
}

constexpr auto bugs = std::to_array<planted_bug>({
  {"leaks_a_block", leaks_a_block},
  {"drops_an_ending", drops_an_ending},
  {"ends_twice", ends_twice},
  {"names_a_wrong_reason", names_a_wrong_reason},
  {"counts_a_token_twice", counts_a_token_twice},
  {"grants_a_block_again", grants_a_block_again},
  {"spends_a_block_twice", spends_a_block_twice},
  {"starves_a_priority", starves_a_priority},
  {"ignores_a_cancel", ignores_a_cancel},
  {"ignores_credit", ignores_credit},
  {"loses_credit", loses_credit},
  {"accepts_an_old_result", accepts_an_old_result},
  {"loses_a_token_on_preemption", loses_a_token_on_preemption},
  {"forgets_to_copy_a_block", forgets_to_copy_a_block},
  {"mixes_salts", mixes_salts},
  {"drops_a_window_too_early", drops_a_window_too_early},
});

} // namespace

const std::vector<planted_bug>& planted_bugs() {
  static const auto all = [] {
    std::vector<planted_bug> result(bugs.begin(), bugs.end());
    const auto more = planted_bugs_of_parts();
    result.insert(result.end(), more.begin(), more.end());
    return result;
  }();
  return all;
}

} // namespace troupe::simulated
