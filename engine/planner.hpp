// The scheduler's decisions: which rows the next step computes, with whose blocks, and who is put off when there are
// not enough. Plain values in and out; no actor, no clock (the time comes as an argument), no device.
//
// Owner: the scheduler actor; one thread. Facts it owns: the queues, each sequence's tokens, how far each is
// computed, its credit, and the purse of leased blocks. It does not own blocks (the KV-cache manager does) and does
// not end requests (their stream does): `take` says that a sequence has all its tokens, and why.
//
// There are no phases: a sequence has tokens, of which a first part is computed, and a step computes some more.
// Running sequences come first, decodes before prefill chunks, then the waiting ones in the order of the policy.
//
// Steps overlap: while step n computes, n + 1 is planned. The row that goes on from a token which n will sample needs
// no token from here: the worker holds it. Where the guess that n + 1 rests on turns out wrong (the token ended the
// sequence, the client cancelled), its result is dropped, and the sequence's blocks are given up when the last step
// that has it in is back.
//
// A pipeline's stages are busy when as many steps are in flight that do not wait for each other. So sequences that
// decode take turns: a step has its share of them, first those that have waited longest, and one whose token is still
// in flight stays out of as many further steps as it takes to compute that. Chunks of prompts wait for no token.
//
// A waiting sequence near the front is looked up in the cache (the lookup travels in a report, the hit in a grant)
// and is admitted when the blocks for the rest of its prompt are there, beside a reserve for those that run.
// Preemption is by recompute: when no block is free, the victim that the policy names (one without credit before all
// others) gives up its blocks, which stay cached while nobody needs them, and waits at its old place in the order.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/drafter.hpp"
#include "engine/kv/messages.hpp"
#include "engine/policy.hpp"
#include "engine/step.hpp"
#include "engine/step_cost.hpp"
#include "protocol/error.hpp"

namespace troupe {

struct planner_options {
  std::uint32_t max_batched_tokens = 512; ///< Rows in one step.
  std::uint32_t max_sequences = 64;       ///< Running at once; not more than max_batched_tokens.
  std::uint32_t max_logit_rows = 64;      ///< Rows of one step whose logits are wanted; not less than max_sequences.
  std::uint32_t context_length = 0;       ///< Tokens of one sequence, prompt and answer together.
  std::vector<kv_group_options> groups;   ///< At least one.
  scheduling_policy policy;
  std::uint32_t long_prefill_tokens = 256; ///< While there are others, a prompt gets at most so many rows first; 0: all.
  double step_budget_ms = 0;               ///< Prefill is cut so that a step takes no longer, as far as known; 0: none.
  /// Steps in flight that may have one sequence; 1: its result is waited for. Several stages are filled by the chunks of
  /// one prompt where it is stages + 1.
  std::uint32_t steps_ahead = 2;
  std::uint32_t stages = 1;      ///< Of the pipeline, which wants stages + 1 steps in flight.
  std::uint32_t lookahead = 32;  ///< Waiting sequences that are looked up and hold their hits.
  std::uint32_t max_skips = 16;  ///< So often a sequence that does not fit is passed over; then it is waited for.
  drafter draft;                 ///< Asked for guesses before a step is planned; empty: nobody is.
};

struct new_sequence {
  sequence_id id = 0;
  shared_tokens prompt;
  shared_sampling sampling;
  std::uint32_t max_tokens = 0; ///< 0: it ends with its prompt, whose logprobs or embedding are wanted.
  std::uint32_t credit = unlimited_credit; ///< Tokens that may be generated before more is granted.
  scheduling_parameters scheduling;        ///< Its salt is in `key`.
  prefix_key key;
  std::uint64_t mask = 0; ///< Handle of a grammar's matcher; 0: none.
  std::uint16_t max_drafts = 0; ///< So many proposed tokens are tried in one step. Over 0 it is never planned ahead.
  sequence_id fork_of = 0; ///< A sequence with the same prompt, whose blocks it shares once they are computed; 0: none.
  /// Tokens that its answer has already, from another engine; it goes on after them. They count for all limits but the
  /// credit, and bring no events. Null: none.
  shared_tokens answer;
};

/// Tokens that a prompt and its answer may have together: the model's context, or what the KV memory holds of one.
std::uint32_t longest_sequence(const planner_options& options);

/// A token that a step brought; or, without one, that a sequence has ended with its prompt.
struct token_event {
  sequence_id sequence = 0;
  slot_id slot = 0;        ///< As `add` gave it: whoever keeps an account of sequences may index it by this.
  std::uint32_t index = 0; ///< In the answer, from 0.
  token_id token = 0;                    ///< `no_token` where it has none.
  std::optional<finish_reason> finished; ///< Set on the last one: stop or length.
  const token_logprob* logprob = nullptr; ///< In the step's result.
};

struct prompt_logprobs_event {
  sequence_id sequence = 0;
  slot_id slot = 0;
  std::uint32_t position = 0; ///< Of the first token, in the prompt.
  std::span<const token_logprob> tokens;
};

struct embedding_event {
  sequence_id sequence = 0;
  slot_id slot = 0;
  std::span<const float> values; ///< In the step's result.
};

/// A sequence that its worker could compute no further; the planner has removed it.
struct failed_sequence {
  sequence_id sequence = 0;
  slot_id slot = 0;
  error why;
};

/// A sequence that has been admitted: how much of its prompt was in the cache.
struct admitted_sequence {
  sequence_id sequence = 0;
  slot_id slot = 0;
  std::uint32_t cached_tokens = 0; ///< Only the first time; a resumed one is not reported again.
};

struct planner_counts {
  std::uint32_t running = 0; ///< Those that have a place in the batch.
  std::uint32_t waiting = 0; ///< Those that wait for one.
  std::uint32_t paused = 0;  ///< Their clients have paused them, or given no credit: some of the running, none of the waiting.
  std::uint32_t steps_in_flight = 0;
  std::vector<std::uint32_t> purse;  ///< Leased blocks not spent, for each group.
  std::uint64_t preemptions = 0;     ///< Since the start.
  std::uint64_t wasted_rows = 0;     ///< Planned ahead for a sequence that had ended.
  std::uint64_t drafts_proposed = 0, drafts_accepted = 0;
};

class planner {
public:
  explicit planner(planner_options options);

  /// Queues a sequence. Errors: invalid_argument (empty prompt), context_overflow (it can never fit), internal (it is
  /// there already, or has all its tokens).
  expected<slot_id> add(new_sequence sequence, engine_time now);

  /// Takes a sequence out, in whatever phase; what steps in flight still compute for it is dropped. False: unknown.
  bool remove(sequence_id id);

  /// Adds credit; saturates. False: unknown.
  bool grant_credit(sequence_id id, std::uint32_t tokens);

  /// A paused sequence is not planned; its blocks are the first to be given up. False: unknown.
  bool pause(sequence_id id);
  bool resume(sequence_id id);

  /// Guesses for the tokens of its answer from `index` on; void unless that is its next token. False: not used.
  bool propose(sequence_id id, std::uint32_t index, std::span<const token_id> drafts);

  /// The next step, or nothing if there is nothing to compute (or no block to compute it in, until a grant comes).
  /// Steps are numbered here; the epoch is the one that `reset` was last told.
  std::optional<step_changes> plan(engine_time now);

  /// Takes a step's result in: new tokens in the order of the rows. Results come in the order of the steps; one of an
  /// older epoch, or that was taken already, brings nothing. Tokens of removed sequences are dropped. The events are
  /// valid until the next call, and as long as the result. Error: internal (it is not the result of that step).
  expected<std::span<const token_event>> take(const step_result& result);

  /// Logprobs of prompts' tokens that the same result brought, each position once.
  std::span<const prompt_logprobs_event> prompt_logprobs() const { return prompt_logprobs_; }

  /// Embeddings that the same result brought, of sequences that end with it.
  std::span<const embedding_event> embeddings() const { return embeddings_; }

  /// Sequences that have failed by the same result.
  std::span<const failed_sequence> failures() const { return failures_; }

  /// Which sequences `plan` has admitted since the last call.
  std::vector<admitted_sequence> take_admissions();

  /// All KV memory is gone (a worker died): nothing is in flight, everything is recomputed, and the next step is a
  /// snapshot.
  void reset(std::uint64_t epoch);

  /// What the manager must know, if anything: at most one report is on its way until `grant` takes the answer.
  std::optional<kv_report> take_report();
  void grant(kv_grant answer);

  /// A lookup that took longer than its grant. False: nobody waits for it any more (its blocks go back by themselves).
  bool hit(kv_hit found, std::uint32_t generation);

  /// The manager has blocks that it had not when it made the last grant (a transfer has ended): they are asked for.
  void blocks_came_free() { ask_again_ = true; }

  planner_counts counts() const;
  std::size_t steps_in_flight() const { return steps_.size(); }

  /// Checks what must always hold; for tests and on demand.
  expected<void> check_integrity() const;

private:
  /// How far a waiting sequence has come with the manager.
  enum class lookup_state : std::uint8_t { none, asked, answered };

  struct sequence {
    new_sequence request;
    slot_id slot = 0;
    urgency order;
    std::vector<token_id> answer;
    std::uint32_t prompt_tokens = 0;
    std::uint32_t computed = 0; ///< Tokens whose KV is stored.
    std::uint32_t planned = 0;  ///< Those, and what steps in flight compute.
    std::uint32_t ahead = 0;    ///< Tokens that steps in flight will sample.
    std::uint32_t in_flight = 0;
    std::uint32_t pins = 0; ///< Of those, steps in which a fork copies from its blocks.
    std::uint32_t blocks = 0;   ///< Entries of its block table in every group.
    std::uint32_t filled = 0;   ///< Computed tokens that the manager has heard of; whole blocks.
    std::uint32_t told = 0;     ///< Tokens that the manager knows by a lookup or a fill.
    std::uint32_t credit = 0;   ///< What is left, tokens in flight taken off.
    std::uint32_t reserved = 0; ///< Credit taken off for tokens in flight.
    std::uint32_t skips = 0;
    std::uint32_t logprobs_told = 1; ///< Prompt tokens whose logprobs have been reported; the first has none.
    std::uint32_t place = 0;         ///< Index in `running_`.
    std::uint32_t asked_at = 0;      ///< Tokens that its answer had when the drafter was asked last.
    std::uint64_t last_step = 0;     ///< That had rows of it.
    lookup_state lookup = lookup_state::none;
    bool running = false;
    bool paused = false;          ///< By its client.
    bool removed = false;         ///< Waits for its steps in flight to come back.
    bool giving_up = false;       ///< The same, to be queued again.
    bool account = false;         ///< The manager has one for it.
    bool known_to_worker = false; ///< Joined and not left.
    bool worker_holds_last = false;
    bool admitted_before = false;
    bool in_chunk = false;      ///< In the step that is being planned.
    bool waits_its_turn = false; ///< Gave up what it had for others: not looked up again before there is room.
    std::vector<std::vector<block_id>> tables; ///< For each group; `no_block` where the window has passed.
    std::vector<std::uint32_t> dropped;        ///< For each group: entries that the window has passed.
    std::vector<token_id> drafts;
    std::vector<slot_id> forks; ///< Wait until its prompt is computed.
    sequence* fork_parent = nullptr;

    std::uint32_t length() const { return prompt_tokens + static_cast<std::uint32_t>(answer.size()); }
    std::uint32_t length_ahead() const { return length() + ahead; }
    std::uint32_t to_compute() const { return length_ahead() - planned; }
    /// Of a fork: blocks of its prompt that it will have together with its parent.
    std::uint32_t shared_blocks() const { return (prompt_tokens - 1) / tokens_per_block; }
    /// Where its next row stands, and the blocks that it has then. The last token of the prompt is computed again for each
    /// fork, since its logits are what they all sample from.
    std::uint32_t next_row() const { return fork_parent ? prompt_tokens - 1 : planned; }
    std::uint32_t blocks_had() const { return fork_parent ? shared_blocks() : blocks; }
    token_id token_at(std::uint32_t position) const {
      return position < prompt_tokens ? (*request.prompt)[position] : answer[position - prompt_tokens];
    }
    bool generates() const { return request.max_tokens > 0; }
    /// Whether a token is sampled after the row before this position.
    bool samples_at(std::uint32_t position) const { return generates() && position == length_ahead(); }
    bool has_credit() const { return credit > 0 || reserved > 0; }
    bool stalled() const { return paused || !has_credit(); } ///< Its client does not want more now.
    bool leaving() const { return removed || giving_up; }
  };
  using sequence_ptr = std::unique_ptr<sequence>;

  struct urgency_less {
    bool operator()(const sequence* a, const sequence* b) const { return a->order < b->order; }
  };
  using sequence_queue = std::set<sequence*, urgency_less>;

  /// What a step in flight holds of one sequence.
  struct member {
    sequence* who = nullptr;
    std::uint32_t end = 0; ///< Computed up to here when it is back, drafts apart.
    std::uint32_t rows = 0;
    std::uint16_t drafts = 0;
    bool samples = false;
    bool pinned = false; ///< No rows: a fork copies from its blocks.
    std::uint32_t first_event = 0, events = 0; ///< Of those that its tokens became.
  };
  struct step_in_flight {
    std::uint64_t step = 0;
    std::vector<member> members; ///< First those with rows, in the order of the rows.
    step_work work;
  };

  /// One sequence's part of the step that is being planned.
  struct chunk {
    sequence* who = nullptr;
    std::uint32_t count = 0; ///< Rows.
    std::uint32_t drafts = 0;
    std::uint32_t blocks = 0; ///< Out of the purse, for each group.
  };

  bool plannable(const sequence& s) const;
  bool takes_turns(const sequence& s) const;
  bool too_soon(const sequence& s) const;
  std::uint32_t purse_target(std::size_t group) const;
  void count_purse();
  void ask_drafter();
  void plan_running();
  void plan_turn(bool nothing_else);
  void plan_waiting();
  void stretch_cut_chunks();
  void heed_latency(const sequence& s);
  bool add_decode(sequence& s);
  bool add_prefill(sequence& s);
  bool add_chunk(sequence& s, std::uint32_t count, std::uint32_t drafts);
  std::uint32_t prefill_rows(const sequence& s, std::uint32_t first, std::uint32_t most) const;
  bool wants_prompt_logprobs(const sequence& s, std::uint32_t first, std::uint32_t count) const;
  std::uint32_t drafts_for(const sequence& s) const;
  std::uint32_t rows_in_purse(const sequence& s) const;
  std::uint32_t blocks_to_come(const sequence& s, std::size_t group) const;
  bool fits(const sequence& s) const;
  bool can_fork(const sequence& s) const;
  bool ready(sequence& s);
  bool more_is_coming() const;
  bool no_block_is_coming() const;
  bool make_room(const sequence* keep);
  bool drop_holder(const sequence* keep);
  sequence* pick_victim(bool stalled_only) const;
  void preempt(sequence& victim);

  void emit(const chunk& part, step_changes& step, step_in_flight& record, std::vector<member>& pinned);
  sequence* emit_fork(sequence& s);
  void copy_partial_block(const sequence& s, const sequence& parent, step_changes& step) const;
  void emit_join(sequence& s, step_changes& step);
  void emit_blocks(sequence& s, std::uint32_t first, step_changes& step);
  void emit_rows(sequence& s, const chunk& part, step_changes& step);
  void spend(sequence& s, std::uint32_t count);
  void report(kv_operation::kind_type kind, const sequence& s, std::size_t group, std::uint32_t count,
              std::uint32_t offset = 0, sequence_id other = 0);

  void commit(sequence& s, std::uint32_t computed);
  void report_filled(sequence& s);
  void report_dropped(sequence& s);
  expected<void> check_result(const step_result& result, const step_in_flight& record) const;
  void take_tokens(member& row, std::span<const token_id> tokens, const error* failure);
  void end_with_prompt(sequence& s);
  void fail_sequence(sequence& s, const error& why);
  void take_logprobs(const step_result& result, const step_in_flight& record);
  void settle_all(const step_in_flight& record);
  std::optional<finish_reason> finish_of(const sequence& s, token_id token) const;

  void enqueue(sequence& s);
  bool waits_for_parent(const sequence& s) const;
  void call_forks(sequence& parent);
  void start_running(sequence& s);
  void stop_running(sequence& s);
  void let_forks_go(sequence& parent);
  void leave_parent(sequence& fork);
  void give_up_blocks(sequence& s);
  void forget_blocks(sequence& s);
  void leave_when_back(sequence& s, bool& why);
  void settle(sequence& s);
  void drop(sequence& s);
  bool receive(kv_hit& found);
  void add_lookups();
  bool wants_blocks() const;
  sequence* find(sequence_id id) const;
  expected<void> check_sequence(const sequence& s) const;

  planner_options options_;
  std::vector<sequence_ptr> slots_;
  std::vector<slot_id> free_slots_;
  std::unordered_map<sequence_id, sequence*> all_;
  sequence_queue waiting_; ///< Could be admitted, were there room.
  sequence_queue holders_; ///< Not running, but with blocks of the cache.
  std::vector<sequence*> running_;
  std::vector<std::vector<block_id>> purse_; ///< For each group.
  std::vector<std::uint32_t> available_;     ///< For each group, as of the last grant.
  std::deque<step_in_flight> steps_;
  step_cost cost_;

  // Of the step that is being planned.
  std::vector<chunk> chunks_;
  std::vector<sequence*> prefilling_, passed_over_;
  std::vector<sequence*> decoding_; ///< Of several stages: those that could have a row, who has waited longest first.
  std::uint32_t turn_ = 0;          ///< Rows of these that one step has.
  std::vector<draft_query> queries_;
  std::vector<std::uint32_t> purse_left_; ///< For each group: blocks that no chunk has taken yet.
  std::vector<std::uint32_t> promised_;   ///< For each group: what running prompts still need.
  std::uint32_t rows_left_ = 0, logit_rows_left_ = 0;
  std::uint32_t stalled_running_ = 0;
  std::uint32_t shortest_itl_ms_ = 0;
  step_work work_;
  bool lacking_ = false;

  std::vector<token_event> events_;
  std::vector<prompt_logprobs_event> prompt_logprobs_;
  std::vector<embedding_event> embeddings_;
  std::vector<failed_sequence> failures_;
  std::vector<admitted_sequence> admissions_;
  kv_report report_;
  std::vector<slot_id> left_; ///< Not yet told to the worker.
  std::uint32_t leaving_ = 0; ///< Sequences whose blocks come free when their steps are back.
  bool report_on_its_way_ = false;
  bool releases_unreported_ = false;
  bool ask_again_ = false;
  bool snapshot_ = true;
  bool windowed_ = false; ///< Some group has a window.
  std::uint64_t epoch_ = 0;
  std::uint64_t next_step_ = 0;
  std::uint64_t arrivals_ = 0;
  std::uint64_t preemptions_ = 0, wasted_rows_ = 0, drafts_proposed_ = 0, drafts_accepted_ = 0;
};

} // namespace troupe
