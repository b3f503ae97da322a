#include "bench/control_parts.hpp"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>

#include "bench/step_board.hpp"
#include "engine/kv/store.hpp"
#include "engine/planner.hpp"

namespace troupe::bench {

namespace {

class control_side {
public:
  control_side(std::uint32_t batch, std::uint32_t context, std::uint32_t steps)
      : plan_(planner_options_for(batch, context, steps)), store_(make_store(batch, context, steps)), batch_(batch) {
    for (std::uint32_t i = 0; i < batch; ++i) {
      new_sequence sequence;
      sequence.id = i + 1;
      sequence.prompt = std::make_shared<const std::vector<token_id>>(random_prompt(i, context));
      sequence.sampling = std::make_shared<const sequence_sampling>();
      sequence.max_tokens = steps + 1000;
      if (!plan_.add(std::move(sequence), 0))
        std::abort();
    }
  }

  part_costs run(std::uint32_t steps) {
    std::vector<double> plan, take;
    double cache = 0;
    while (plan.size() < steps) {
      auto t = now_ns();
      auto step = plan_.plan(0);
      const auto planned = since(t);
      cache += report() * (plan.empty() ? 0 : 1);
      if (!step)
        continue;
      const auto result = answer(*step);
      t = now_ns();
      if (!plan_.take(result))
        std::abort();
      const auto taken = since(t);
      if (step->rows.size() < batch_ || step->rows.front().count > 1)
        continue;
      plan.push_back(planned);
      take.push_back(taken);
    }
    return {median(plan), median(take), cache / static_cast<double>(plan.size())};
  }

private:
  static kv_group_options group(std::uint32_t batch, std::uint32_t context, std::uint32_t steps) {
    return {(batch + 1) * ((context + steps + 1000) / tokens_per_block + 2) + 1024, 0};
  }

  static planner_options planner_options_for(std::uint32_t batch, std::uint32_t context, std::uint32_t steps) {
    planner_options options;
    options.max_sequences = options.max_logit_rows = batch;
    options.max_batched_tokens = options.long_prefill_tokens = 8192;
    options.context_length = 1u << 20;
    options.groups = {group(batch, context, steps)};
    return options;
  }

  static kv_store make_store(std::uint32_t batch, std::uint32_t context, std::uint32_t steps) {
    kv_store_options options;
    options.groups = {group(batch, context, steps)};
    auto made = kv_store::make(options);
    if (!made)
      std::abort();
    return std::move(*made);
  }

  double report() {
    auto report = plan_.take_report();
    if (!report)
      return 0;
    const auto t = now_ns();
    auto grant = store_.apply(*report);
    const auto spent = since(t);
    if (!grant)
      std::abort();
    plan_.grant(std::move(*grant));
    return spent;
  }

  static step_result answer(const step_changes& step) {
    step_result result;
    result.epoch = step.epoch;
    result.step = step.step;
    for (const auto& rows : step.rows)
      if (rows.samples)
        result.sampled.push_back(7);
    return result;
  }

  static double since(std::uint64_t t) { return static_cast<double>(now_ns() - t) / 1e3; }

  static double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
    return values[values.size() / 2];
  }

  planner plan_;
  kv_store store_;
  std::uint32_t batch_;
};

} // namespace

part_costs measure_parts(std::uint32_t batch, std::uint32_t context, std::uint32_t steps) {
  return control_side(batch, context, steps).run(steps);
}

std::vector<token_id> random_prompt(std::uint64_t seed, std::uint32_t length) {
  std::mt19937 random(static_cast<std::uint32_t>(seed));
  std::vector<token_id> tokens(length);
  for (auto& token : tokens)
    token = static_cast<token_id>(100 + random() % 100);
  return tokens;
}

} // namespace troupe::bench
