#include "serve/observe/actor_rows.hpp"

#include <algorithm>

#include "actors/activity.hpp"

namespace troupe::serve {

namespace {

/// Ids of what is no actor: an engine as a whole.
constexpr std::uint64_t first_engine_id = std::uint64_t{1} << 48;

class row_list {
public:
  row_list(std::vector<actor_activity> counted, caf::actor_id supervisor)
      : counted_(std::move(counted)), supervisor_(supervisor) {
    add_id(supervisor, "supervisor", 0);
  }

  template <class Handle>
  void add(const Handle& actor, std::string name, std::uint64_t parent, bool threaded = false) {
    if (actor)
      add_id(actor.id(), std::move(name), parent, threaded);
  }

  void add_id(std::uint64_t id, std::string name, std::uint64_t parent, bool threaded = false) {
    const auto found = std::ranges::find(counted_, id, &actor_activity::id);
    write(id, std::move(name), parent, threaded, found == counted_.end() ? actor_activity{} : *found);
    if (found != counted_.end())
      counted_.erase(found);
  }

  std::vector<actor_row> take() {
    for (const auto& actor : counted_)
      write(actor.id, actor.name, supervisor_, false, actor);
    return std::move(rows_);
  }

private:
  void write(std::uint64_t id, std::string name, std::uint64_t parent, bool threaded, const actor_activity& counts) {
    rows_.push_back({id, std::move(name), parent, threaded, counts.messages, counts.mailbox,
                     std::chrono::duration<double, std::micro>(counts.busy).count()});
  }

  std::vector<actor_activity> counted_;
  caf::actor_id supervisor_;
  std::vector<actor_row> rows_;
};

} // namespace

std::vector<actor_row> actor_rows(caf::actor_system& system, const supervisor_actor& supervisor,
                                  const actor_tree& tree) {
  const auto root = supervisor.id();
  row_list rows(activity_of(system), root);
  rows.add(tree.router, "router", root);
  for (std::size_t i = 0; i < tree.tokenizers.size(); ++i)
    rows.add(tree.tokenizers[i], "tokenizer " + std::to_string(i), root);
  for (std::size_t e = 0; e < tree.engines.size(); ++e) {
    const auto& engine = tree.engines[e];
    const auto parent = first_engine_id + e;
    rows.add_id(parent, "engine " + std::to_string(e), root, true);
    rows.add(engine.scheduler, "scheduler", parent);
    rows.add(engine.kv_cache, "KV-cache manager", parent);
    rows.add(engine.kv_tier, "KV tier", parent, true);
    rows.add(engine.executor, "executor", parent);
    for (std::size_t w = 0; w < engine.workers.size(); ++w)
      rows.add(engine.workers[w], "worker " + std::to_string(w), engine.executor ? engine.executor.id() : parent,
               true);
  }
  return rows.take();
}

} // namespace troupe::serve
