#include "tests/simulation/plan.hpp"

#include <algorithm>

namespace troupe::simulated {

namespace {

void draw_engine(dice& random, world_plan& plan) {
  const auto blocks = random.chance(70) ? random.between(4, 24) : random.between(24, 64);
  plan.groups = {{blocks, 0}};
  plan.answers.capacity = std::min<std::uint32_t>(512, blocks * tokens_per_block);
  if (random.chance(50)) {
    kv_group_options sliding{random.between(3, blocks + 4), random.between(1, 64)};
    const bool slides = sliding.blocks >= (sliding.window + tokens_per_block - 1) / tokens_per_block + 2;
    if (!slides)
      plan.answers.capacity = std::min(plan.answers.capacity, sliding.blocks * tokens_per_block);
    plan.groups.push_back(sliding);
  }
  plan.max_batched_tokens = random.chance(30) ? random.between(8, 24) : random.between(24, 128);
  plan.max_sequences = random.between(1, std::min(plan.max_batched_tokens, 10u));
  plan.max_logit_rows = random.between(plan.max_sequences, 2 * plan.max_sequences);
  plan.long_prefill_tokens = random.chance(50) ? random.between(1, 40) : 256;
  plan.steps_in_flight = random.between(1, 3);
  plan.steps_ahead = random.between(1, plan.steps_in_flight);
  plan.lookahead = random.chance(30) ? random.between(1, 3) : 32;
  plan.max_skips = random.below(6);
  plan.step_budget_ms = random.chance(20) ? 0.1 * random.between(1, 10) : 0.0;
  plan.policy.kind = static_cast<scheduling_policy::kind_type>(random.below(3));
  plan.policy.ageing_ms = random.between(1, 50);
  plan.prefix_caching = random.chance(85);
  plan.tokenizers = random.between(1, 2);
  random.perhaps(10, plan.max_open_requests, 1, 6);
}

void draw_troubles(dice& random, world_plan& plan) {
  plan.order = static_cast<job_order>(random.below(3));
  plan.link_us = random.chance(50) ? 0 : random.between(10, 3000);
  plan.step_us = random.between(50, 5000);
  random.perhaps(25, plan.crash_per_mille, 5, 40);
  random.perhaps(5, plan.hang_per_mille, 1, 10);
  if (random.chance(10))
    plan.worker_killed_at = microseconds(random.below(random.chance(50) ? 300 : 20000));
  random.perhaps(15, plan.cut_per_mille, 5, 30);
  random.perhaps(50, plan.draft_percent, 10, 100);
  random.perhaps(20, plan.double_percent, 1, 30);
  if (random.chance(10)) {
    plan.happens = static_cast<disaster>(random.between(1, 6));
    plan.happens_at = microseconds(random.below(60000));
  }
}

void draw_tier(dice& random, world_plan& plan) {
  if (!plan.prefix_caching || !random.chance(45))
    return;
  auto& tier = plan.tier.emplace();
  if (random.chance(70)) { // Little memory, so that much is evicted.
    plan.groups[0].blocks = std::min(plan.groups[0].blocks, random.between(4, 14));
    plan.answers.capacity = std::min(plan.answers.capacity, plan.groups[0].blocks * tokens_per_block);
  }
  tier.capacity_blocks = random.chance(30) ? random.between(1, 10) : random.between(10, 200);
  random.perhaps(30, tier.max_saving, 1, 4);
  random.perhaps(30, tier.max_loading, 1, 4);
  random.perhaps(15, tier.max_hashes, 1, 30);
  tier.link_us = random.chance(25) ? 0 : random.between(10, 10000);
  random.perhaps(25, tier.missing_percent, 5, 60);
  random.perhaps(25, tier.damage_percent, 5, 60);
  random.perhaps(15, tier.stops_after, 1, 20);
  tier.cannot_open = random.chance(3);
  if (random.chance(8))
    tier.dies_at = microseconds(random.below(60000));
}

void draw_commands(dice& random, world_plan& plan) {
  if (random.chance(40))
    for (auto count = random.between(1, 6); count > 0; --count)
      plan.commands.push_back({static_cast<admin_command>(random.below(3)), microseconds(random.below(80000))});
  if (random.chance(8))
    for (auto count = random.between(1, 2); count > 0; --count)
      plan.commands.push_back({admin_command::drain, microseconds(random.below(80000))});
}

} // namespace

world_plan plan_world(std::uint64_t seed) {
  dice random(seed ^ 0x706c616eu);
  world_plan plan;
  plan.seed = seed;
  draw_engine(random, plan);
  draw_troubles(random, plan);
  draw_tier(random, plan);
  draw_commands(random, plan);
  plan.answers.real_worker = random.chance(25);
  request_drawing draw(random, plan);
  const auto clients = random.between(1, 4);
  const bool crowd = random.chance(15); // Many short requests, who come while others wait.
  const microseconds span(crowd ? random.between(60000, 300000) : random.chance(40) ? 0 : random.below(50000));
  for (std::uint32_t c = 0; c < clients; ++c) {
    planned_client client;
    client.link_us = random.chance(50) ? 0 : random.below(2000);
    for (auto requests = crowd ? random.between(30, 80) : random.between(1, 8); requests > 0; --requests)
      client.requests.push_back(draw.request(requests, span, crowd ? 8 : 30));
    std::stable_sort(client.requests.begin(), client.requests.end(),
                     [](const auto& a, const auto& b) { return a.at < b.at; });
    if (random.chance(15)) {
      client.leaves = static_cast<way_to_leave>(random.between(1, 4));
      client.leaves_at = microseconds(random.below(80000));
    }
    if (random.chance(10)) {
      client.all_pause = microseconds(random.below(60000));
      client.all_resume = *client.all_pause + microseconds(random.below(random.chance(50) ? 5000 : 200000));
    }
    plan.clients.push_back(std::move(client));
  }
  return plan;
}

} // namespace troupe::simulated
