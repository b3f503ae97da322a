// What a walk of the planner draws from its seed: the engine's options and its clients' requests.
#pragma once

#include <random>

#include "tests/engine/naive_truth.hpp"

namespace troupe::test {

class dice {
public:
  explicit dice(std::uint32_t seed) : engine_(seed) {}
  std::uint32_t operator()() { return engine_(); }
  std::uint32_t below(std::uint32_t end) { return engine_() % end; }
  std::uint32_t between(std::uint32_t first, std::uint32_t last) { return first + engine_() % (last - first + 1); }
  bool percent(std::uint32_t share) { return engine_() % 100 < share; }

private:
  std::mt19937 engine_;
};

inline planner_options random_options(dice& any) {
  planner_options o;
  o.max_sequences = any.between(1, 6);
  o.max_batched_tokens = o.max_sequences + any.below(any.percent(50) ? 60 : 4);
  o.max_logit_rows = o.max_sequences + any.below(8);
  o.context_length = any.percent(15) ? any.between(2, 20) : any.between(20, 150);
  for (auto groups = any.percent(50) ? 1 : any.between(1, 3); groups > 0; --groups) {
    kv_group_options group;
    group.blocks = any.between(2, any.percent(45) ? 12 : any.percent(80) ? 40 : 200);
    group.window = any.percent(50) ? 0 : any.between(2, 50);
    o.groups.push_back(group);
  }
  o.policy.kind = static_cast<scheduling_policy::kind_type>(any.below(3));
  o.policy.ageing_ms = any.below(20);
  o.policy.default_ttft_ms = any.below(200);
  o.long_prefill_tokens = any.between(1, 64);
  o.step_budget_ms = any.percent(60) ? 0 : any.between(1, 20);
  o.steps_ahead = any.between(1, 3);
  o.lookahead = any.between(1, 8);
  o.max_skips = any.below(5);
  return o;
}

inline new_sequence random_request(dice& any, const planner_options& options, sequence_id id) {
  new_sequence r;
  r.id = id;
  const auto document = any.below(3); // Prompts have beginnings in common.
  const auto length = any.below(any.percent(70) ? 40 : options.context_length + 2);
  std::vector<token_id> prompt;
  for (std::uint32_t i = 0; i < length; ++i)
    prompt.push_back(static_cast<token_id>(mixed(document, i) % vocabulary));
  if (!prompt.empty() && any.percent(50))
    prompt.back() = static_cast<token_id>(any.below(vocabulary));
  r.prompt = std::make_shared<const std::vector<token_id>>(std::move(prompt));
  auto sampling = std::make_shared<sequence_sampling>();
  sampling->seed = any.below(2);
  sampling->logprobs = any.percent(20) ? 1 : -1;
  sampling->prompt_logprobs = any.percent(15) ? 0 : -1;
  sampling->repetition_penalty = any.percent(20) ? 1.1f : 1.0f;
  sampling->min_tokens = any.percent(20) ? any.below(10) : 0;
  if (any.percent(70))
    sampling->end_tokens = {0, static_cast<token_id>(any.below(vocabulary))};
  r.max_tokens = any.percent(80) ? any.between(1, 30) : any.between(1, 200);
  if (any.percent(12)) { // Its prompt is all of it.
    r.max_tokens = 0;
    sampling->min_tokens = 0;
    sampling->pooling = static_cast<pooling>(any.below(3));
    if (sampling->pooling != pooling::none)
      sampling->prompt_logprobs = -1;
  }
  r.sampling = sampling;
  r.credit = any.percent(60) ? unlimited_credit : any.below(10);
  r.scheduling.priority = static_cast<std::int32_t>(any.below(7)) - 3;
  r.scheduling.ttft_ms = any.percent(50) ? 0 : any.below(100);
  r.scheduling.itl_ms = any.percent(80) ? 0 : any.between(1, 20);
  r.key.salt = any.percent(80) ? "" : "salt";
  r.key.adapter = any.percent(90) ? 0 : 1;
  r.mask = any.percent(10) ? 1 + r.id : 0;
  r.max_drafts = static_cast<std::uint16_t>(any.percent(70) ? 0 : any.between(1, 5));
  return r;
}

} // namespace troupe::test
