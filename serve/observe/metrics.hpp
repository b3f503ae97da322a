// What Prometheus reads at /metrics: vLLM's names, labels and buckets, so that its dashboards and the gateways that
// choose by them read Troupe as they are, and some names of our own (`troupe:`).
//
// Counters and histograms grow as streams and executors report; gauges are set from a server's status when somebody
// asks. All engines together have the label engine="0".
// Source of the names: docs.vllm.ai, "Production metrics"; vllm/v1/metrics/loggers.py in github.com/vllm-project/vllm.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>

#include "actors/observer.hpp"
#include "serve/observe/actor_row.hpp"

namespace troupe::serve {

struct metrics_options {
  std::string model_name;
  std::uint32_t context_length = 0;
  std::uint32_t block_size = 16; ///< Tokens of a KV block.
};

class metrics final : public observer {
public:
  metrics();
  ~metrics() override;

  /// Once, as soon as the model is known. What is reported before that is not counted.
  void describe(const metrics_options& options);

  void first_token(double seconds) override;
  void next_token(double seconds) override;
  void ended(const request_record& request) override;
  void ended(const step_record& step) override;

  /// The text format of version 0.0.4 (`content_type`). Gauges are those of `status`; without one (the engine does not
  /// answer) they stay as they were, but that no engine is up. actors: what they have done; those with a thread of their own
  /// are left out, and those of one name are told together. Nothing before `describe`. Threads: one at a time.
  std::string text(const server_status* status, std::span<const actor_row> actors = {});

  static constexpr const char* content_type = "text/plain; version=0.0.4; charset=utf-8";

private:
  struct families;
  std::unique_ptr<families> made_;
  std::atomic<families*> families_{nullptr};
};

} // namespace troupe::serve
