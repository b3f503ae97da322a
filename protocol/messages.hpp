// What a client and Troupe say to each other, as plain values. The msgpack form is in protocol/codec.hpp and
// docs/protocol.md; the HTTP front end and programs that link the library use the same types.
#pragma once

#include <cstdint>
#include <string>
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

/// The prompt: text as it stands (special tokens in it are not parsed, none are added but the model's BOS where its
/// metadata asks for one), token ids as they stand, or chat messages for the model's own template.
using prompt_text = std::string;
using prompt_tokens = std::vector<token_id>;
using prompt_messages = std::vector<chat_message>;
using prompt = std::variant<prompt_text, prompt_tokens, prompt_messages>;

struct sampling_parameters {
  float temperature = 0.0f;         ///< 0: greedy. Otherwise logits are divided by it. 0 to 100.
  std::uint64_t seed = 0;           ///< Of the noise; the same request and seed give the same tokens.
  std::uint32_t max_tokens = 512;   ///< At most so many are generated; at least 1.
  bool ignore_eos = false;          ///< Go on after an end-of-sequence token.
  std::vector<std::string> stop{};  ///< Generation ends before any of these in the text; at most 16, none empty.
  bool operator==(const sampling_parameters&) const = default;
};

/// Credit: how many tokens the server may send before the client grants more. `unlimited_credit` (also what an
/// absent field means) grants all that max_tokens allows.
inline constexpr std::uint32_t unlimited_credit = 0xffffffffu;

struct generate_request {
  request_id id = 0;
  troupe::prompt prompt{};
  sampling_parameters sampling{};
  std::uint32_t credit = unlimited_credit;
  bool operator==(const generate_request&) const = default;
};

/// Some tokens of one answer, in order. Text is held back while it may be an unfinished UTF-8 character or the
/// beginning of a stop string, so `text` may be empty while `token_ids` is not, and the other way round.
struct token_delta {
  request_id id = 0;
  std::uint32_t position = 0; ///< Index of the first of `token_ids` in the answer, from 0.
  std::vector<token_id> token_ids;
  std::string text;
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
    case finish_reason::stop: return "stop";
    case finish_reason::length: return "length";
    case finish_reason::cancelled: return "cancelled";
    case finish_reason::error: return "error";
  }
  return "error";
}

struct usage_counts {
  std::uint32_t prompt_tokens = 0;
  std::uint32_t completion_tokens = 0;
  bool operator==(const usage_counts&) const = default;
};

/// Milliseconds on the server's monotonic clock, from the moment the request was taken.
struct request_timings {
  double first_token_ms = 0; ///< Until the first token was there; 0 if there was none.
  double total_ms = 0;       ///< Until the end.
  bool operator==(const request_timings&) const = default;
};

/// The one last message of every request.
struct request_end {
  request_id id = 0;
  finish_reason reason = finish_reason::stop;
  usage_counts usage{};
  request_timings timings{};
  error failure{errc::none, {}}; ///< Code `none` unless `reason` is `error`.
  bool operator==(const request_end&) const = default;
};

struct cancel_request {
  request_id id = 0;
  bool operator==(const cancel_request&) const = default;
};

struct credit_grant {
  request_id id = 0;
  std::uint32_t tokens = 0; ///< Added to what is left; saturates.
  bool operator==(const credit_grant&) const = default;
};

struct ping {
  std::uint64_t nonce = 0;
  bool operator==(const ping&) const = default;
};

struct pong {
  std::uint64_t nonce = 0;
  bool operator==(const pong&) const = default;
};

/// The client's first message on a connection.
struct hello {
  std::uint32_t version = 0;
  bool operator==(const hello&) const = default;
};

/// The answer to `hello` when the versions agree; otherwise a `protocol_error` with `version_mismatch`.
struct welcome {
  std::uint32_t version = 0;
  std::string server; ///< "troupe 0.1.0"
  std::string model;
  std::uint32_t context_length = 0; ///< Prompt and answer together, in tokens.
  bool operator==(const welcome&) const = default;
};

/// Says that a frame could not be taken. No request ends by it; the connection stays usable.
struct protocol_error {
  error failure;
  bool operator==(const protocol_error&) const = default;
};

using client_message = std::variant<hello, generate_request, cancel_request, credit_grant, ping>;
using server_message = std::variant<welcome, token_delta, request_end, pong, protocol_error>;

} // namespace troupe
