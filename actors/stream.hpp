#pragma once

#include <chrono>

#include "actors/interfaces.hpp"
#include "actors/observer.hpp"
#include "actors/watch_list.hpp"
#include "engine/id_table.hpp"
#include "engine/policy.hpp"
#include "engine/shared_credit.hpp"
#include "model/answers.hpp"
#include "protocol/limits.hpp"

namespace troupe {

/// Of the text that one request's echoes repeat, all its answers together.
inline constexpr std::size_t max_echo_bytes = 32u << 20;

/// What a stream works with; all of it belongs to others.
struct stream_context {
  std::shared_ptr<const model> source;
  router_actor router;
  tokenizer_actor tokenizer;
  client_actor client;
  connection_id connection = 0;
  std::uint32_t max_requests = max_requests_per_client; ///< Open at once; 0: no limit but the router's.
  scheduling_policy::kind_type policy = scheduling_policy::kind_type::first_come; ///< Of the engine.
  shared_tokens end_tokens;                                                       ///< model::end_tokens()
  observers observed_by{};
};

struct stream_state {
  stream_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  /// All that is known of one request, and all that it takes to submit its sequences again, elsewhere: prompt,
  /// parameters, and the tokens so far (in `text`).
  struct journal {
    generate_request request; ///< Its prompt is moved on.
    std::uint64_t serial = 0; ///< Tells it from a later request with the same id.
    std::optional<ticket> admitted;
    scheduler_actor scheduler; ///< Invalid until it is placed, and while it is moved.
    bool encoding = false;     ///< At the tokenizer now.
    bool paused = false;
    bool told_paused = false;     ///< What the scheduler knows of `paused`,
    bool telling = false;         ///< and that it is being told.
    std::uint32_t new_credit = 0; ///< Of a request that has started once: granted, and not told yet.
    bool started = false;         ///< Its sequences are at the scheduler; a paused request is not started.
    std::uint32_t starts = 0;     ///< So often they have been: a message to an engine that it has left means nothing.
    bool cached_told = false;     ///< `cached_prompt_tokens` is known.
    shared_tokens prompt;
    std::vector<shared_sampling> sampling; ///< One for each sequence.
    answers text;
    shared_credit credit; ///< Once it has started for the first time; before, all is in `request.credit`.
    std::uint32_t prompt_tokens = 0;
    std::uint32_t cached_prompt_tokens = 0;
    std::chrono::steady_clock::time_point begun;
    double first_token_ms = 0;
    std::vector<float> embedding;                                     ///< Once it is there; the end follows at once.
    std::optional<std::chrono::steady_clock::time_point> admitted_at; ///< To the steps, for the first time.
    std::vector<std::chrono::steady_clock::time_point> last_tokens;   ///< Of each choice, for those who observe.

    std::chrono::steady_clock::time_point first_token_at() const {
      const std::chrono::duration<double, std::milli> after(first_token_ms);
      return begun + std::chrono::round<std::chrono::steady_clock::duration>(after); // To the same moment again.
    }
  };

  /// Where a sequence's tokens go.
  struct sequence_place {
    journal* request = nullptr;
    std::uint32_t choice = 0;
  };

  stream_context context;
  id_table<std::unique_ptr<journal>> journals; ///< By the client's id.
  id_table<sequence_place> sequences;          ///< Of started requests.
  watch_list schedulers;
  std::uint64_t last_serial = 0;
  static inline const char* name = "stream";
};

stream_actor::behavior_type stream(stream_actor::stateful_pointer<stream_state> self, stream_context context);

} // namespace troupe
