// Bugs of the parts that not every world has: tiers, drafts, draining, histories, embeddings, echoes.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "tests/simulation/planted_bugs.hpp"
#include "tests/simulation/tampering.hpp"

namespace troupe::simulated {

namespace {

/// What a tier answers to a load.
tampering with_loaded(std::function<void(simulation&, std::vector<shared_bytes>&)> change) {
  return [change = std::move(change)](simulation& world, caf::message& m) {
    if (m.match_elements<std::vector<shared_bytes>>())
      change(world, m.get_mutable_as<std::vector<shared_bytes>>(0));
    return passage::once;
  };
}

mischief accepts_a_damaged_block() {
  return after(place::from_tier, with_loaded([](simulation& world, std::vector<shared_bytes>& blocks) {
                 for (auto& block : blocks)
                   if (block && world.random().chance(20)) {
                     auto damaged = *block;
                     damaged[world.random().below(damaged.size())] ^= std::byte{1};
                     block = std::make_shared<const std::vector<std::byte>>(std::move(damaged));
                   }
               }));
}

mischief takes_a_missing_block_for_an_empty_one() {
  return after(place::from_tier, with_loaded([](simulation&, std::vector<shared_bytes>& blocks) {
                 for (auto& block : blocks)
                   if (!block)
                     block = std::make_shared<const std::vector<std::byte>>(tokens_per_block * sizeof(token_id));
               }));
}

mischief loads_blocks_into_each_others_places() {
  return after(place::from_tier, with_loaded([](simulation&, std::vector<shared_bytes>& blocks) {
                 std::reverse(blocks.begin(), blocks.end());
               }));
}

/// While it was loaded into, the manager has leased a block to somebody else; the hit comes late, and is used.
mischief uses_a_late_hit_whose_block_was_reused() {
  auto leased = std::make_shared<std::optional<block_id>>();
  auto result = before(place::late_hits, [leased](simulation&, caf::message& m) {
    if (is<hit_atom>(m) && *leased)
      if (auto& blocks = m.get_mutable_as<kv_hit>(1).blocks[0]; !blocks.empty())
        blocks.back() = **leased;
    return passage::once;
  });
  result.after.emplace(place::kv_grant, [leased](simulation&, caf::message& m) {
    if (m.match_elements<kv_grant>() && !m.get_as<kv_grant>(0).blocks[0].empty())
      *leased = m.get_as<kv_grant>(0).blocks[0].back();
    return passage::once;
  });
  return result;
}

/// A late hit is lost: its sequence waits for ever.
mischief forgets_a_late_hit() {
  return after(place::late_hits, [](simulation&, caf::message& m) {
    return is<hit_atom>(m) ? passage::lost : passage::once;
  });
}

/// The router forgets a request that has not begun yet, so that a drain is over too soon.
mischief forgets_a_waiting_request_in_a_drain() {
  auto router = std::make_shared<caf::actor_addr>(); // Weak: a bug outlives its world.
  auto result = after(place::from_router, [router](simulation& world, caf::message& m) {
    if (!m.match_elements<expected<admitted_request>>() || !world.random().chance(30))
      return passage::once;
    const auto& answer = m.get_as<expected<admitted_request>>(0);
    if (auto handle = caf::actor_cast<router_actor>(*router); handle && answer && answer->scheduler)
      caf::anon_send(handle, leave_atom::value, answer->granted);
    return passage::once;
  });
  result.at_start = [router](simulation&, const actor_tree& tree) { *router = tree.router.address(); };
  return result;
}

/// The first right draft of a row takes the place of the token after it, too.
mischief counts_an_accepted_draft_twice() {
  return after(place::results, with<result_atom, step_result>([](simulation&, step_result& result) {
                 std::size_t first = 0;
                 for (auto accepted : result.accepted) {
                   if (accepted > 0)
                     result.sampled[first + 1] = result.sampled[first];
                   first += accepted + 1u;
                 }
                 return passage::once;
               }));
}

/// A draft that was wrong is given out in the place of what was sampled there.
mischief takes_a_wrong_draft_for_right() {
  auto drafts = std::make_shared<std::map<std::uint64_t, std::vector<std::vector<token_id>>>>();
  auto result = after(place::steps, with<step_atom, step_ptr>([drafts](simulation&, step_ptr& step) {
                        for (const auto& rows : step->rows)
                          if (rows.samples) {
                            const auto first = step->tokens.begin() + rows.offset + rows.given() - rows.drafts;
                            (*drafts)[step->step].emplace_back(first, first + rows.drafts);
                          }
                        return passage::once;
                      }));
  result.after.emplace(place::results, with<result_atom, step_result>([drafts](simulation&, step_result& result) {
                         const auto& proposed = (*drafts)[result.step];
                         std::size_t first = 0;
                         for (std::size_t i = 0; i < result.accepted.size(); ++i) {
                           const auto accepted = result.accepted[i];
                           if (i < proposed.size() && accepted < proposed[i].size())
                             result.sampled[first + accepted] = proposed[i][accepted];
                           first += accepted + 1u;
                         }
                         return passage::once;
                       }));
  return result;
}

/// A request's words are banned nowhere.
mischief forgets_bad_words() {
  return after(place::to_scheduler, with<add_atom, new_sequence>([](simulation&, new_sequence& added) {
                 auto sampling = *added.sampling;
                 sampling.bad_words.clear();
                 added.sampling = std::make_shared<const sequence_sampling>(std::move(sampling));
                 return passage::once;
               }));
}

/// A sequence that joins again comes with a history that is not its own.
mischief joins_with_a_wrong_history() {
  return after(place::steps, with_step([](simulation&, step_changes& step) {
                 for (auto& joined : step.joined)
                   if (joined.history && joined.history->size() > joined.prompt_tokens) {
                     auto history = *joined.history;
                     std::rotate(history.begin(), history.begin() + joined.prompt_tokens, history.end());
                     joined.history = std::make_shared<const std::vector<token_id>>(std::move(history));
                   }
               }));
}

/// A mean of what is left to compute is taken for that of the whole prompt.
mischief looks_a_mean_up_in_the_cache() {
  auto means = std::make_shared<std::set<sequence_id>>();
  auto result = before(place::to_scheduler, with<add_atom, new_sequence>([means](simulation&, new_sequence& added) {
                         if (added.sampling->pooling == pooling::mean)
                           means->insert(added.id);
                         return passage::once;
                       }));
  result.before.emplace(place::kv_report, with<report_atom, kv_report>([means](simulation&, kv_report& report) {
                          for (auto& lookup : report.lookups)
                            lookup.may_hit = lookup.may_hit || means->count(lookup.sequence) > 0;
                          return passage::once;
                        }));
  return result;
}

mischief loses_an_embedding() {
  return before(place::to_stream, with<tokens_atom, stream_events>([](simulation&, stream_events& events) {
                  events.embeddings.clear();
                  return passage::once;
                }));
}

mischief echoes_a_prompt_again() {
  return before(place::to_client, with_deltas([](simulation&, step_deltas& step) {
                  for (auto& delta : step.deltas)
                    if (delta.position == 0 && delta.text.size() > 20)
                      delta.text += delta.text;
                }));
}

} // namespace

std::vector<planted_bug> planted_bugs_of_parts() {
  return {
    {"accepts_a_damaged_block", accepts_a_damaged_block},
    {"takes_a_missing_block_for_an_empty_one", takes_a_missing_block_for_an_empty_one},
    {"loads_blocks_into_each_others_places", loads_blocks_into_each_others_places},
    {"uses_a_late_hit_whose_block_was_reused", uses_a_late_hit_whose_block_was_reused},
    {"forgets_a_late_hit", forgets_a_late_hit},
    {"forgets_a_waiting_request_in_a_drain", forgets_a_waiting_request_in_a_drain},
    {"counts_an_accepted_draft_twice", counts_an_accepted_draft_twice},
    {"takes_a_wrong_draft_for_right", takes_a_wrong_draft_for_right},
    {"forgets_bad_words", forgets_bad_words},
    {"joins_with_a_wrong_history", joins_with_a_wrong_history},
    {"looks_a_mean_up_in_the_cache", looks_a_mean_up_in_the_cache},
    {"loses_an_embedding", loses_an_embedding},
    {"echoes_a_prompt_again", echoes_a_prompt_again},
  };
}

} // namespace troupe::simulated
