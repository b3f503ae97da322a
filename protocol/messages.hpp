// What a client and Troupe say to each other, as plain values. The msgpack form is in protocol/codec.hpp and
// docs/protocol.md; the HTTP front end and programs that link the library use the same types. What is a frame by itself
// has its name there as `type`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/error.hpp"

namespace troupe {

using token_id = std::int32_t;

/// Chosen by the client, unique among the requests that are open on its connection.
using request_id = std::uint64_t;

struct chat_message {
  std::string role; ///< "system", "user", "assistant"; what else a model's template knows.
  std::string content;
  bool operator==(const chat_message&) const = default;
};

/// A chat with all that a template may know beside roles and contents: a JSON object, whose members the template sees
/// as its variables. `messages`, a list of objects, must be there; `tools`, `documents`, `add_generation_prompt` (true
/// where it is absent) and others may be. None may be called bos_token or eos_token: those are the model's.
struct chat_prompt {
  std::string variables;
  bool operator==(const chat_prompt&) const = default;
};

/// The prompt: text as it stands (special tokens in it are not parsed, none are added but the model's BOS where its
/// metadata asks for one), token ids as they stand, or chat messages for the model's own template.
using prompt_text = std::string;
using prompt_tokens = std::vector<token_id>;
using prompt_messages = std::vector<chat_message>;
using prompt = std::variant<prompt_text, prompt_tokens, prompt_messages, chat_prompt>;

/// A token by its id, and what is added to its logit.
struct logit_bias_entry {
  token_id token = 0;
  float bias = 0.0f; ///< -100 to 100.
  bool operator==(const logit_bias_entry&) const = default;
};

/// What decides an answer's tokens. The order in which the parts are applied is in model/sampling/sampler.hpp.
struct sampling_parameters {
  float temperature = 0.0f; ///< 0: greedy. Otherwise logits are divided by it. 0 to 100.
  std::uint64_t seed = 0;   ///< Of the noise; the same request and seed give the same tokens.
  std::uint32_t top_k = 0;  ///< Only the k likeliest tokens; 0: all.
  float top_p = 1.0f;       ///< Only the likeliest tokens that together have this probability. Over 0, to 1.
  float min_p = 0.0f;       ///< Only tokens with this share of the likeliest one's probability. 0 to 1.
  float typical_p = 1.0f;   ///< Only the most typical tokens that together have this probability. Over 0, to 1.
  float repetition_penalty = 1.0f; ///< Over 1 makes tokens of prompt and answer less likely. 0.01 to 100.
  float presence_penalty = 0.0f;   ///< Subtracted from the logits of tokens in the answer. -2 to 2.
  float frequency_penalty = 0.0f;  ///< The same for each time that a token is in the answer. -2 to 2.
  std::vector<logit_bias_entry> logit_bias{};
  std::vector<token_id> allowed_tokens{}; ///< Only these; empty: all.
  std::vector<std::string> bad_words{};   ///< Never generated (as the tokens that each is encoded to).
  std::uint32_t max_tokens = 512;         ///< At most so many are generated; at least 1.
  std::uint32_t min_tokens = 0;           ///< No end before so many.
  bool ignore_eos = false;                ///< Go on after an end-of-sequence token.
  std::vector<std::string> stop{};        ///< Generation ends before any of these in the text.
  std::vector<token_id> stop_tokens{};    ///< Generation ends with any of these, as with an end-of-sequence token.
  std::int32_t logprobs = -1;        ///< So many of the likeliest tokens with each token's logprob; -1: no logprobs.
  std::int32_t prompt_logprobs = -1; ///< The same for the tokens of the prompt.
  bool operator==(const sampling_parameters&) const = default;
};

/// What a request wants of the scheduler, beside its answer.
struct scheduling_parameters {
  std::int32_t priority = 0; ///< Lower is more urgent, -1000 to 1000. Counts where the policy is `priority`.
  std::uint32_t ttft_ms = 0; ///< Wanted time to the first token; 0: none. Counts where the policy is `deadline`.
  std::uint32_t itl_ms = 0;  ///< Wanted time between two tokens; 0: none. The same.
  std::string cache_salt{};  ///< Cached prefixes are shared only among requests with the same salt.
  bool operator==(const scheduling_parameters&) const = default;
};

/// Who asks, for those who look on: logs and traces. No answer depends on it.
struct request_origin {
  std::string name{};        ///< What logs and traces call the request: whoever has its connection says it. It is on no wire.
  std::string traceparent{}; ///< W3C Trace Context (protocol/trace_context.hpp); empty: none.
  bool operator==(const request_origin&) const = default;
};

/// Credit: how many tokens the server may send before the client grants more. `unlimited_credit` (also what an
/// absent field means) grants all that max_tokens allows.
inline constexpr std::uint32_t unlimited_credit = 0xffffffffu;

struct generate_request {
  static constexpr char type[] = "generate_request";
  request_id id = 0;
  troupe::prompt prompt{};
  sampling_parameters sampling{};
  scheduling_parameters scheduling{};
  std::uint32_t n = 1;       ///< Answers to this prompt. 1 to 128.
  std::uint32_t best_of = 0; ///< So many are generated, and the n with the best mean logprob given; 0: n.
  bool echo = false;         ///< Each answer's text begins with the prompt's, in its first delta.
  std::uint32_t credit = unlimited_credit; ///< For all answers together. Unlimited where `best_of` is more than `n`.
  request_origin origin{};
  bool operator==(const generate_request&) const = default;
};

/// One token's probability and those of the likeliest in its place: logarithms of the softmax of the model's own
/// logits, before any processing.
struct token_logprob {
  token_id token = 0;
  float logprob = 0.0f;
  std::uint32_t rank = 0; ///< 1: no token was likelier.
  struct alternative {
    token_id token = 0;
    float logprob = 0.0f;
    bool operator==(const alternative&) const = default;
  };
  /// The likeliest first; the lower id first of equals. All entries of one delta have the same number of them.
  std::vector<alternative> top{};
  bool operator==(const token_logprob&) const = default;
};

/// Some tokens of one answer, in order. Text is held back while it may be an unfinished UTF-8 character or the
/// beginning of a stop string, so `text` may be empty while `token_ids` is not, and the other way round.
struct token_delta {
  static constexpr char type[] = "token_delta";
  request_id id = 0;
  std::uint32_t choice = 0;   ///< Which of the n answers, from 0.
  std::uint32_t position = 0; ///< Index of the first of `token_ids` in the answer, from 0.
  std::vector<token_id> token_ids{};
  std::string text{};
  std::vector<token_logprob> logprobs{}; ///< One for each of `token_ids`, where they were asked for.
  /// Those of the prompt's tokens but the first, where they were asked for: all in order, in the deltas of choice 0
  /// up to the one with its first token.
  std::vector<token_logprob> prompt_logprobs{};
  bool operator==(const token_delta&) const = default;
};

enum class finish_reason : std::uint8_t {
  stop = 0,      ///< An end-of-sequence token or a stop string.
  length = 1,    ///< max_tokens, or the model's context is full.
  cancelled = 2, ///< The client's cancel.
  error = 3,     ///< See `request_end::failure`.
};

constexpr std::string_view to_string(finish_reason reason) {
  switch (reason) {
  case finish_reason::stop:
    return "stop";
  case finish_reason::length:
    return "length";
  case finish_reason::cancelled:
    return "cancelled";
  case finish_reason::error:
    return "error";
  }
  return "error";
}

struct usage_counts {
  std::uint32_t prompt_tokens = 0;
  std::uint32_t completion_tokens = 0;    ///< Of all answers that were generated.
  std::uint32_t cached_prompt_tokens = 0; ///< Of `prompt_tokens`, those that were not computed again.
  bool operator==(const usage_counts&) const = default;
};

/// Milliseconds on the server's monotonic clock, from the moment the request was taken.
struct request_timings {
  double first_token_ms = 0; ///< Until the first token was there; 0 if there was none.
  double total_ms = 0;       ///< Until the end.
  bool operator==(const request_timings&) const = default;
};

/// How one of several answers ended.
struct choice_end {
  std::uint32_t choice = 0;
  finish_reason reason = finish_reason::stop;
  std::uint32_t completion_tokens = 0;
  std::optional<float> mean_logprob{}; ///< Of its tokens; where `best_of` or `logprobs` asked for it.
  bool operator==(const choice_end&) const = default;
};

/// Of a whole request with these answers: `error` or `cancelled` if any ended so, else `length` if any did, else
/// `stop`.
inline finish_reason whole_reason(const std::vector<choice_end>& choices) {
  finish_reason worst = finish_reason::stop; // The enum is in the order of what counts.
  for (const choice_end& each : choices)
    worst = each.reason > worst ? each.reason : worst;
  return worst;
}

/// The one last message of every request.
struct request_end {
  static constexpr char type[] = "request_end";
  request_id id = 0;
  finish_reason reason = finish_reason::stop; ///< Of all answers: see `whole_reason`.
  usage_counts usage{};
  request_timings timings{};
  error failure{errc::none, {}}; ///< Code `none` unless `reason` is `error`.
  /// One for each answer that was given, in their order, where `n` or `best_of` was over 1; otherwise empty.
  std::vector<choice_end> choices{};
  bool operator==(const request_end&) const = default;
};

/// All that one step brought to one client, as one frame: first the deltas, then the ends.
struct step_deltas {
  static constexpr char type[] = "step_deltas";
  std::vector<token_delta> deltas;
  std::vector<request_end> ends;
  bool operator==(const step_deltas&) const = default;
};

struct cancel_request {
  static constexpr char type[] = "cancel_request";
  request_id id = 0;
  bool operator==(const cancel_request&) const = default;
};

struct credit_grant {
  static constexpr char type[] = "credit_grant";
  request_id id = 0;
  std::uint32_t tokens = 0; ///< Added to what is left; saturates.
  bool operator==(const credit_grant&) const = default;
};

/// Takes a request out of the steps until it is resumed; its place is kept, the memory of its KV cache may be lent.
/// Pausing one that is paused, and resuming one that is not, is nothing.
struct pause_request {
  static constexpr char type[] = "pause_request";
  request_id id = 0;
  bool operator==(const pause_request&) const = default;
};

struct resume_request {
  static constexpr char type[] = "resume_request";
  request_id id = 0;
  bool operator==(const resume_request&) const = default;
};

struct ping {
  static constexpr char type[] = "ping";
  std::uint64_t nonce = 0;
  bool operator==(const ping&) const = default;
};

struct pong {
  static constexpr char type[] = "pong";
  std::uint64_t nonce = 0;
  bool operator==(const pong&) const = default;
};

/// The client's first message on a connection.
struct hello {
  static constexpr char type[] = "hello";
  std::uint32_t version = 0;
  bool operator==(const hello&) const = default;
};

/// The answer to `hello` when the versions agree; otherwise a `protocol_error` with `version_mismatch`.
struct welcome {
  static constexpr char type[] = "welcome";
  std::uint32_t version = 0;
  std::string server; ///< "troupe 0.1.0"
  std::string model;
  std::uint32_t context_length = 0; ///< Prompt and answer together, in tokens.
  bool operator==(const welcome&) const = default;
};

/// What an operator may ask of a server.
enum class admin_command : std::uint8_t {
  status = 0,             ///< Counts of all kinds.
  check = 1,              ///< Checks what must always be true of the engine; the answer says what is not.
  reset_prefix_cache = 2, ///< Forgets all cached prefixes that no sequence is using.
  drain = 3,              ///< Refuses new requests; answers when all that were open have ended.
};

constexpr std::string_view to_string(admin_command command) {
  switch (command) {
  case admin_command::status:
    return "status";
  case admin_command::check:
    return "check";
  case admin_command::reset_prefix_cache:
    return "reset_prefix_cache";
  case admin_command::drain:
    return "drain";
  }
  return "status";
}

struct admin_request {
  static constexpr char type[] = "admin_request";
  std::uint64_t nonce = 0; ///< Comes back in the reply.
  admin_command command = admin_command::status;
  bool operator==(const admin_request&) const = default;
};

/// A place behind the KV memory where blocks of prefixes are kept.
struct tier_status {
  std::string name;           ///< "host", "disk"
  std::uint64_t blocks = 0;   ///< That can be loaded.
  std::uint64_t bytes = 0;    ///< Of a disk: of the whole folder, other models' blocks included.
  std::uint64_t capacity = 0; ///< Bytes.
  std::uint64_t saved = 0;    ///< Blocks, since the start.
  std::uint64_t loaded = 0;   ///< The same.
  std::uint64_t missed = 0;   ///< Blocks that were asked for and were not there.
  std::uint64_t evicted = 0;  ///< Blocks, since the start.
  std::uint64_t damaged = 0;  ///< Blocks that were found damaged and were thrown away.
  bool accepts = true; ///< False: something could not be written, and it is being tried again from time to time.
  bool operator==(const tier_status&) const = default;
};

/// A server's counts, all engines together. What is "since the start" only grows.
struct server_status {
  std::uint32_t open_requests = 0; ///< Admitted and not ended.
  std::uint32_t waiting = 0;       ///< Sequences that have not begun, or were preempted.
  std::uint32_t running = 0;
  std::uint32_t paused = 0;            ///< By their client, or for want of credit.
  std::uint64_t refused = 0;           ///< Requests, since the start.
  std::uint32_t kv_blocks = 0;         ///< In all groups; free, cached, leased and owned ones add up to these.
  std::uint32_t kv_free = 0;           ///< Hold nothing.
  std::uint32_t kv_cached = 0;         ///< Hold a prefix that no sequence is using.
  std::uint32_t kv_leased = 0;         ///< In a scheduler's purse.
  std::uint32_t kv_owned = 0;          ///< Of sequences.
  std::uint64_t prefix_queries = 0;    ///< Prompts that were looked up, since the start.
  std::uint64_t prefix_query_tokens = 0; ///< Their tokens.
  std::uint64_t prefix_hit_tokens = 0; ///< Of these, those that were there.
  std::uint64_t preemptions = 0;       ///< Since the start.
  std::uint64_t steps = 0;             ///< Since the start.
  bool draining = false;               ///< Refuses new requests.
  std::uint32_t engines = 0;           ///< Those that have not given up.
  std::uint64_t restarts = 0;          ///< Of an engine's workers, since the start.
  std::uint64_t lost_steps = 0;        ///< In flight when workers died: computed again by others.
  std::uint64_t last_recovery_ms =
    0; ///< From noticing that until others were ready, the last time; of engines the longest.
  std::uint64_t tier_hit_tokens = 0; ///< Of `prefix_hit_tokens`, those that were loaded from a tier.
  std::vector<tier_status> tiers;    ///< The first that is asked first.
  bool operator==(const server_status&) const = default;
};

struct admin_reply {
  static constexpr char type[] = "admin_reply";
  std::uint64_t nonce = 0;
  error failure{errc::none, {}};         ///< Code `none` where all is well.
  std::optional<server_status> status{}; ///< Where `failure` is none and the command was `status`.
  bool ok() const { return failure.code == errc::none; }
  bool operator==(const admin_reply&) const = default;
};

/// Says that a frame could not be taken. No request ends by it; the connection stays usable.
struct protocol_error {
  static constexpr char type[] = "protocol_error";
  error failure;
  bool operator==(const protocol_error&) const = default;
};

using client_message = std::variant<hello, generate_request, cancel_request, credit_grant, ping, pause_request,
                                    resume_request, admin_request>;
using server_message =
  std::variant<welcome, token_delta, request_end, pong, protocol_error, step_deltas, admin_reply>;

} // namespace troupe
