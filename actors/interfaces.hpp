// Every actor's interface. The comment on a handler is its contract; who may change what is in docs/contracts.md.
//
// A request that fails for a reason that the sender should know answers with `expected<T>`; CAF's own errors mean
// that the other side is gone or late. How late it may be is in actors/timeouts.hpp.
#pragma once

#include <caf/all.hpp>

#include "actors/messages.hpp"
#include "model/model.hpp"

namespace troupe {

using add_atom = caf::atom_constant<caf::atom("add")>;
using admit_atom = caf::atom_constant<caf::atom("admit")>;
using attach_atom = caf::atom_constant<caf::atom("attach")>;
using cancel_atom = caf::atom_constant<caf::atom("cancel")>;
using check_atom = caf::atom_constant<caf::atom("check")>;
using credit_atom = caf::atom_constant<caf::atom("credit")>;
using deliver_atom = caf::atom_constant<caf::atom("deliver")>;
using drain_atom = caf::atom_constant<caf::atom("drain")>;
using draft_atom = caf::atom_constant<caf::atom("draft")>;
using encode_atom = caf::atom_constant<caf::atom("encode")>;
using fail_atom = caf::atom_constant<caf::atom("fail")>;
using info_atom = caf::atom_constant<caf::atom("info")>;
using leave_atom = caf::atom_constant<caf::atom("leave")>;
using open_atom = caf::atom_constant<caf::atom("open")>;
using pause_atom = caf::atom_constant<caf::atom("pause")>;
using place_atom = caf::atom_constant<caf::atom("place")>;
using remove_atom = caf::atom_constant<caf::atom("remove")>;
using replace_atom = caf::atom_constant<caf::atom("replace")>;
using report_atom = caf::atom_constant<caf::atom("report")>;
using reset_atom = caf::atom_constant<caf::atom("reset")>;
using rows_atom = caf::atom_constant<caf::atom("rows")>;
using sampled_atom = caf::atom_constant<caf::atom("sampled")>;
using result_atom = caf::atom_constant<caf::atom("result")>;
using resume_atom = caf::atom_constant<caf::atom("resume")>;
using slice_atom = caf::atom_constant<caf::atom("slice")>;
using status_atom = caf::atom_constant<caf::atom("status")>;
using step_atom = caf::atom_constant<caf::atom("step")>;
using alarm_atom = caf::atom_constant<caf::atom("alarm")>;
using flow_atom = caf::atom_constant<caf::atom("flow")>;
using flush_atom = caf::atom_constant<caf::atom("flush")>;
using free_atom = caf::atom_constant<caf::atom("free")>;
using hit_atom = caf::atom_constant<caf::atom("hit")>;
using stop_atom = caf::atom_constant<caf::atom("stop")>;
using drop_atom = caf::atom_constant<caf::atom("drop")>;
using list_atom = caf::atom_constant<caf::atom("list")>;
using load_atom = caf::atom_constant<caf::atom("load")>;
using publish_atom = caf::atom_constant<caf::atom("publish")>;
using read_atom = caf::atom_constant<caf::atom("read")>;
using save_atom = caf::atom_constant<caf::atom("save")>;
using write_atom = caf::atom_constant<caf::atom("write")>;
using submit_atom = caf::atom_constant<caf::atom("submit")>;
using use_atom = caf::atom_constant<caf::atom("use")>;
using up_atom = caf::atom_constant<caf::atom("up")>;
using down_atom = caf::atom_constant<caf::atom("down")>;
using watch_atom = caf::atom_constant<caf::atom("watch")>;
using tree_atom = caf::atom_constant<caf::atom("tree")>;
using tokens_atom = caf::atom_constant<caf::atom("tokens")>;

/// Whoever owns a client's connection: the gateway, a command, a program that embeds Troupe.
using client_actor = caf::typed_actor<
  // Messages for one client, in order, at most one delivery a step: one `step_deltas` with all that it brought. What
  // comes apart from a step (a refusal, an ending by a cancel) is a `request_end`. Each request ends with exactly one.
  caf::reacts_to<deliver_atom, delivery>>;

/// The requests of one connection: their journals, text and endings.
using stream_actor = caf::typed_actor<
  // Begins a request. Whatever is wrong with it comes back as its `request_end`; an id that is open already, as a
  // `protocol_error`.
  caf::reacts_to<submit_atom, generate_request>,
  // A request that could not be decoded but for its id: it ends with this error, unless one with this id is open.
  caf::reacts_to<fail_atom, request_id, error>,
  // Ends a request with `cancelled`, in whatever phase it is. An unknown id is nothing: it may have ended meanwhile.
  caf::reacts_to<cancel_atom, request_id>,
  // More credit for a request, for all its answers together: how it is split is in engine/shared_credit.hpp. An unknown
  // id is nothing.
  caf::reacts_to<credit_atom, credit_grant>,
  // Takes a request out of the steps until it is resumed; what is in flight still comes. It keeps its ticket. Twice is
  // once, and an unknown id is nothing.
  caf::reacts_to<pause_atom, request_id>, caf::reacts_to<resume_atom, request_id>,
  // What a step brought (from a scheduler). Of a sequence that is unknown, or has ended, it is nothing.
  caf::reacts_to<tokens_atom, stream_events>,
  // The client is gone: all requests are cancelled, nothing more is delivered, and the stream ends.
  caf::reacts_to<stop_atom>,
  // The engine is about to end, for this reason: so does every open request.
  caf::reacts_to<stop_atom, error>>;

/// The vocabulary and the chat template. Long prompts are encoded in slices, so that short ones overtake them.
using tokenizer_actor = caf::typed_actor<
  // A prompt of any kind, and the words that must not come, to the ids that the model gets. Errors: those of
  // `prompt_text_of`, `check_tokens` and `encode_bad_words`, and context_overflow as soon as there are too many.
  caf::replies_to<encode_atom, encode_request>::with<expected<encoded_prompt>>,
  // To itself: the next slice.
  caf::reacts_to<slice_atom>>;

/// Whoever follows several engines, to choose among them: the router. It may be told late, or not at all.
using engine_watcher_actor = caf::typed_actor<
  // What has happened to blocks that can be hit (from an engine's KV-cache manager).
  caf::reacts_to<publish_atom, engine_index, kv_event_batch>,
  // Which sequences were admitted, and what is free (from an engine's scheduler): at most once a step.
  caf::reacts_to<load_atom, engine_index, engine_load>>;

/// One engine's sequences: the planner, and the way between streams, KV-cache manager and executor.
using scheduler_actor = caf::typed_actor<
  // Queues a sequence, whose events go to this stream. A refusal comes as an event with a failure.
  caf::reacts_to<add_atom, new_sequence, stream_actor>,
  // Takes a sequence out; no event for it follows. Its blocks are free when the steps in flight have ended.
  caf::reacts_to<remove_atom, sequence_id>,
  // Adds credit to a sequence; `unlimited_credit` lifts the limit.
  caf::reacts_to<credit_atom, sequence_id, std::uint32_t>,
  // Takes sequences out of the steps, or back, and adds credit; steps in flight still bring tokens. Unknown ones may have
  // ended. The answer is their number: a stream has one such message on its way for each request, whatever its client
  // sends.
  caf::replies_to<flow_atom, flow_change>::with<std::uint32_t>,
  // Guesses for the tokens of a sequence's answer from this index on; void unless that is its next token.
  caf::reacts_to<draft_atom, sequence_id, std::uint32_t, std::vector<token_id>>,
  // A step's result (from the executor).
  caf::reacts_to<result_atom, step_result>,
  // A lookup that took longer than its grant, and the generation that it is of (from the KV-cache manager).
  caf::reacts_to<hit_atom, kv_hit, std::uint32_t>,
  // Blocks that were held by a transfer are free, or can be evicted (from the KV-cache manager).
  caf::reacts_to<free_atom>,
  // From now on its load is told to this watcher, as that of the engine with this number; and its KV-cache manager's
  // events.
  caf::reacts_to<watch_atom, engine_watcher_actor, engine_index>,
  // All KV memory is gone and a new epoch begins (from the executor): every sequence is computed again.
  caf::reacts_to<reset_atom, std::uint64_t>,
  // The engine has given up (from the executor): every sequence ends with this error, and so does every later one. Their
  // streams may have them go on at another engine.
  caf::reacts_to<fail_atom, error>, caf::replies_to<status_atom>::with<planner_counts>,
  // Checks the planner's invariants. Error: why it has given up, if it has.
  caf::replies_to<check_atom>::with<expected<nothing>>>;

/// All that is true of the KV cache: which block is whose, and what is in it.
using kv_cache_actor = caf::typed_actor<
  // Its scheduler, to which late hits go. Sent once.
  caf::reacts_to<attach_atom, scheduler_actor>,
  // Block events are told to this watcher, too, if they are on (from the scheduler).
  caf::reacts_to<watch_atom, engine_watcher_actor, engine_index>,
  // What the scheduler has done with blocks since its last report; answers with new ones for its purse, and with hits.
  // An error of CAF's: the accounts differ, and nothing is safe any more.
  caf::replies_to<report_atom, kv_report>::with<kv_grant>, caf::replies_to<status_atom>::with<kv_status>,
  // The engine is about to stop: saves all that can be hit and that the tier lacks. Answers when the tier has it, or
  // could not take it; at once where there is no tier.
  caf::replies_to<flush_atom>::with<expected<nothing>>,
  // Forgets all cached prefixes. What running sequences have stays theirs.
  caf::replies_to<reset_atom>::with<expected<nothing>>, caf::replies_to<check_atom>::with<expected<nothing>>>;

/// A tier behind the KV memory (engine/kv/block_tier.hpp): it may wait for a disk, so it runs in a thread of its own.
/// Whoever sends it blocks keeps the number of those on their way within a limit. Nothing of it is an error for a
/// request: what cannot be saved is not there, and what cannot be loaded is computed.
using kv_tier_actor = caf::typed_actor<
  // What can be loaded, the least recently used first. Errors: why the tier could not be opened; then it saves nothing
  // and has nothing.
  caf::replies_to<list_atom>::with<expected<std::vector<block_hash>>>,
  // Keeps blocks, given in the order of their chain.
  caf::replies_to<save_atom, std::vector<tier_block>>::with<tier_saves>,
  // Their contents, in the order of the hashes, which is that of their chain; null for one that is not there.
  caf::replies_to<load_atom, std::vector<block_hash>>::with<std::vector<shared_bytes>>,
  // These were used without a load, in the order of their chains: others are given up before them.
  caf::replies_to<use_atom, std::vector<block_hash>>::with<expected<nothing>>,
  // Keeps these no longer.
  caf::reacts_to<drop_atom, std::vector<block_hash>>,
  // The counts of each of its layers, the first that is asked first.
  caf::replies_to<status_atom>::with<std::vector<tier_counts>>, caf::replies_to<check_atom>::with<expected<nothing>>>;

/// Tells subscribers on a ZeroMQ socket what happens to cached blocks.
using kv_events_actor = caf::typed_actor<
  // Publishes a batch. Whoever sends never waits: over the limit of batches that wait, this one is lost, and
  // subscribers see that its number is missing.
  caf::reacts_to<publish_atom, kv_event_batch>, caf::replies_to<status_atom>::with<kv_events_status>>;

/// Who is told what becomes of a step.
using results_actor = caf::typed_actor<caf::reacts_to<result_atom, std::uint64_t, step_outcome>>;

/// Who computes on with what others have computed: a stage, and each of its workers.
using chain_actor = caf::typed_actor<
  // The rows of this step (epoch, step) of the stage before are there.
  caf::reacts_to<rows_atom, std::uint64_t, std::uint64_t>,
  // What the last stage has sampled; of an older epoch it is nothing.
  caf::reacts_to<sampled_atom, step_tokens>>;

/// One device: its backend, its batch, its sampler.
using worker_actor = chain_actor::extend<
  // Whom to tell in a pipeline, before the first step: of rows the next stage (invalid: it is the last, or another
  // worker tells), of sampled tokens the first.
  caf::reacts_to<attach_atom, chain_actor, chain_actor>,
  // Computes a step and tells its executor what has become of it. An error is permanent (the weights could not be
  // loaded, a step was wrong); a crash is this actor's death. Steps are computed in their order; one whose rows or
  // tokens are not there yet waits, and so do those after it.
  caf::reacts_to<step_atom, step_ptr>,
  // What blocks hold after all steps that came before this and have run; whoever asks for a block has the result of the
  // step that filled it. Errors: that of a worker that could not load.
  caf::replies_to<read_atom, std::vector<block_place>>::with<expected<block_contents>>,
  // Puts contents into blocks, before all steps that come after this. Errors: the same, and internal (a wrong size;
  // then no block is changed).
  caf::replies_to<write_atom, block_contents>::with<expected<nothing>>,
  // What it runs on, once its weights are loaded.
  caf::replies_to<info_atom>::with<expected<worker_info>>>;

/// One pipeline stage: passes steps, rows and tokens to its workers in order. It dies with a worker.
using stage_actor =
  chain_actor::extend<caf::reacts_to<step_atom, step_ptr>,
                      caf::replies_to<read_atom, std::vector<block_place>>::with<expected<block_contents>>,
                      caf::replies_to<write_atom, block_contents>::with<expected<nothing>>,
                      caf::replies_to<info_atom>::with<expected<worker_info>>>;

/// The steps in flight of one engine, its epoch and its stages.
using executor_actor = results_actor::extend<
  // Its scheduler, to which results, resets and failures go. Sent once, before the first step.
  caf::reacts_to<attach_atom, scheduler_actor>,
  // The stages that are to be used from now on, in their order (from the supervisor).
  caf::reacts_to<replace_atom, std::vector<stage_actor>>,
  // The supervisor has given up replacing them.
  caf::reacts_to<fail_atom, error>,
  // Runs a step of the present epoch; an older one is dropped. Its result comes as `result` (from a worker of the last
  // stage); that of an older epoch is dropped.
  caf::reacts_to<step_atom, step_ptr>,
  // The contents of blocks, in order with steps, if this is still the epoch that they were computed in. Errors:
  // unavailable (another epoch, or it ends meanwhile: what they held is gone), and those of a worker.
  caf::replies_to<read_atom, std::uint64_t, std::vector<block_place>>::with<expected<block_contents>>,
  caf::replies_to<write_atom, std::uint64_t, block_contents>::with<expected<nothing>>,
  // To itself, while steps are in flight: is one too late?
  caf::reacts_to<alarm_atom>, caf::replies_to<info_atom>::with<expected<worker_info>>,
  caf::replies_to<status_atom>::with<executor_status>>;

/// Leave to begin, and where, if the prompt's tokens were there; otherwise `place` is to be asked.
struct admitted_request {
  ticket granted;
  scheduler_actor scheduler;
};

/// The engines and their load. It alone admits. A ticket is void when the stream that asked for it dies.
using router_actor = caf::typed_actor<
  // Leave to begin a request. Errors: queue_full with `retry_after_ms`, limit_exceeded, unavailable (draining, or no
  // engine is up).
  caf::replies_to<admit_atom, admission_request>::with<expected<admitted_request>>,
  // The engine for an admitted request: never one that is down. Errors: unavailable (none is up).
  caf::replies_to<place_atom, ticket, placement>::with<expected<scheduler_actor>>,
  // The engine of this request has ended or given up, for this reason, and is down from now on. The answer: where it
  // goes on, under a new ticket, since nobody has heard of its ids, whatever the old engine still says. Errors: those of
  // `place`, and the reason where it has been moved too often (`routing_options::max_moves`). The old ticket is void, but after an
  // error: then it is to be given back.
  caf::replies_to<replace_atom, ticket, placement, error>::with<expected<admitted_request>>,
  // The request has ended; its ticket is void.
  caf::reacts_to<leave_atom, ticket>,
  // As `engine_watcher_actor` says.
  caf::reacts_to<publish_atom, engine_index, kv_event_batch>, caf::reacts_to<load_atom, engine_index, engine_load>,
  // An engine has given up (from the supervisor). A scheduler's death it sees itself.
  caf::reacts_to<down_atom, engine_index, error>,
  // An engine is there, or is there again; its number is one that is known, or the next.
  caf::reacts_to<up_atom, engine_index, scheduler_actor>,
  // From now on refuses every new request with `unavailable`; answers when the last one that is open has ended.
  caf::replies_to<drain_atom>::with<expected<nothing>>, caf::replies_to<status_atom>::with<router_status>>;

/// The actors of one engine.
struct engine_tree {
  scheduler_actor scheduler;
  kv_cache_actor kv_cache;
  kv_tier_actor kv_tier; ///< Invalid: there is none.
  executor_actor executor;
  std::vector<worker_actor> workers; ///< Of the present epoch: [pipeline stage][tensor-parallel rank].
};

/// The handles of one running Troupe, for whoever wants to look at an actor or to talk to it directly.
struct actor_tree {
  router_actor router;
  std::vector<tokenizer_actor> tokenizers;
  std::vector<engine_tree> engines; ///< At least one.
};

/// The tree: spawns, monitors, restarts within a limit, stops in order.
using supervisor_actor = caf::typed_actor<
  // A stream for a client's connection, and how many requests it may have open (0: as many as the router admits, for one
  // that carries the requests of many clients).
  caf::replies_to<open_atom, client_actor, connection_id, std::uint32_t>::with<stream_actor>,
  // Stages for those of this engine, which have died, and why they did (from an executor). The answer is `replace` or
  // `fail`, sent to it.
  caf::reacts_to<replace_atom, std::uint32_t, std::string>, caf::replies_to<tree_atom>::with<actor_tree>,
  // The new workers of this engine are ready, so many milliseconds after the old ones were lost (from its executor).
  caf::reacts_to<up_atom, std::uint32_t, std::uint64_t>,
  // This engine has given up (from its executor): see `engine_options::stop_when_failed`.
  caf::reacts_to<fail_atom, std::uint32_t, error>,
  // Ends all requests, then all other actors, then itself.
  caf::reacts_to<stop_atom>>;

} // namespace troupe

// These stay inside one process: CAF moves them and never serialises them. What will travel gets an `inspect`.
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::delivery)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::generate_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::credit_grant)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::stream_events)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::encode_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::encoded_prompt>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::new_sequence)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::flow_change)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::step_tokens)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::step_result)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::step_outcome)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::error)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::planner_counts)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::kv_hit)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::kv_status)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::nothing>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::kv_report)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::kv_grant)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::step_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::worker_info>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ticket)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::admission_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::placement)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::engine_load)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::admitted_request>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::scheduler_actor>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::router_status)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::executor_status)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<troupe::block_place>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::block_contents)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::block_contents>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<troupe::block_hash>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<std::vector<troupe::block_hash>>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<troupe::tier_block>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<troupe::shared_bytes>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::tier_saves)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<troupe::tier_counts>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::kv_event_batch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::kv_events_status)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actor_tree)
