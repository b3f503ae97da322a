// Every actor's interface. The comment on a handler is its contract; who may change what is in docs/contracts.md.
//
// A request that fails for a reason that the sender should know answers with `expected<T>`; CAF's own errors mean
// that the other side is gone or late. No sender waits for ever: see actors/timeouts.hpp.
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
using encode_atom = caf::atom_constant<caf::atom("encode")>;
using fail_atom = caf::atom_constant<caf::atom("fail")>;
using info_atom = caf::atom_constant<caf::atom("info")>;
using leave_atom = caf::atom_constant<caf::atom("leave")>;
using open_atom = caf::atom_constant<caf::atom("open")>;
using place_atom = caf::atom_constant<caf::atom("place")>;
using remove_atom = caf::atom_constant<caf::atom("remove")>;
using replace_atom = caf::atom_constant<caf::atom("replace")>;
using report_atom = caf::atom_constant<caf::atom("report")>;
using reset_atom = caf::atom_constant<caf::atom("reset")>;
using result_atom = caf::atom_constant<caf::atom("result")>;
using slice_atom = caf::atom_constant<caf::atom("slice")>;
using status_atom = caf::atom_constant<caf::atom("status")>;
using step_atom = caf::atom_constant<caf::atom("step")>;
using stop_atom = caf::atom_constant<caf::atom("stop")>;
using submit_atom = caf::atom_constant<caf::atom("submit")>;
using tree_atom = caf::atom_constant<caf::atom("tree")>;
using tokens_atom = caf::atom_constant<caf::atom("tokens")>;

/// Whoever owns a client's connection: the gateway, a command, a program that embeds Troupe.
using client_actor = caf::typed_actor<
  // Messages for one client, in order, at most one delivery a step. Each request ends with exactly one `request_end`.
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
  // More credit for a request. An unknown id is nothing.
  caf::reacts_to<credit_atom, credit_grant>,
  // What a step brought (from a scheduler).
  caf::reacts_to<tokens_atom, sequence_events>,
  // The client is gone: all requests are cancelled, nothing more is delivered, and the stream ends.
  caf::reacts_to<stop_atom>>;

/// The vocabulary and the chat template. Long prompts are encoded in slices, so that short ones overtake them.
using tokenizer_actor = caf::typed_actor<
  // A prompt of any kind to the ids that the model gets. Errors: those of `prompt_text_of` and `check_tokens`, and
  // context_overflow as soon as there are too many.
  caf::replies_to<encode_atom, prompt>::with<expected<prompt_tokens>>,
  // To itself: the next slice.
  caf::reacts_to<slice_atom>>;

/// One engine's sequences: the planner, and the way between streams, KV-cache manager and executor.
using scheduler_actor = caf::typed_actor<
  // Queues a sequence, whose events go to this stream. A refusal comes as an event with a failure.
  caf::reacts_to<add_atom, new_sequence, stream_actor>,
  // Takes a sequence out; no event for it follows. Its blocks are free when the steps in flight have ended.
  caf::reacts_to<remove_atom, sequence_id>,
  // Adds credit to a sequence.
  caf::reacts_to<credit_atom, sequence_id, std::uint32_t>,
  // A step's result (from the executor).
  caf::reacts_to<result_atom, step_result>,
  // All KV memory is gone and a new epoch begins (from the executor): every sequence is computed again.
  caf::reacts_to<reset_atom, std::uint64_t>,
  // The engine has given up (from the executor): every sequence ends with this error, and so does every later one.
  caf::reacts_to<fail_atom, error>, caf::replies_to<status_atom>::with<planner_counts>,
  // Checks the planner's invariants.
  caf::replies_to<check_atom>::with<expected<nothing>>>;

/// All that is true of the KV cache: which block is whose.
using kv_cache_actor = caf::typed_actor<
  // What the scheduler spent and freed since its last report; answers with new blocks for its purse.
  caf::replies_to<report_atom, kv_report>::with<kv_grant>, caf::replies_to<status_atom>::with<block_counts>,
  caf::replies_to<check_atom>::with<expected<nothing>>>;

/// One device: its backend, its batch, its sampler.
using worker_actor = caf::typed_actor<
  // Computes a step. An error is permanent (the weights could not be loaded, a step was wrong); a crash is this
  // actor's death.
  caf::replies_to<step_atom, step_ptr>::with<expected<step_result>>,
  // What it runs on, once its weights are loaded.
  caf::replies_to<info_atom>::with<expected<worker_info>>>;

/// One pipeline stage: passes steps to its workers in order and their results on. It dies with a worker.
using stage_actor = caf::typed_actor<caf::replies_to<step_atom, step_ptr>::with<expected<step_result>>,
                                     caf::replies_to<info_atom>::with<expected<worker_info>>>;

/// The steps in flight of one engine, its epoch and its stages.
using executor_actor = caf::typed_actor<
  // Its scheduler, to which results, resets and failures go. Sent once, before the first step.
  caf::reacts_to<attach_atom, scheduler_actor>,
  // A stage that is to be used from now on (from the supervisor).
  caf::reacts_to<replace_atom, stage_actor>,
  // The supervisor has given up replacing it.
  caf::reacts_to<fail_atom, error>,
  // Runs a step of the present epoch; an older one is dropped.
  caf::reacts_to<step_atom, step_ptr>, caf::replies_to<info_atom>::with<expected<worker_info>>,
  // Steps run since the start, and the epoch.
  caf::replies_to<status_atom>::with<std::uint64_t, std::uint64_t>>;

/// The engines and their load. It alone admits.
using router_actor = caf::typed_actor<
  // Leave to begin a request with a prompt of about so many tokens. Errors: queue_full.
  caf::replies_to<admit_atom, std::uint32_t>::with<expected<ticket>>,
  // The engine for an admitted request.
  caf::replies_to<place_atom, ticket, std::uint32_t>::with<expected<scheduler_actor>>,
  // The request has ended; its ticket is void.
  caf::reacts_to<leave_atom, ticket>, caf::replies_to<status_atom>::with<router_status>>;

/// The handles of one running Troupe, for whoever wants to look at an actor or to talk to it directly.
struct actor_tree {
  router_actor router;
  std::vector<tokenizer_actor> tokenizers;
  scheduler_actor scheduler;
  kv_cache_actor kv_cache;
  executor_actor executor;
  worker_actor worker; ///< Of the present epoch.
};

/// The tree: spawns, monitors, restarts within a limit, stops in order.
using supervisor_actor = caf::typed_actor<
  // A stream for a client's connection.
  caf::replies_to<open_atom, client_actor, connection_id>::with<stream_actor>,
  // A stage for one that has died, and why it did (from an executor). The answer is `replace` or `fail`, sent to it.
  caf::reacts_to<replace_atom, std::string>, caf::replies_to<tree_atom>::with<actor_tree>,
  // Ends all requests, then all other actors, then itself.
  caf::reacts_to<stop_atom>>;

} // namespace troupe

// These stay inside one process: CAF moves them and never serialises them. What will travel gets an `inspect`.
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::delivery)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::generate_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::credit_grant)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::sequence_events)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::prompt)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::prompt_tokens>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::new_sequence)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::step_result)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::step_result>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::error)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::planner_counts)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::block_counts)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::nothing>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::kv_report)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::kv_grant)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::step_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::worker_info>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ticket)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::ticket>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::expected<troupe::scheduler_actor>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::router_status)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actor_tree)
