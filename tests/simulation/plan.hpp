// What a world is like and what happens in it, all drawn from its seed before it begins.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/kv/messages.hpp"
#include "engine/policy.hpp"
#include "protocol/messages.hpp"
#include "tests/simulation/right_answers.hpp"
#include "tests/simulation/simulation.hpp"

namespace troupe::simulated {

struct planned_grant {
  microseconds after{}; ///< The request.
  std::uint32_t tokens = 0;
};

struct planned_request {
  generate_request request;
  std::vector<token_id> prompt_ids;
  microseconds at{};                  ///< Since the world began, or since the ending of the one whose id it takes.
  std::optional<microseconds> cancel; ///< After the request.
  std::vector<planned_grant> grants;  ///< Where its credit is limited; the last one is enough for all.
  std::vector<microseconds> turns;    ///< It is paused at the first, resumed at the second, and so on; an even number.
  errc refusal = errc::none;          ///< It cannot be accepted, and this is why.
  std::vector<right_answer> answers;  ///< One for each choice that is given.
  std::size_t generated = 0;          ///< Tokens of all answers, those that are not given too.
  bool fails = false;                 ///< For one answer no token is left to go on with.
  std::vector<token_logprob> prompt_logprobs; ///< Where they are asked for.
  std::vector<float> embedding;               ///< The same.
  std::string echo;                           ///< The same.
  std::vector<planned_request> again; ///< None, or one that takes its id when it has ended.
};

enum class way_to_leave {
  never,
  stop,        ///< Its socket closes: the stream is told.
  death,       ///< Whoever owns the connection dies.
  cut,         ///< The link between the stream and it is lost.
  stream_dies, ///< The stream dies without a word, as by a bug.
};

struct planned_client {
  std::vector<planned_request> requests;
  way_to_leave leaves = way_to_leave::never;
  microseconds leaves_at{};
  std::uint32_t link_us = 0;
  std::optional<microseconds> all_pause, all_resume; ///< All that is open is paused, then resumed.
};

/// What an operator asks of the engine.
struct planned_command {
  admin_command command = admin_command::status;
  microseconds at{};
};

/// A tier behind the KV memory, and its troubles.
struct tier_plan {
  std::uint32_t capacity_blocks = 0;
  std::uint32_t max_saving = 64, max_loading = 256, max_hashes = 1024;
  std::uint32_t link_us = 0;         ///< Longest delay between the manager and it.
  std::uint32_t missing_percent = 0; ///< A block that is loaded is gone.
  std::uint32_t damage_percent = 0;  ///< A block that is saved rots, and is found out when it is loaded.
  std::uint32_t stops_after = 0;     ///< It saves no more after so many blocks; 0: it goes on.
  bool cannot_open = false;
  std::optional<microseconds> dies_at; ///< By a bug; nothing but speed may be lost.
};

/// What can happen to a world beside its clients.
enum class disaster {
  none,
  stop,             ///< The supervisor is asked to stop while requests are open.
  scheduler_dies,
  kv_cache_dies,
  executor_dies,
  router_dies,
  tokenizer_dies,
};

struct world_plan {
  std::uint64_t seed = 0;
  std::vector<planned_client> clients;

  std::vector<kv_group_options> groups; ///< The first one sees all.
  std::uint32_t max_batched_tokens = 64;
  std::uint32_t max_sequences = 4;
  std::uint32_t max_logit_rows = 4;
  std::uint32_t long_prefill_tokens = 256;
  std::uint32_t steps_in_flight = 2, steps_ahead = 2;
  std::uint32_t lookahead = 32, max_skips = 16;
  double step_budget_ms = 0;
  scheduling_policy policy;
  bool prefix_caching = true;
  std::uint32_t tokenizers = 1;
  std::uint32_t max_open_requests = 4096;
  world_of_answers answers; ///< Its kind of worker, and the tokens that prompt and answer may have together.
  std::optional<tier_plan> tier;
  std::vector<planned_command> commands;

  job_order order = job_order::uniform;
  std::uint32_t link_us = 0;          ///< Longest delay between two actors of the engine.
  std::uint32_t step_us = 1000;       ///< Longest time of a step.
  std::uint32_t crash_per_mille = 0;  ///< A step kills its worker: before, while or after it computes.
  std::uint32_t hang_per_mille = 0;   ///< A step never ends.
  std::optional<microseconds> worker_killed_at; ///< Whatever it does then, even before its first step.
  std::uint32_t double_percent = 0;   ///< A result comes twice.
  std::uint32_t cut_per_mille = 0;    ///< A result cuts the executor from its stage, though the worker lives.
  std::uint32_t draft_percent = 0;    ///< So many sequences have a drafter.
  disaster happens = disaster::none;
  microseconds happens_at{};
};

world_plan plan_world(std::uint64_t seed);

/// Draws the requests of one world. Prompts share prefixes: many begin like one of a few documents.
class request_drawing {
public:
  request_drawing(dice& random, const world_plan& plan);
  planned_request request(request_id id, microseconds span, std::uint32_t usual_tokens);

private:
  token_id plain_token();
  prompt any_prompt();
  std::string words();
  void want(scheduling_parameters& wishes);
  void season(sampling_parameters& sampling);
  void want_no_tokens(generate_request& request);
  void restrict_tokens(planned_request& result);
  void exclude_all(sampling_parameters& sampling);
  void stop_at_some_token(planned_request& result);
  void expect(planned_request& result);
  void spoil(planned_request& result);
  void limit_credit(planned_request& result);
  const std::string& printable_text_of(const std::vector<token_id>& tokens);

  dice& random_;
  const world_plan& plan_;
  std::vector<token_id> documents_[3];
  std::string printable_; ///< Scratch.
};

} // namespace troupe::simulated
