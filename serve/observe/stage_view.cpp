#include "serve/observe/stage_view.hpp"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

namespace troupe::serve {

namespace {

using nlohmann::json;

double milliseconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

json quantiles_of(std::deque<double> values) {
  const auto at = [&](double share) {
    if (values.empty())
      return 0.0;
    const auto index = static_cast<std::ptrdiff_t>(std::ceil(share * static_cast<double>(values.size()))) - 1;
    const auto place = values.begin() + std::max<std::ptrdiff_t>(index, 0);
    std::nth_element(values.begin(), place, values.end());
    return *place;
  };
  return {{"count", values.size()}, {"p50", at(0.5)}, {"p99", at(0.99)}};
}

/// Ids of what is no actor: an engine as a whole.
constexpr std::uint64_t first_engine_id = std::uint64_t{1} << 48;

/// The tree with what each actor does; an actor that nobody knows the place of is the supervisor's.
class actor_list {
public:
  actor_list(std::vector<actor_activity> counted, caf::actor_id supervisor)
      : counted_(std::move(counted)), supervisor_(supervisor) {
    add(supervisor, "supervisor", 0);
  }

  template <class Handle>
  void add(const Handle& actor, const std::string& name, std::uint64_t parent, bool threaded = false) {
    if (actor)
      add(actor.id(), name, parent, threaded);
  }

  void add(std::uint64_t id, const std::string& name, std::uint64_t parent, bool threaded = false) {
    const auto found = std::ranges::find(counted_, id, &actor_activity::id);
    const actor_activity none;
    write(id, name, parent, threaded, found == counted_.end() ? none : *found);
    if (found != counted_.end())
      counted_.erase(found);
  }

  json take() {
    for (const auto& actor : counted_)
      write(actor.id, actor.name, supervisor_, false, actor);
    return std::move(out_);
  }

private:
  void write(std::uint64_t id, const std::string& name, std::uint64_t parent, bool threaded,
             const actor_activity& counts) {
    out_.push_back({{"id", id},
                    {"name", name},
                    {"parent", parent},
                    {"threaded", threaded},
                    {"mailbox", counts.mailbox},
                    {"messages", counts.messages},
                    {"busy_us", std::chrono::duration<double, std::micro>(counts.busy).count()}});
  }

  std::vector<actor_activity> counted_;
  caf::actor_id supervisor_;
  json out_ = json::array();
};

json actors_of(const actor_tree& tree, caf::actor_id supervisor, std::vector<actor_activity> counted) {
  actor_list list(std::move(counted), supervisor);
  list.add(tree.router, "router", supervisor);
  for (std::size_t i = 0; i < tree.tokenizers.size(); ++i)
    list.add(tree.tokenizers[i], "tokenizer " + std::to_string(i), supervisor);
  for (std::size_t e = 0; e < tree.engines.size(); ++e) {
    const auto& engine = tree.engines[e];
    const auto parent = first_engine_id + e;
    list.add(parent, "engine " + std::to_string(e), supervisor, true);
    list.add(engine.scheduler, "scheduler", parent);
    list.add(engine.kv_cache, "KV-cache manager", parent);
    list.add(engine.kv_tier, "KV tier", parent, true);
    list.add(engine.executor, "executor", parent);
    for (std::size_t w = 0; w < engine.workers.size(); ++w)
      list.add(engine.workers[w], "worker " + std::to_string(w), engine.executor ? engine.executor.id() : parent,
               true);
  }
  return list.take();
}

} // namespace

void stage_view::latencies::add(double ms) {
  if (last.size() == most_latencies)
    last.pop_front();
  last.push_back(ms);
}

void stage_view::first_token(double seconds) {
  const std::lock_guard guard(lock_);
  first_token_.add(seconds * 1000);
}

void stage_view::next_token(double seconds) {
  const std::lock_guard guard(lock_);
  next_token_.add(seconds * 1000);
}

void stage_view::ended(const step_record& step) {
  const std::lock_guard guard(lock_);
  if (steps_.size() == most_steps)
    steps_.pop_front();
  steps_.push_back({++serial_, step});
}

std::string stage_view::json(const server_status& status, const actor_tree& tree, caf::actor_id supervisor,
                             std::vector<actor_activity> actors, std::uint64_t since) const {
  auto steps = nlohmann::json::array();
  nlohmann::json out;
  {
    const std::lock_guard guard(lock_);
    out["uptime_ms"] = milliseconds(std::chrono::steady_clock::now() - begun_);
    out["ttft_ms"] = quantiles_of(first_token_.last);
    out["itl_ms"] = quantiles_of(next_token_.last);
    for (const auto& [serial, step] : steps_)
      if (serial > since)
        steps.push_back({{"serial", serial},
                         {"engine", step.engine},
                         {"step", step.step},
                         {"end_ms", milliseconds(step.ended - begun_)},
                         {"duration_ms", milliseconds(step.ended - step.begun)},
                         {"prefill_tokens", step.prefill_tokens},
                         {"decode_tokens", step.decode_tokens},
                         {"sequences", step.sequences}});
  }
  out["steps"] = std::move(steps);
  out["running"] = status.running;
  out["waiting"] = status.waiting;
  out["paused"] = status.paused;
  out["draining"] = status.draining;
  out["engines"] = tree.engines.size();
  out["engines_up"] = status.engines;
  out["restarts"] = status.restarts;
  out["lost_steps"] = status.lost_steps;
  out["prefix_queries"] = status.prefix_queries;
  out["prefix_hit_tokens"] = status.prefix_hit_tokens;
  out["kv"] = {{"total", status.kv_blocks},
               {"free", status.kv_free},
               {"cached", status.kv_cached},
               {"leased", status.kv_leased},
               {"owned", status.kv_owned}};
  out["actors"] = actors_of(tree, supervisor, std::move(actors));
  return out.dump();
}

} // namespace troupe::serve
