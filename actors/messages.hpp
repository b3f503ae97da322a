// What actors say to each other, beside the messages of clients (protocol/messages.hpp) and steps (engine/step.hpp).
//
// Plain values; they stay inside one process for now, so CAF moves them as they are.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/admission.hpp"
#include "engine/kv/block_tier.hpp"
#include "engine/kv/event_buffer.hpp"
#include "engine/kv/store.hpp"
#include "engine/planner.hpp"
#include "engine/routing.hpp"
#include "engine/shared_credit.hpp"
#include "engine/step.hpp"
#include "model/backend.hpp"
#include "protocol/messages.hpp"

namespace troupe {

/// Names a client's connection within the actor that owns its socket.
using connection_id = std::uint64_t;

/// Messages for one client, in order; what a step brought it is one `step_deltas`.
struct delivery {
  connection_id connection = 0;
  std::vector<server_message> messages;
};

/// For `expected<nothing>`: done, or why not.
using nothing = std::monostate;

/// What the router must know to admit a request.
struct admission_request {
  std::uint32_t tokens = 0;    ///< Of its prompt; estimated unless that is in `exact`.
  std::uint32_t sequences = 1; ///< Answers that are generated for it.
  placement exact;             ///< If its prompt is there, it is placed at once.
};

/// What the tokenizer must know of a request.
struct encode_request {
  troupe::prompt prompt;
  std::vector<std::string> bad_words;
  bool text_wanted = false; ///< For an echo.
};

/// A prompt as the model gets it.
struct encoded_prompt {
  shared_tokens tokens;
  std::vector<std::vector<token_id>> bad_words;
  std::string text; ///< The prompt as text, where it was wanted: messages as the template renders them.
};

/// A token that a step brought to one sequence, or its end without one.
struct sequence_event {
  sequence_id sequence = 0;
  std::uint32_t index = 0;   ///< Of the token in the answer.
  token_id token = 0;        ///< `no_token`: it has ended with its prompt.
  std::uint8_t finished = 0; ///< 0, or a `finish_reason` (stop or length) and 1: it is the last one.

  std::optional<finish_reason> reason() const {
    return finished == 0 ? std::nullopt : std::optional(static_cast<finish_reason>(finished - 1));
  }
  static std::uint8_t finished_by(std::optional<finish_reason> reason) {
    return reason ? static_cast<std::uint8_t>(static_cast<std::uint8_t>(*reason) + 1) : std::uint8_t{0};
  }
};

/// All that one step brought to the sequences of one stream. Its lists are meant in this order.
struct stream_events {
  /// A sequence was admitted for the first time.
  struct admitted {
    sequence_id sequence = 0;
    std::uint32_t cached_tokens = 0;          ///< Of its prompt.
    std::chrono::steady_clock::time_point at; ///< When its first step was planned.
  };
  struct prompt_part {
    sequence_id sequence = 0;
    std::uint32_t position = 0; ///< In the prompt, of the first of these tokens.
    std::vector<token_logprob> logprobs;
  };
  struct embedded {
    sequence_id sequence = 0;
    std::vector<float> values;
  };
  struct event_logprob {
    std::uint32_t event = 0; ///< Index in `tokens`; ascending.
    token_logprob logprob;
  };
  /// A sequence that gets no more tokens, and why.
  struct failed {
    sequence_id sequence = 0;
    error why;
    bool engine_gave_up = false; ///< It is not the sequence's fault: it may go on at another engine.
  };

  std::vector<admitted> admissions;
  std::vector<prompt_part> prompt_logprobs;
  std::vector<embedded> embeddings;
  std::vector<sequence_event> tokens;
  std::vector<event_logprob> logprobs; ///< Of those sequences that want them.
  std::vector<failed> failures;
};

/// How fast a client wants the answers of one request, all of them told at once.
struct flow_change {
  sequence_id first = 0; ///< The sequences are this one and those after it.
  std::uint32_t sequences = 1;
  bool paused = false;
  std::vector<credit_share> credit; ///< Added.
};

/// The KV cache at one moment.
struct kv_status {
  std::vector<kv_block_counts> blocks; ///< By group.
  kv_store_statistics statistics;
  std::uint32_t sequences = 0; ///< With an account.
};

/// A step travels to every worker of every stage; all share it.
using step_ptr = std::shared_ptr<const step_changes>;

/// What has become of a step.
using step_outcome = expected<step_result>;

/// What a worker runs on.
struct worker_info {
  std::string device;  ///< "cpu", "cuda", "cuda-shim"
  std::string backend; ///< backend::name()
  memory_account memory;
  std::string kv_type;                    ///< backend::kv_type()
  std::vector<std::uint64_t> block_bytes; ///< backend::block_bytes(), by KV group.
  std::string fingerprint;                ///< How it computes; all of one model must have the same.
};

/// What several workers have together, each of which has a part of every layer or some of the layers. Errors: that of
/// `infos`; version_mismatch (they do not compute alike).
expected<worker_info> sum_of(const expected<std::vector<worker_info>>& infos);

/// One block of a device's memory.
struct block_place {
  kv_group group = 0;
  block_id block = 0;
  bool operator==(const block_place&) const = default;
};

struct block_content {
  block_place place;
  shared_bytes bytes;
};
using block_contents = std::vector<block_content>;

/// What was published since the start.
struct kv_events_status {
  std::uint64_t published = 0; ///< Batches.
  std::uint64_t missing = 0;   ///< Numbers that were left out before the last one that was published.
  std::uint64_t lost = 0;      ///< Batches that came while too many waited.
  std::uint64_t replays = 0;   ///< Requests of subscribers that were answered to the end.
};

struct executor_status {
  std::uint64_t steps = 0;      ///< Run since the start.
  std::uint64_t epoch = 0;      ///< As often workers have been replaced.
  std::uint64_t lost_steps = 0; ///< In flight when an epoch ended: computed again.
  std::uint64_t last_recovery_ms =
    0;                         ///< From the moment when it noticed that workers were lost until others were ready.
  std::optional<error> failed; ///< It has given up.
  bool loaded = false;         ///< All workers of this epoch have their weights.
  double step_ms = 0; ///< So long the first step in flight has been computed, as far as is known; 0: none is.
};

struct router_status {
  std::uint32_t open_requests = 0; ///< Admitted and not ended.
  std::uint32_t open_sequences = 0;
  std::uint64_t open_tokens = 0; ///< Of their prompts.
  std::uint64_t refused = 0;     ///< Since the start.
  bool draining = false;
  std::vector<engine_standing> engines;
};

} // namespace troupe
