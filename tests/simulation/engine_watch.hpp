// Reads what the actors of an engine say to each other, keeps accounts of its own, and says where a promise is broken.
// It stands on every link, so it knows no more than the actors tell; only `check_integrity` is asked of them directly.
//
//   - Blocks: see block_ledger.hpp.
//   - A cancelled sequence is in no new step, and its blocks are free one step after those in flight have ended.
//   - A sequence's tokens reach its stream in order, each once, and not more than its credit.
//   - A result of an old epoch reaches nobody. No sequence is passed over for ever.
//   - A drained engine has no request, and takes none. Right drafts count once.
//   - When all is over, every block and every ticket is back.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "actors/kv_cache.hpp"
#include "actors/router.hpp"
#include "actors/scheduler.hpp"
#include "actors/stand_ins.hpp"
#include "actors/worker.hpp"
#include "tests/simulation/block_ledger.hpp"
#include "tests/simulation/fake_worker.hpp"
#include "tests/simulation/mischief.hpp"
#include "tests/simulation/real_worker.hpp"
#include "tests/simulation/simulated_tier.hpp"
#include "tests/simulation/virtual_client.hpp"

namespace troupe::simulated {

struct watch_figures {
  std::uint64_t steps = 0, results = 0, resets = 0, preemptions = 0, reports = 0, removals = 0;
  std::uint64_t hit_tokens = 0, tier_hit_tokens = 0, late_hits = 0, forks = 0, wasted_rows = 0;
  std::uint64_t drafts_proposed = 0, drafts_accepted = 0;
};

class engine_watch {
public:
  engine_watch(simulation& world, const world_plan& plan, world_facts& facts, std::shared_ptr<fake_device> device,
               const mischief& bugs);

  /// Who stands between the actors of the engine.
  stand_ins between();
  worker_actor make_worker(const worker_options& options);
  drafter make_drafter();

  /// The actors themselves, once they are there.
  void meet(const actor_tree& tree);

  void after_job(caf::actor_id who);
  void when_quiet();
  void drained(); ///< The operator was told so.
  std::uint64_t spent_blocks() const { return ledger_.spent(); }
  void prefixes_forgotten(std::uint64_t spent) { ledger_.forget(spent); } ///< The same; of all that was spent before.
  void kill_tier();
  void kill_worker();
  void check_at_the_end();
  void release();

  const watch_figures& figures() const { return figures_; }

private:
  struct sequence {
    std::uint64_t credit = 0, tokens = 0;
    urgency order;                 ///< Near enough: the moment at which it was sent.
    caf::actor_id stream = 0;
    bool fork = false;
    std::uint32_t passed_over = 0; ///< By sequences that were asked for later.
    bool scheduled = false, paused = false, finished = false;
    std::optional<std::uint64_t> left_at; ///< Results there were at the first quiet moment after it has left...
    std::uint64_t in_flight_then = 0;     ///< ...and the steps in flight.
    bool drafted = false; ///< It has a drafter, and what that has to know.
    shared_sampling sampling;
    shared_tokens prompt;
    std::vector<token_id> answer;
  };
  using looking = std::function<void(caf::message&)>;

  link_options link(const char* name, place forth, looking look);
  link_options link(const char* name, place forth, looking look, place back, looking look_back);
  std::function<passage(caf::message&)> passing(const char* name, place where, looking look);
  void stream_died(caf::actor_id stream);
  stream_actor linked_stream(const stream_actor& stream);
  void meet_tier(const kv_tier_actor& tier);
  void meet_stream(const caf::strong_actor_ptr& stream);

  void saw_report(caf::message& m);
  void saw_grant(caf::message& m);
  void saw_late_hit(caf::message& m);
  void saw_steps(caf::message& m);
  void saw_failure(caf::message& m);
  void saw_to_stage(caf::message& m);
  void saw_to_router(caf::message& m);
  void saw_from_router(caf::message& m);
  void result_arrived(const caf::message& m);
  passage saw_outcome(caf::message& m);
  void saw_to_scheduler(caf::message& m);
  void saw_flow(const flow_change& change);
  void saw_add(caf::message& m);
  void saw_to_stream(caf::message& m);
  void check_tickets();
  void step_sent(const step_changes& step);
  void count_overtaking(const sequence& scheduled);
  std::vector<token_id> guess(const sequence& s, std::span<const token_id> answer, std::uint32_t most);
  void draft(std::span<draft_query> queries);
  void draft_late(sequence_id id, const sequence& s);
  void broken(const std::string& what) { world_.violate("Engine: " + what); }

  simulation& world_;
  const world_plan& plan_;
  world_facts& facts_;
  std::shared_ptr<fake_device> device_;
  const mischief& bugs_;
  watch_figures figures_;
  actor_tree tree_;
  scheduler_state* scheduler_ = nullptr;
  kv_cache_state* kv_ = nullptr;
  router_state* router_ = nullptr;
  kv_tier_actor_state* tier_ = nullptr;
  kv_tier_actor tier_handle_;
  worker_actor worker_; ///< The present one.
  caf::actor_id scheduler_id_ = 0, kv_id_ = 0, router_id_ = 0, tier_id_ = 0;

  block_ledger ledger_;
  std::map<sequence_id, sequence> sequences_;
  std::map<sequence_id, sequence*> queued_; ///< Asked for and never scheduled.
  std::set<sequence_id> leaving_;           ///< Removed or finished, with blocks that are to be freed.
  std::set<sequence_id> loading_;           ///< Wait for a tier, and hold nobody up meanwhile.
  std::uint64_t epoch_ = 0, next_order_ = 0;
  std::deque<kv_report> reports_;               ///< Sent and not answered.
  std::map<sequence_id, caf::actor_id> open_; ///< Tickets, and the streams that have them.
  std::set<caf::actor_id> met_, dead_;        ///< Streams.
  caf::actor_id asking_ = 0;                  ///< The stream that asks the router now, or is answered.
  std::uint64_t accepted_ = 0;                ///< Drafts, as results say.
  std::map<caf::actor_id, stream_actor> streams_; ///< The link to each.
  stage_actor stage_handle_; ///< The link to the present stage...
  link_control* stage_link_ = nullptr; ///< ...as long as it has not been cut.
  scheduler_actor results_link_, hits_link_;
};

} // namespace troupe::simulated
