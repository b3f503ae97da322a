#include "serve/observe/stage_view.hpp"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

namespace troupe::serve {

namespace {

double milliseconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

nlohmann::json quantiles_of(std::deque<double> values) {
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

nlohmann::json rows_of(const std::vector<actor_row>& actors) {
  auto out = nlohmann::json::array();
  for (const auto& actor : actors)
    out.push_back({{"id", actor.id},
                   {"name", actor.name},
                   {"parent", actor.parent},
                   {"threaded", actor.threaded},
                   {"mailbox", actor.mailbox},
                   {"messages", actor.messages},
                   {"busy_us", actor.busy_us}});
  return out;
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

std::string stage_view::json(const server_status& status, const std::vector<actor_row>& actors,
                             std::uint64_t since) const {
  std::deque<kept_step> kept;
  std::deque<double> first_tokens, next_tokens;
  { // Those who report wait for no more than copies.
    const std::lock_guard guard(lock_);
    const auto wanted = std::ranges::upper_bound(steps_, since, {}, &kept_step::serial);
    kept.assign(wanted, steps_.end());
    first_tokens = first_token_.last;
    next_tokens = next_token_.last;
  }
  nlohmann::json out;
  out["uptime_ms"] = milliseconds(std::chrono::steady_clock::now() - begun_);
  out["ttft_ms"] = quantiles_of(std::move(first_tokens));
  out["itl_ms"] = quantiles_of(std::move(next_tokens));
  auto steps = nlohmann::json::array();
  for (const auto& [serial, step] : kept)
    steps.push_back({{"serial", serial},
                     {"engine", step.engine},
                     {"step", step.step},
                     {"end_ms", milliseconds(step.ended - begun_)},
                     {"duration_ms", milliseconds(step.ended - step.begun)},
                     {"prefill_tokens", step.prefill_tokens},
                     {"decode_tokens", step.decode_tokens},
                     {"sequences", step.sequences}});
  out["steps"] = std::move(steps);
  out["running"] = status.running;
  out["waiting"] = status.waiting;
  out["paused"] = status.paused;
  out["draining"] = status.draining;
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
  out["actors"] = rows_of(actors);
  return out.dump();
}

} // namespace troupe::serve
