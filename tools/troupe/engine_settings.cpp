#include "tools/troupe/engine_settings.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "actors/supervisor.hpp"
#include "tools/troupe/choice_option.hpp"

namespace troupe::cli {

void add_engine_settings(CLI::App* group, engine_settings& settings) {
  group->add_option("--max-num-batched-tokens", settings.max_batched_tokens, "Tokens computed in one step")
    ->capture_default_str()
    ->check(CLI::Range(1u, 65536u));
  group
    ->add_option("--max-num-seqs", settings.max_sequences,
                 "Requests that run at once [64, or --max-num-batched-tokens where that is less]")
    ->check(CLI::Range(1u, 4096u));
  group
    ->add_option("--step-budget-ms", settings.step_budget_ms,
                 "Milliseconds that a step should take at most: long prompts are cut to fit; 0: no limit")
    ->capture_default_str()
    ->check(CLI::Range(0.0, 60000.0));
  using policy = scheduling_policy::kind_type;
  add_choice<policy>(group, "--scheduling-policy", settings.policy.kind,
                     {{"fcfs", policy::first_come}, {"priority", policy::priority}, {"deadline", policy::deadline}},
                     "Who goes first: fcfs (in the order of arrival), priority, or deadline (by ttft_ms)");
  group
    ->add_option("--priority-ageing-ms", settings.policy.ageing_ms,
                 "Under priority: waiting so many milliseconds is worth one level")
    ->capture_default_str()
    ->check(CLI::Range(1u, 3600000u));
  group
    ->add_option("--default-ttft-ms", settings.policy.default_ttft_ms,
                 "Under deadline: when the first token is due where a request does not say")
    ->capture_default_str()
    ->check(CLI::Range(1u, 3600000u));
  group
    ->add_option("--long-prefill-tokens", settings.long_prefill_tokens,
                 "Tokens of one prompt that are computed in one step at most while others wait; 0: no limit")
    ->capture_default_str()
    ->check(CLI::Range(0u, 65536u));
  group->add_flag_callback(
    "--no-prefix-caching", [&settings] { settings.prefix_caching = false; },
    "Compute every prompt from its beginning");
  add_choice<block_hash_kind>(group, "--prefix-hash", settings.prefix_hash,
                              {{"xxh128", block_hash_kind::xxh128}, {"sha256", block_hash_kind::sha256}},
                              "How prefixes are told apart: xxh128, or sha256 where tenants do not trust each other");
  add_choice<kv_cache_dtype>(
    group, "--kv-cache-dtype", settings.kv_dtype, {{"bf16", kv_cache_dtype::bf16}, {"int8", kv_cache_dtype::int8}},
    "How the cpu backend keeps keys and values: bf16, or int8, which takes about half the memory "
    "and is less exact");
  auto* disk = group->add_option("--kv-disk", settings.kv_disk,
                                 "A folder for prefixes that memory has no room for; they are there after a restart");
  group->add_option("--kv-disk-gib", settings.kv_disk_gib, "GiB of it at most")
    ->capture_default_str()
    ->check(CLI::Range(1u, 65536u))
    ->needs(disk);
  group
    ->add_option(
      "--kv-host-gib", settings.kv_host_gib,
      "GiB of the host's memory for prefixes that the KV cache has no room for, asked before --kv-disk; 0: "
      "none. On a CPU a larger --kv-tokens serves better")
    ->capture_default_str()
    ->check(CLI::Range(0u, 65536u));
  group
    ->add_option(
      "--max-restarts", settings.max_restarts,
      "So often within a minute an engine's workers are replaced when one dies; once more, and it gives up")
    ->capture_default_str()
    ->check(CLI::Range(0u, 1000000u));
  group->add_option("--kv-events-replay", settings.kv_events_replay,
                    "Where subscribers may ask for events that they missed");
  group->add_option("--kv-events", settings.kv_events,
                    "An endpoint to publish on which blocks are stored and removed: tcp://HOST:PORT, ipc://PATH");
}

void add_admission_settings(CLI::App* group, engine_settings& settings) {
  group
    ->add_option("--max-queued-requests", settings.max_queued_requests,
                 "Requests open at once, running ones too; one more is refused")
    ->capture_default_str()
    ->check(CLI::Range(1u, 1u << 20));
  group
    ->add_option("--max-queued-tokens", settings.max_queued_tokens,
                 "Tokens of their prompts; a request that would be over it is refused")
    ->capture_default_str()
    ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 40));
}

std::uint32_t max_sequences_of(const engine_settings& settings) {
  return settings.max_sequences.value_or(std::min(64u, settings.max_batched_tokens));
}

expected<void> hand_over(const engine_settings& settings, engine_options& options) {
  auto& plan = options.plan;
  plan.max_batched_tokens = settings.max_batched_tokens;
  plan.max_sequences = max_sequences_of(settings);
  if (plan.max_sequences > plan.max_batched_tokens)
    return fail(errc::invalid_argument,
                "--max-num-seqs " + std::to_string(plan.max_sequences) +
                  " needs as many --max-num-batched-tokens: each that runs has a row in a step.");
  plan.max_logit_rows = std::max(plan.max_logit_rows, plan.max_sequences); // The backend has as many.
  plan.step_budget_ms = settings.step_budget_ms;
  plan.policy = settings.policy;
  plan.long_prefill_tokens = settings.long_prefill_tokens;
  options.max_restarts = settings.max_restarts;
  options.cache.prefix_caching = settings.prefix_caching;
  options.cache.hash = settings.prefix_hash;
  options.limits.max_open_requests = settings.max_queued_requests;
  options.limits.max_open_tokens = settings.max_queued_tokens;
  if (!settings.prefix_caching && (settings.kv_host_gib > 0 || !settings.kv_disk.empty()))
    return fail(errc::invalid_argument,
                std::string(settings.kv_host_gib > 0 ? "--kv-host-gib" : "--kv-disk") +
                  " keeps prefixes, which --no-prefix-caching switches off: leave one of them out.");
  if (settings.kv_events.empty() && !settings.kv_events_replay.empty())
    return fail(errc::invalid_argument,
                "--kv-events-replay needs --kv-events, which says where events are published.");
  if (!settings.kv_events.empty()) {
    options.events.emplace();
    options.events->endpoint = settings.kv_events;
    options.events->replay_endpoint = settings.kv_events_replay;
  }
  return {};
}

} // namespace troupe::cli
