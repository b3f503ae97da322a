#include "serve/observe/metrics.hpp"

#include <algorithm>
#include <map>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace troupe::serve {

namespace {

using buckets = prometheus::Histogram::BucketBoundaries;

const buckets first_token_seconds{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
                                  1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
const buckets token_seconds{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                            0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
const buckets request_seconds{0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
                              30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
const buckets step_tokens{1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
const buckets step_seconds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0};

/// 1, 2, 5, 10, 20, ... up to `most`.
buckets one_two_five(double most) {
  buckets out;
  for (double ten = 1; ten <= most; ten *= 10)
    for (const double digit : {1, 2, 5})
      if (ten * digit <= most)
        out.push_back(ten * digit);
  return out;
}

} // namespace

struct metrics::families {
  explicit families(const metrics_options& options)
      : labels{{"model_name", options.model_name}, {"engine", "0"}}, lengths(one_two_five(options.context_length)) {
    const prometheus::Labels cache{
      {"block_size", std::to_string(options.block_size)}, {"enable_prefix_caching", "True"}, {"engine", "0"}};
    cache_config = &prometheus::BuildGauge()
                      .Name("vllm:cache_config_info")
                      .Help("Information of the KV cache's configuration")
                      .Register(registry);
    cache_labels = cache;
    for (const auto reason : {"stop", "length", "abort", "error"})
      ended_by[reason] =
        &success.Add({{"model_name", options.model_name}, {"engine", "0"}, {"finished_reason", reason}});
  }

  prometheus::Counter& counter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
  }
  prometheus::Gauge& gauge(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
  }
  prometheus::Histogram& histogram(const char* name, const char* help, const buckets& bounds) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels, bounds);
  }

  /// What an engine counts begins at 0 again when it begins anew: then all that it says is new.
  struct growing {
    prometheus::Counter& counter;
    double last = 0;
    void take(double value) {
      counter.Increment(value >= last ? value - last : value);
      last = value;
    }
  };

  void take(const server_status& status) {
    running.Set(status.running);
    waiting.Set(status.waiting);
    kv_usage.Set(status.kv_blocks == 0 ? 0.0 : static_cast<double>(status.kv_owned) / status.kv_blocks);
    queries.take(static_cast<double>(status.prefix_query_tokens));
    hits.take(static_cast<double>(status.prefix_hit_tokens));
    preemptions.take(static_cast<double>(status.preemptions));
    steps.take(static_cast<double>(status.steps));
    restarts.take(static_cast<double>(status.restarts));
    lost_steps.take(static_cast<double>(status.lost_steps));
    refused.take(static_cast<double>(status.refused));
    open.Set(status.open_requests);
    paused.Set(status.paused);
    engines.Set(status.engines);
    if (!cache_gauge && status.kv_blocks > 0) { // What it was given at the start, for as long as it runs.
      auto labels = cache_labels;
      labels["num_gpu_blocks"] = std::to_string(status.kv_blocks);
      cache_gauge = &cache_config->Add(labels);
      cache_gauge->Set(1);
    }
  }

  /// Only what an actor has done since it was last told counts: actors come and go, and a sum over those that live would shrink.
  void take(std::span<const actor_row> rows) {
    std::map<std::uint64_t, done_by_actor> now;
    std::map<std::string, double> mailboxes;
    for (const auto& row : rows) {
      if (row.threaded)
        continue;
      const auto before = done[row.id];
      now[row.id] = {row.messages, row.busy_us};
      auto own = labels;
      own["actor"] = row.name;
      actor_messages.Add(own).Increment(static_cast<double>(row.messages - std::min(before.messages, row.messages)));
      actor_busy.Add(own).Increment(std::max(0.0, row.busy_us - before.busy_us) / 1e6);
      mailboxes[row.name] += row.mailbox;
    }
    for (auto& [name, gauge] : mailbox_gauges) // Of those that have ended, too.
      gauge->Set(0);
    for (const auto& [name, waiting] : mailboxes) {
      auto own = labels;
      own["actor"] = name;
      (mailbox_gauges[name] = &actor_mailbox.Add(own))->Set(waiting);
    }
    done = std::move(now);
  }

  struct done_by_actor {
    std::uint64_t messages = 0;
    double busy_us = 0;
  };

  prometheus::Registry registry;
  prometheus::Labels labels, cache_labels;
  buckets lengths;
  prometheus::Family<prometheus::Gauge>* cache_config = nullptr;
  prometheus::Gauge* cache_gauge = nullptr;
  prometheus::Family<prometheus::Counter>& success =
    prometheus::BuildCounter().Name("vllm:request_success_total").Help("Requests that have ended").Register(registry);
  std::map<std::string, prometheus::Counter*> ended_by;
  prometheus::Family<prometheus::Counter>& actor_messages = prometheus::BuildCounter()
                                                              .Name("troupe:actor_messages_total")
                                                              .Help("Messages that actors have taken")
                                                              .Register(registry);
  prometheus::Family<prometheus::Counter>& actor_busy = prometheus::BuildCounter()
                                                          .Name("troupe:actor_busy_seconds_total")
                                                          .Help("Time that actors have computed")
                                                          .Register(registry);
  prometheus::Family<prometheus::Gauge>& actor_mailbox =
    prometheus::BuildGauge()
      .Name("troupe:actor_mailbox_messages")
      .Help("Messages that were in mailboxes when their actors got a thread the last time")
      .Register(registry);
  std::map<std::string, prometheus::Gauge*> mailbox_gauges;
  std::map<std::uint64_t, done_by_actor> done; ///< By actors that lived at the last look.

  prometheus::Gauge& running = gauge("vllm:num_requests_running", "Sequences in the steps");
  prometheus::Gauge& waiting = gauge("vllm:num_requests_waiting", "Sequences that wait for a place in the steps");
  prometheus::Gauge& kv_usage = gauge("vllm:kv_cache_usage_perc", "KV-cache usage; 1 is all of it");
  growing queries{
    counter("vllm:prefix_cache_queries_total", "Prompt tokens that were looked up in the prefix cache")};
  growing hits{counter("vllm:prefix_cache_hits_total", "Prompt tokens that the prefix cache had")};
  growing preemptions{counter("vllm:num_preemptions_total", "Sequences that had to give up their place")};
  prometheus::Counter& prompt_tokens =
    counter("vllm:prompt_tokens_total", "Prompt tokens of requests that have ended");
  prometheus::Counter& generated = counter("vllm:generation_tokens_total", "Tokens generated");
  prometheus::Histogram& first =
    histogram("vllm:time_to_first_token_seconds", "Time to the first token", first_token_seconds);
  prometheus::Histogram& between =
    histogram("vllm:inter_token_latency_seconds", "Time between two tokens of a sequence", token_seconds);
  prometheus::Histogram& per_token = histogram("vllm:request_time_per_output_token_seconds",
                                               "Mean time of a request's tokens after the first", token_seconds);
  prometheus::Histogram& total =
    histogram("vllm:e2e_request_latency_seconds", "Time from a request to its end", request_seconds);
  prometheus::Histogram& queue =
    histogram("vllm:request_queue_time_seconds", "Time before the first step of a request", request_seconds);
  prometheus::Histogram& inference =
    histogram("vllm:request_inference_time_seconds", "Time from a request's first step to its end", request_seconds);
  prometheus::Histogram& prefill = histogram("vllm:request_prefill_time_seconds",
                                             "Time from a request's first step to its first token", request_seconds);
  prometheus::Histogram& decode =
    histogram("vllm:request_decode_time_seconds", "Time from a request's first token to its end", request_seconds);
  prometheus::Histogram& prompt_length =
    histogram("vllm:request_prompt_tokens", "Prompt tokens of a request", lengths);
  prometheus::Histogram& answer_length =
    histogram("vllm:request_generation_tokens", "Tokens generated for a request", lengths);
  prometheus::Histogram& longest_answer =
    histogram("vllm:request_max_num_generation_tokens", "Tokens of the longest answer to a request", lengths);
  prometheus::Histogram& max_tokens =
    histogram("vllm:request_params_max_tokens", "The max_tokens of a request", lengths);
  prometheus::Histogram& answers = histogram("vllm:request_params_n", "The n of a request", {1, 2, 5, 10, 20});
  prometheus::Histogram& per_step = histogram("vllm:iteration_tokens_total", "Tokens of a step", step_tokens);

  prometheus::Histogram& step_time = histogram("troupe:step_seconds", "Time of a step", step_seconds);
  growing steps{counter("troupe:steps_total", "Steps that were computed")};
  growing restarts{counter("troupe:worker_restarts_total", "Replacements of an engine's workers")};
  growing lost_steps{
    counter("troupe:lost_steps_total", "Steps that were in flight when workers died, and were computed again")};
  growing refused{counter("troupe:requests_refused_total", "Requests that were refused for want of room")};
  prometheus::Gauge& open = gauge("troupe:requests_open", "Requests that were admitted and have not ended");
  prometheus::Gauge& paused = gauge("troupe:sequences_paused", "Sequences that wait for their client");
  prometheus::Gauge& engines = gauge("troupe:engines_up", "Engines that have not given up");
};

namespace {

const char* name_of(finish_reason reason) {
  switch (reason) { // vLLM's names.
  case finish_reason::stop:
    return "stop";
  case finish_reason::length:
    return "length";
  case finish_reason::cancelled:
    return "abort";
  case finish_reason::error:
    return "error";
  }
  return "error";
}

} // namespace

metrics::metrics() = default;
metrics::~metrics() = default;

void metrics::describe(const metrics_options& options) {
  made_ = std::make_unique<families>(options);
  families_ = made_.get();
}

void metrics::first_token(double seconds) {
  if (auto* all = families_.load()) {
    all->first.Observe(seconds);
    all->generated.Increment();
  }
}

void metrics::next_token(double seconds) {
  if (auto* all = families_.load()) {
    all->between.Observe(seconds);
    all->generated.Increment();
  }
}

void metrics::ended(const request_record& request) {
  auto* known = families_.load();
  if (!known)
    return;
  auto& all = *known;
  all.ended_by.at(name_of(request.reason))->Increment();
  all.prompt_tokens.Increment(request.usage.prompt_tokens);
  all.total.Observe(request.total_s);
  if (request.queue_s)
    all.queue.Observe(*request.queue_s);
  if (request.prefill_s)
    all.prefill.Observe(*request.prefill_s);
  if (request.decode_s) {
    all.decode.Observe(*request.decode_s);
    all.inference.Observe(*request.prefill_s + *request.decode_s);
  }
  all.prompt_length.Observe(request.usage.prompt_tokens);
  all.answer_length.Observe(request.usage.completion_tokens);
  all.max_tokens.Observe(request.max_tokens);
  all.answers.Observe(request.n);
  all.longest_answer.Observe(request.longest_answer);
  if (request.decode_s && request.usage.completion_tokens > request.n)
    all.per_token.Observe(*request.decode_s * request.n / (request.usage.completion_tokens - request.n));
}

void metrics::ended(const step_record& step) {
  if (auto* all = families_.load()) {
    all->per_step.Observe(step.prefill_tokens + step.decode_tokens);
    all->step_time.Observe(std::chrono::duration<double>(step.ended - step.begun).count());
  }
}

std::string metrics::text(const server_status* status, std::span<const actor_row> actors) {
  auto* all = families_.load();
  if (!all)
    return {};
  if (status)
    all->take(*status);
  else
    all->engines.Set(0);
  if (!actors.empty()) // Otherwise nobody has told of them.
    all->take(actors);
  return prometheus::TextSerializer().Serialize(all->registry.Collect());
}

} // namespace troupe::serve
