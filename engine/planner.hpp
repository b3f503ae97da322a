// The scheduler's decisions: which rows the next step computes, with whose blocks, and who is put off when there are
// not enough. Plain values in and out; no actor, no clock, no device.
//
// Owner: the scheduler actor; one thread. Facts it owns: the queues, each sequence's tokens, how far each is
// computed, its credit, and the purse of leased blocks. It does not own blocks (the KV-cache manager does) and does
// not end requests (their stream does): `take` says that a sequence has all its tokens, and why.
//
// There are no phases: a sequence has tokens, of which a first part is computed, and a step computes some more.
// Running sequences come first, in the order of their admission, so that decodes are served before new prompts; then
// the waiting ones, first come first served. Steps in flight have disjoint sequences: one that is in a step is not
// planned again before its result is taken.
//
// Preemption is by recompute: when no block is free, the sequence admitted last (one without credit before all
// others) gives up its blocks and waits at the front. One without credit also gives up its place to whoever waits for
// one. Its tokens stay, and are computed again to the same values.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/block_pool.hpp"
#include "engine/step.hpp"
#include "protocol/error.hpp"

namespace troupe {

struct planner_options {
  std::uint32_t max_batched_tokens = 512; ///< Rows in one step.
  std::uint32_t max_sequences = 64;       ///< Running at once.
  std::uint32_t context_length = 0;       ///< Tokens of one sequence, prompt and answer together.
  std::uint32_t total_blocks = 0;         ///< Of the engine's KV memory.
  std::vector<token_id> end_tokens;       ///< End a sequence unless it ignores them.
};

struct new_sequence {
  sequence_id id = 0;
  std::vector<token_id> prompt;
  sequence_sampling sampling;
  std::uint32_t max_tokens = 0;
  bool ignore_eos = false;
  std::uint32_t credit = unlimited_credit; ///< Tokens that may be generated before more is granted.
};

/// A token that a step brought.
struct token_event {
  sequence_id sequence = 0;
  std::uint32_t index = 0; ///< In the answer, from 0.
  token_id token = 0;
  std::optional<finish_reason> finished; ///< Set on the last one: stop or length.
};

struct planner_counts {
  std::uint32_t waiting = 0, running = 0, paused = 0; ///< `paused` of the running ones have no credit.
  std::uint32_t steps_in_flight = 0;
  std::uint32_t purse = 0;       ///< Leased blocks not spent.
  std::uint64_t preemptions = 0; ///< Since the start.
};

class planner {
public:
  explicit planner(planner_options options);

  /// Queues a sequence. Errors: invalid_argument (empty prompt), context_overflow (it can never fit).
  expected<void> add(new_sequence sequence);

  /// Takes a sequence out, in whatever phase; what a step in flight still computes for it is dropped. False: unknown.
  bool remove(sequence_id id);

  /// Adds credit; saturates. False: unknown.
  bool grant_credit(sequence_id id, std::uint32_t tokens);

  /// The next step, or nothing if there is nothing to compute (or no block to compute it in, until a grant comes).
  /// Steps are numbered here; the epoch is the one that `reset` was last told.
  std::optional<step_changes> plan();

  /// Takes a step's result in: new tokens in the order of the result. Tokens of removed sequences are dropped.
  std::vector<token_event> take(const step_result& result);

  /// All KV memory is gone (a worker died): nothing is in flight, everything is recomputed, and the next step is a
  /// snapshot.
  void reset(std::uint64_t epoch);

  /// What the manager must know, if anything: at most one report is on its way until `grant` takes the answer.
  std::optional<kv_report> take_report();
  void grant(kv_grant blocks);

  planner_counts counts() const;

  /// Checks what must always hold; for tests and on demand.
  expected<void> check_integrity() const;

private:
  struct sequence {
    new_sequence request; ///< Its prompt grows by the answer: all tokens of the sequence.
    std::uint32_t prompt_tokens = 0;
    std::uint32_t computed = 0; ///< Tokens whose KV is stored, or will be by the step in flight.
    std::vector<block_id> blocks;
    bool in_flight = false;
    bool removed = false;         ///< Waits for its step in flight to come back.
    bool worker_has_last = false; ///< The worker sampled the last token and still holds it.
    bool known_to_worker = false; ///< Joined and not left.

    std::vector<token_id>& tokens() { return request.prompt; }
    const std::vector<token_id>& tokens() const { return request.prompt; }
    std::uint32_t length() const { return static_cast<std::uint32_t>(request.prompt.size()); }
  };
  using sequence_ptr = std::unique_ptr<sequence>;

  bool plannable(const sequence& s) const;
  std::uint32_t purse_target() const;
  void plan_running(std::uint32_t& budget, step_changes& step);
  void plan_waiting(std::uint32_t& budget, step_changes& step);
  bool schedule(sequence& s, std::uint32_t reserve, std::uint32_t& budget, step_changes& step);
  bool no_block_is_coming() const;
  sequence* pick_victim() const;
  void preempt(sequence& victim);
  void forget_computed(sequence& s);
  void drop(sequence& s);
  std::optional<finish_reason> finish_of(const sequence& s, token_id token) const;

  planner_options options_;
  std::unordered_map<sequence_id, sequence_ptr> all_;
  std::deque<sequence*> waiting_;  ///< Preempted ones at the front.
  std::vector<sequence*> running_; ///< In the order of admission.
  std::vector<block_id> purse_;
  std::unordered_map<std::uint64_t, std::vector<sequence_id>> steps_; ///< In flight: who is in which.
  kv_report report_;
  std::vector<sequence_id> left_; ///< Not yet told to the worker.
  bool report_on_its_way_ = false;
  bool short_of_blocks_ = false;
  bool snapshot_ = true;
  std::uint64_t epoch_ = 0;
  std::uint64_t next_step_ = 0;
  std::uint64_t preemptions_ = 0;
};

} // namespace troupe
