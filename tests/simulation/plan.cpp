#include "tests/simulation/plan.hpp"

#include <algorithm>

namespace troupe::simulated {

namespace {

/// Draws the requests of one world. Prompts share prefixes: each begins like one of a few documents.
class drawing {
public:
  drawing(dice& random, const world_plan& plan) : random_(random), plan_(plan) {
    for (auto& document : documents_)
      for (std::size_t i = 0; i < 512; ++i)
        document.push_back(plain_token());
  }

  planned_request request(request_id id, microseconds span, std::uint32_t usual_tokens) {
    planned_request result;
    auto& r = result.request;
    r.id = id;
    r.prompt = any_prompt();
    result.at = microseconds(random_.below(static_cast<std::uint64_t>(span.count()) + 1));
    r.sampling.max_tokens = random_.chance(10) ? 1 : random_.between(1, random_.chance(20) ? 4 * usual_tokens : usual_tokens);
    r.sampling.seed = random_.below(4);
    r.sampling.ignore_eos = random_.chance(30);
    if (random_.chance(15))
      r.sampling.min_tokens = random_.below(r.sampling.max_tokens + 1);
    if (random_.chance(10))
      r.sampling.logprobs = static_cast<std::int32_t>(random_.below(4));
    if (random_.chance(6))
      r.sampling.prompt_logprobs = static_cast<std::int32_t>(random_.below(3));
    if (random_.chance(15))
      r.n = random_.between(2, 4);
    if (random_.chance(3))
      r.best_of = r.n + random_.between(1, 2);
    want(r.scheduling);
    if (random_.chance(4))
      spoil(result);
    else
      expect(result);
    if (random_.chance(20) && r.best_of <= r.n)
      limit_credit(result);
    if (random_.chance(15))
      result.cancel = microseconds(random_.below(random_.chance(50) ? 3000 : 60000));
    if (random_.chance(8))
      for (auto turns = 2 * random_.between(1, 3); turns > 0; --turns)
        result.turns.push_back(microseconds(random_.below(30000)));
    std::sort(result.turns.begin(), result.turns.end());
    return result;
  }

private:
  token_id plain_token() {
    return first_plain_token + static_cast<token_id>(random_.below(tiny()->program.vocabulary - first_plain_token));
  }

  prompt any_prompt() {
    if (random_.chance(8))
      return prompt_text(words());
    if (random_.chance(4))
      return prompt_messages{{"user", words()}};
    prompt_tokens tokens;
    const auto most = std::max(2u, plan_.capacity * 2 / 3);
    if (random_.chance(60)) {
      const auto& document = documents_[random_.below(3)];
      const auto length = random_.below(std::min<std::uint32_t>(most, 512));
      tokens.assign(document.begin(), document.begin() + length);
    }
    for (auto more = random_.between(1, random_.chance(70) ? 12 : 70); more > 0 && tokens.size() < most; --more)
      tokens.push_back(plain_token());
    return tokens;
  }

  void want(scheduling_parameters& wishes) {
    if (random_.chance(50))
      wishes.priority = static_cast<std::int32_t>(random_.below(7)) - 3;
    if (random_.chance(50))
      wishes.ttft_ms = random_.between(1, 200);
    if (random_.chance(20))
      wishes.itl_ms = random_.between(1, 20);
    if (random_.chance(10))
      wishes.cache_salt = random_.chance(50) ? "a" : "b";
  }

  std::string words() {
    std::string text;
    for (auto count = random_.between(1, 12); count > 0; --count) {
      for (auto letters = random_.between(1, 6); letters > 0; --letters)
        text += static_cast<char>('a' + random_.below(26));
      text += ' ';
    }
    return text;
  }

  void expect(planned_request& result) {
    auto& r = result.request;
    result.prompt_ids = ids_of(r.prompt);
    if (result.prompt_ids.size() >= plan_.capacity) {
      result.refusal = errc::context_overflow;
      return;
    }
    if (random_.chance(12))
      stop_at_some_token(result);
    std::vector<right_answer> generated;
    for (std::uint32_t choice = 0; choice < std::max(r.n, r.best_of); ++choice) {
      generated.push_back(right_answer_to(r, result.prompt_ids, choice, plan_.capacity));
      result.generated += generated.back().tokens.size();
    }
    result.answers = given_answers(r, std::move(generated));
  }

  /// A stop token, or a stop string, that will come, most probably.
  void stop_at_some_token(planned_request& result) {
    auto& sampling = result.request.sampling;
    const auto without = right_answer_to(result.request, result.prompt_ids, 0, plan_.capacity);
    const auto token = without.tokens[random_.below(without.tokens.size())];
    const std::string text(tiny()->tokens->bytes_of(token));
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 127; });
    if (tiny()->tokens->is_special(token))
      return;
    if (!plain || text.empty() || random_.chance(30)) {
      sampling.stop_tokens.push_back(token);
    } else {
      sampling.min_tokens = 0; // Where text may stop is another matter.
      sampling.stop.push_back(text);
    }
  }

  void spoil(planned_request& result) {
    auto& r = result.request;
    result.refusal = errc::invalid_argument;
    switch (random_.below(4)) {
      case 0: r.sampling.max_tokens = 0; break;
      case 1: r.prompt = prompt_tokens{}; break;
      case 2: r.prompt = prompt_tokens{5, 100000}; break;
      default:
        r.prompt = prompt_tokens(plan_.capacity + random_.below(50), first_plain_token);
        result.refusal = errc::context_overflow;
    }
  }

  void limit_credit(planned_request& result) {
    result.request.credit = random_.below(6);
    microseconds when{0};
    for (auto grants = random_.below(8); grants > 0; --grants) {
      when += microseconds(random_.below(10000));
      result.grants.push_back({when, random_.between(1, 5)});
    }
    when += microseconds(random_.below(random_.chance(50) ? 10000 : 400000)); // Some stop reading for long.
    result.grants.push_back({when, random_.chance(50) ? unlimited_credit : 4096u});
  }

  dice& random_;
  const world_plan& plan_;
  std::vector<token_id> documents_[3];
};

void draw_engine(dice& random, world_plan& plan) {
  const auto blocks = random.chance(70) ? random.between(4, 24) : random.between(24, 64);
  plan.groups = {{blocks, 0}};
  plan.capacity = std::min<std::uint32_t>(512, blocks * tokens_per_block);
  if (random.chance(50)) {
    kv_group_options sliding{random.between(3, blocks + 4), random.between(1, 64)};
    const bool slides = sliding.blocks >= (sliding.window + tokens_per_block - 1) / tokens_per_block + 2;
    if (!slides)
      plan.capacity = std::min(plan.capacity, sliding.blocks * tokens_per_block);
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
  if (random.chance(10))
    plan.max_open_requests = random.between(1, 6);
}

void draw_troubles(dice& random, world_plan& plan) {
  plan.order = static_cast<job_order>(random.below(3));
  plan.link_us = random.chance(50) ? 0 : random.between(10, 3000);
  plan.step_us = random.between(50, 5000);
  if (random.chance(25))
    plan.crash_per_mille = random.between(5, 40);
  if (random.chance(5))
    plan.hang_per_mille = random.between(1, 10);
  if (random.chance(15))
    plan.cut_per_mille = random.between(5, 30);
  if (random.chance(40))
    plan.draft_percent = random.between(10, 100);
  plan.flush_percent = 10;
  if (random.chance(20))
    plan.double_percent = random.between(1, 30);
  if (random.chance(10)) {
    plan.happens = static_cast<disaster>(random.between(1, 6));
    plan.happens_at = microseconds(random.below(60000));
  }
}

} // namespace

world_plan plan_world(std::uint64_t seed) {
  dice random(seed ^ 0x706c616eu);
  world_plan plan;
  plan.seed = seed;
  draw_engine(random, plan);
  draw_troubles(random, plan);
  drawing draw(random, plan);
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
    plan.clients.push_back(std::move(client));
  }
  return plan;
}

} // namespace troupe::simulated
