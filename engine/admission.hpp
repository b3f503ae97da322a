// Who may begin a request: tickets, the limits on what is open, and when to come back if there is no room. Plain
// values in and out; no actor; the time comes as an argument.
//
// Open means admitted and not ended, so what waits and what runs count together. Every call takes constant time, but
// for `owner_died`, which looks at all that is open. Where a request goes is decided in engine/routing.hpp.
//
// Owner: the router actor; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/id_table.hpp"
#include "engine/policy.hpp"
#include "engine/step.hpp"
#include "protocol/error.hpp"

namespace troupe {

/// All engines together.
struct admission_limits {
  std::uint32_t max_open_requests = 4096;
  std::uint32_t max_open_sequences = 16384;  ///< A request has as many as answers are generated for it.
  std::uint64_t max_open_tokens = 64u << 20; ///< Of prompts, estimated until they are tokenized.
};

inline constexpr std::uint32_t min_retry_ms = 100;
inline constexpr std::uint32_t max_retry_ms = 60000;
inline constexpr std::uint32_t unknown_retry_ms = 1000; ///< As long as nothing has ever left.

/// The router's leave to begin: the ids [id, id + sequences) are the request's own and never used again, so that they
/// name its sequences in every engine.
struct ticket {
  sequence_id id = 0;
  std::uint32_t sequences = 1;
};

/// How much leaves in a second, of late: an average whose weights fall by a factor of e every ten seconds, corrected
/// for having begun with nothing.
class leaving_rate {
public:
  void left(engine_time now, double amount);
  /// 0 as long as nothing has left.
  double per_second(engine_time now) const;

private:
  double decayed(engine_time now) const;

  double sum_ = 0;
  engine_time last_ = 0;
  std::optional<engine_time> first_;
};

class admission_control {
public:
  /// Whoever asks for tickets; they are void when it dies.
  using owner_id = std::uint64_t;

  explicit admission_control(admission_limits limits) : limits_(limits) {}

  /// Leave for a request with so many sequences and a prompt of about so many tokens. Errors: queue_full, with
  /// `retry_after_ms`; limit_exceeded (it is over a limit by itself); unavailable (draining).
  expected<ticket> admit(owner_id owner, std::uint32_t tokens, std::uint32_t sequences, engine_time now);

  /// The prompt has so many tokens, whatever was estimated. False: the ticket is void.
  bool count_prompt(sequence_id id, std::uint32_t tokens);

  /// Ids that nobody has heard of, as many as this request has: it may begin again under them, after `rename`. No limit
  /// counts, and they are given while draining, too. Nothing: the ticket is void.
  std::optional<ticket> fresh_ids(sequence_id id);

  /// The request has this ticket from now on, and the old one is void. False: that was so already.
  bool rename(sequence_id id, ticket fresh);

  /// A request has ended. False: the ticket is void already.
  bool leave(sequence_id id, engine_time now);

  /// Whose requests these were.
  std::vector<sequence_id> owner_died(owner_id owner, engine_time now);

  /// From now on every new request is refused.
  void drain() { draining_ = true; }
  bool draining() const { return draining_; }

  std::uint32_t open_requests() const { return static_cast<std::uint32_t>(open_.size()); }
  std::uint32_t open_sequences() const { return open_sequences_; }
  std::uint64_t open_tokens() const { return open_tokens_; }
  std::uint64_t refused() const { return refused_; }

private:
  struct request {
    owner_id owner = 0;
    std::uint32_t tokens = 0;
    std::uint32_t sequences = 0;
  };

  tl::unexpected<error> refuse(std::uint32_t tokens, std::uint32_t sequences, engine_time now);
  void settle(const request& ended, engine_time now);

  admission_limits limits_;
  id_table<request> open_;
  std::uint32_t open_sequences_ = 0;
  std::uint64_t open_tokens_ = 0;
  sequence_id last_id_ = 0;
  std::uint64_t refused_ = 0;
  bool draining_ = false;
  leaving_rate requests_left_, sequences_left_, tokens_left_;
  double expected_back_ = 0; ///< Refused ones that are thought to come again, each to a place that is free by then.
};

} // namespace troupe
