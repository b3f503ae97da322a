// Several engines behind one router, in virtual time, for tests of routing: each has a real KV store and serves one
// request after the other, what it computes taking its time. What they tell the router comes late.
#pragma once

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <queue>
#include <random>

#include "engine/kv/store.hpp"
#include "engine/routing.hpp"

namespace troupe::test {

/// Microseconds, or whatever a token of a prompt takes.
using virtual_time = double;

struct routed_request {
  virtual_time at = 0;
  shared_tokens prompt;
  std::uint32_t answer_tokens = 0;
};

/// Prompts of a shared prefix each, and an end of their own.
struct routed_workload {
  std::uint32_t prefixes = 20, prefix_tokens = 2048, requests = 4000;
  double zipf = 0;           ///< Exponent; 0: all alike.
  virtual_time interval = 0; ///< Between two, on average.
  std::uint32_t answer_tokens = 32;
  std::uint32_t seed = 1;

  std::vector<routed_request> make() const {
    std::mt19937 random(seed);
    const auto uniform = [&] { return (random() + 0.5) / 4294967296.0; };
    std::vector<double> sums;
    for (std::uint32_t i = 0; i < prefixes; ++i)
      sums.push_back((sums.empty() ? 0 : sums.back()) + std::pow(i + 1, -zipf));
    std::vector<routed_request> result;
    virtual_time now = 0;
    for (std::uint32_t r = 0; r < requests; ++r) {
      const auto prefix = std::lower_bound(sums.begin(), sums.end(), uniform() * sums.back()) - sums.begin();
      auto tokens = std::make_shared<std::vector<token_id>>();
      for (std::uint32_t i = 0; i < prefix_tokens; ++i)
        tokens->push_back(static_cast<token_id>(prefix * 100000 + i));
      const auto own = 16 + random() % 113;
      for (std::uint32_t i = 0; i < own; ++i)
        tokens->push_back(static_cast<token_id>(10000000 + random() % 1000000));
      result.push_back({now, std::move(tokens), answer_tokens});
      now -= std::log(uniform()) * interval;
    }
    return result;
  }
};

class routed_engine {
public:
  explicit routed_engine(std::uint32_t blocks) {
    kv_store_options options;
    options.groups = {{blocks, 0}};
    options.events = true;
    auto made = kv_store::make(options);
    BOOST_REQUIRE(made);
    store_.emplace(std::move(*made));
  }

  struct served {
    virtual_time begun = 0, ended = 0;
    std::uint32_t hit = 0;
    std::optional<kv_event_batch> events;
    std::uint64_t free_tokens = 0;
  };

  served serve(sequence_id id, const routed_request& r) {
    const auto tokens = static_cast<std::uint32_t>(r.prompt->size());
    kv_report ask;
    ask.lookups.push_back({id, r.prompt, {}, true});
    ask.purse_targets = {tokens / tokens_per_block + 1};
    auto grant = store_->apply(ask);
    BOOST_REQUIRE_MESSAGE(grant, grant.error().message);
    purse_.insert(purse_.end(), grant->blocks[0].begin(), grant->blocks[0].end());
    served result;
    result.hit = grant->hits.at(0).tokens;
    const auto full = tokens / tokens_per_block, had = result.hit / tokens_per_block;
    BOOST_REQUIRE(purse_.size() >= full + 1 - had);
    kv_report done;
    done.operations.push_back({kv_operation::kind_type::spend, 0, full + 1 - had, 0, id, 0});
    done.blocks.assign(purse_.end() - (full + 1 - had), purse_.end());
    purse_.resize(purse_.size() - (full + 1 - had));
    done.operations.push_back({kv_operation::kind_type::fill, 0, (full - had) * tokens_per_block, 0, id, 0});
    done.operations.push_back({kv_operation::kind_type::release, 0, 0, 0, id, 0});
    auto after = store_->apply(done);
    BOOST_REQUIRE_MESSAGE(after, after.error().message);
    result.events = numbers_.next(store_->take_events());
    result.free_tokens = std::uint64_t{after->available[0]} * tokens_per_block;
    result.begun = std::max(free_at_, r.at);
    const auto work = tokens - result.hit + 8 * r.answer_tokens; // Few decode at once here: such a token costs more.
    free_at_ = result.ended = result.begun + work;
    ++requests;
    worked += work;
    hits += result.hit;
    waited += result.begun - r.at;
    return result;
  }

  std::uint64_t requests = 0, worked = 0, hits = 0;
  virtual_time waited = 0;

private:
  std::optional<kv_store> store_;
  std::vector<block_id> purse_;
  kv_event_numbers numbers_;
  virtual_time free_at_ = 0;
};

struct routed_figures {
  std::uint64_t hit_tokens = 0;
  double requests_spread = 0, work_spread = 0; ///< Most over mean.
  double mean_wait = 0;
  std::vector<std::uint64_t> requests;
};

/// Runs the workload. `router` null: in turns.
inline routed_figures run_routed(const std::vector<routed_request>& work, std::size_t engines, std::uint32_t blocks,
                                 routing* router, virtual_time report_delay = 500) {
  struct report {
    virtual_time at;
    std::uint64_t order;
    std::function<void()> tell;
    bool operator<(const report& other) const { return std::tie(at, order) > std::tie(other.at, other.order); }
  };
  std::priority_queue<report> reports;
  std::uint64_t order = 0;
  std::vector<std::unique_ptr<routed_engine>> all;
  for (std::size_t i = 0; i < engines; ++i)
    all.push_back(std::make_unique<routed_engine>(blocks));
  sequence_id id = 0;
  for (const auto& r : work) {
    ++id;
    for (; !reports.empty() && reports.top().at <= r.at; reports.pop())
      reports.top().tell();
    std::size_t chosen = id % engines;
    if (router) {
      auto placed = router->place(id, 1, {r.prompt, {}, true});
      BOOST_REQUIRE(placed);
      chosen = *placed;
    }
    const auto served = all[chosen]->serve(id, r);
    if (!router)
      continue;
    const auto e = static_cast<engine_index>(chosen);
    reports.push({served.begun + report_delay, ++order, [=] {
                    router->take(e, engine_load{{{id, served.hit}}, served.free_tokens});
                  }});
    reports.push({served.ended + report_delay, ++order, [=] {
                    if (served.events)
                      router->take(e, *served.events);
                    router->leave(id);
                  }});
  }
  routed_figures result;
  double most_requests = 0, most_worked = 0, worked = 0;
  for (const auto& e : all) {
    result.hit_tokens += e->hits;
    result.mean_wait += e->waited / static_cast<double>(work.size());
    result.requests.push_back(e->requests);
    most_requests = std::max(most_requests, static_cast<double>(e->requests));
    most_worked = std::max(most_worked, static_cast<double>(e->worked));
    worked += static_cast<double>(e->worked);
  }
  result.requests_spread = most_requests * static_cast<double>(engines) / static_cast<double>(work.size());
  result.work_spread = most_worked * static_cast<double>(engines) / worked;
  return result;
}

} // namespace troupe::test
