// Which of several engines gets a request: where the least has to be computed and waited for. Plain values in and out;
// no actor, no clock.
//
// What a request costs at an engine, in tokens:
//   the prompt's tokens that must be computed there (those of the blocks that it is thought to have are not),
//   + half the work that waits there: what those lack who are not admitted yet, and `answer_tokens` for each answer
//     that is open. Half, because a hit saves work and a queue only puts it off: so a burst of one prefix goes to one
//     engine until its queue costs more than computing the prefix elsewhere. Of long queues less: as much as their
//     mean is worth one prompt,
//   + tokens for which there is no free block.
// The cheapest engine gets it; of equals, they take turns. (Dynamo's router weighs prefill blocks and active blocks in
// the same way; that a hit may be given up for balance is SGLang's cache-aware balancer. Neither's code is used.)
//
// A hit must not make one engine hot: where an engine has been given `max_excess` more work of late than the mean of
// all, or more than four prompts of this length where that is more, its hits do not count. The prefix gets a second
// home then, and both share it. Of late: each token placed weighs less, the more have been placed since (by a factor
// of e after `memory_tokens` for each engine).
//
// Between two reports all of it is our own count: what we have placed there and has not ended, what of that we have
// not seen admitted, and guesses that its prefix will be there. How many run and wait there we need not be told, since
// all requests come and go through the router. An engine that comes, or comes back, counts as if it were as busy as
// the others are, which is forgotten by and by: or all that comes would go there at once.
//
// Blocks are hashed here, as the KV store names them, and only where there are several engines: a request's hashes are
// needed in one place, and this one knows how many of them. At most `max_hashed_blocks` of a prompt are; two engines
// that both have these are equal.
//
// Owner: the router actor; one thread. `place` is linear in the blocks it hashes and in the engines.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/id_table.hpp"
#include "engine/kv/event_buffer.hpp"
#include "engine/kv/messages.hpp"
#include "engine/prefix_directory.hpp"

namespace troupe {

struct routing_options {
  block_hash_kind hash = block_hash_kind::xxh128; ///< As the engines' KV stores have it,
  std::string fingerprint;                        ///< and this.
  kv_group group = 0;                             ///< Whose blocks are looked at: `group_to_route_by`.
  std::uint32_t max_hashed_blocks = 1024;         ///< Of one prompt.
  std::uint32_t max_known_blocks = 262144;        ///< In the directory, of all engines: about 150 bytes each.
  std::uint32_t max_moves = 2;       ///< Of one request, since its engine has failed: it may be the cause.
  std::uint32_t answer_tokens = 128; ///< What an answer is thought to cost.
  double max_excess = 0.1;           ///< Of work over the mean.
  double memory_tokens = 131072;
};

/// The first without a window, which has a prefix's blocks from its beginning on; else the first.
kv_group group_to_route_by(std::span<const kv_group_options> groups);

/// What is to be placed.
struct placement {
  shared_tokens prompt;
  prefix_key key;
  bool may_hit = true; ///< As in `kv_lookup`.
};

/// What an engine's scheduler tells the router.
struct engine_load {
  struct admitted {
    sequence_id sequence = 0;
    std::uint32_t cached_tokens = 0;
  };
  std::vector<admitted> admissions;         ///< Since it told last; only the first time of each.
  std::optional<std::uint64_t> free_tokens; ///< For which there are blocks that nobody uses.
};

/// How one engine stands with the router.
struct engine_standing {
  bool up = true;
  std::uint32_t open_sequences = 0;
  std::uint64_t waiting_tokens = 0;  ///< Placed, to be computed, and not seen admitted.
  std::uint64_t placed_requests = 0; ///< Since the start,
  std::uint64_t placed_tokens = 0;   ///< of whose prompts so many were to be computed,
  std::uint64_t expected_hits = 0;   ///< and so many were thought to be there.
};

class routing {
public:
  /// At most `max_engines`; all are up. Errors: unavailable (no SHA-256).
  static expected<routing> make(routing_options options, std::size_t engines);

  /// The engine for a request, whose sequences are named [id, id + sequences). Errors: internal (placed already),
  /// unavailable (no engine is up). With one engine nothing is weighed.
  expected<engine_index> place(sequence_id id, std::uint32_t sequences, const placement& what);

  /// Its engine has ended or given up, and the request goes on elsewhere, under other names. Whoever says so knows:
  /// the engine is down from now on, unless it has come back since it got this request. Errors: those of `place`; of
  /// a request that has been moved `max_moves` times, the reason. It has left in any case.
  expected<engine_index> move(sequence_id from, sequence_id to, const placement& what, const error& why);

  /// A request has ended, or never will be placed. False: it was not there.
  bool leave(sequence_id id);

  /// What an engine's manager tells about its blocks. Where a batch is missing, all that was known is forgotten.
  void take(engine_index engine, const kv_event_batch& batch);
  void take(engine_index engine, const engine_load& load);

  /// Its requests stay its own until they are moved or leave.
  void down(engine_index engine, error why);

  /// A new one, or a new incarnation of one that was down. The engine after the last one is added.
  void up(engine_index engine);

  std::size_t engines() const { return engines_.size(); }
  bool is_up(engine_index engine) const { return engines_[engine].up; }
  engine_standing standing(engine_index engine) const;

private:
  struct engine_state {
    bool up = true;
    std::uint32_t incarnation = 0;
    std::uint32_t open_sequences = 0;
    std::uint64_t waiting_tokens = 0;
    double recent = 0;   ///< Work placed of late.
    double handicap = 0; ///< Work that it is thought to have, as a newcomer.
    std::optional<std::uint64_t> free_tokens;
    std::uint64_t next_batch = 0;
    std::uint64_t placed_requests = 0, placed_tokens = 0, expected_hits = 0;
    error why{errc::none, {}}; ///< It is down.
  };
  struct request {
    engine_index engine = 0;
    std::uint32_t incarnation = 0;
    std::uint32_t sequences = 0;
    std::uint32_t waiting_tokens = 0; ///< 0 once it has been admitted.
    std::uint32_t moves = 0;
  };

  routing(routing_options options, block_hasher hasher, std::size_t engines)
      : options_(std::move(options)), hasher_(std::move(hasher)), engines_(engines),
        directory_(options_.max_known_blocks) {}

  engine_set all_up() const;
  void hash(const placement& what);
  void find_hits(engine_set up);
  double queue_of(const engine_state& engine) const;
  double mean_queue() const;
  double mean_recent() const;
  double cost_at(engine_index engine, std::uint32_t tokens, double queue_weight, bool counts_hit) const;
  engine_index cheapest(std::uint32_t tokens, engine_set up) const;
  expected<engine_index> choose(std::uint32_t tokens, const placement& what);
  void account(sequence_id id, request placed, std::uint32_t tokens);
  error none_is_up() const;

  routing_options options_;
  block_hasher hasher_;
  std::vector<engine_state> engines_;
  prefix_directory directory_;
  id_table<request> requests_;
  engine_index next_ = 0; ///< Whose turn it is.

  // Of the request that is being placed.
  std::vector<block_hash> hashes_;
  std::vector<std::uint32_t> hits_; ///< Blocks that each engine is thought to have.
};

} // namespace troupe
