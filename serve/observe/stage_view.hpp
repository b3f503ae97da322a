// What the page shows of the engine at work: steps of the last moments, latencies, actors, KV blocks, as JSON.
//
// Steps and latencies are kept as they are reported, a bounded number of each; the rest is asked for when somebody looks.
#pragma once

#include <chrono>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "actors/observer.hpp"
#include "serve/observe/actor_row.hpp"

namespace troupe::serve {

class stage_view final : public observer {
public:
  static constexpr std::size_t most_steps = 4096;
  static constexpr std::size_t most_latencies = 4096;

  void first_token(double seconds) override;
  void next_token(double seconds) override;
  void ended(const step_record& step) override;

  /// One JSON object. since: steps with a higher serial number alone, of those that are known still.
  std::string json(const server_status& status, const std::vector<actor_row>& actors, std::uint64_t since) const;

private:
  struct latencies {
    void add(double ms);
    std::deque<double> last; ///< Milliseconds.
  };
  struct kept_step {
    std::uint64_t serial;
    step_record step;
  };

  mutable std::mutex lock_;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::uint64_t serial_ = 0;
  std::deque<kept_step> steps_;
  latencies first_token_, next_token_;
};

} // namespace troupe::serve
