// The tables of what a server sends.
#pragma once

#include <algorithm>

#include "protocol/field_tables.hpp"
#include "protocol/limits.hpp"
#include "protocol/status_fields.hpp"
#include "protocol/utf8.hpp"

namespace troupe::detail {

template <class Fields>
void fields_of(const welcome& message, Fields& field) {
  field("version", message.version);
  field("server", message.server);
  field("model", message.model);
  field("context_length", message.context_length);
}

/// As columns: each is one flat array.
struct logprob_columns {
  const std::vector<token_logprob>& entries;

  /// Likeliest tokens of each entry.
  std::size_t width() const {
    std::size_t least = entries.empty() ? 0 : entries.front().top.size();
    for (const token_logprob& each : entries)
      least = std::min(least, each.top.size());
    return least;
  }
};

inline void write(wire_writer& out, const logprob_columns& columns) {
  const auto& entries = columns.entries;
  const std::size_t width = columns.width();
  auto column = [&](const auto& name, auto value) {
    out.name(name);
    out.array(entries.size());
    for (const token_logprob& each : entries)
      value(each);
  };
  auto top_column = [&](const auto& name, auto value) {
    out.name(name);
    out.array(entries.size() * width);
    for (const token_logprob& each : entries)
      for (std::size_t i = 0; i < width; ++i)
        value(each.top[i]);
  };
  out.map(width == 0 ? 3 : 5);
  column("tokens", [&](const token_logprob& each) { out.integer(each.token); });
  column("logprobs", [&](const token_logprob& each) { out.number(each.logprob); });
  column("ranks", [&](const token_logprob& each) { out.whole(each.rank); });
  if (width == 0)
    return;
  top_column("top_tokens", [&](const token_logprob::alternative& each) { out.integer(each.token); });
  top_column("top_logprobs", [&](const token_logprob::alternative& each) { out.number(each.logprob); });
}

template <class Fields>
void fields_of(const token_delta& message, Fields& field) {
  field("id", message.id);
  field("choice", message.choice, message.choice != 0);
  field("position", message.position, message.position != 0);
  field("token_ids", message.token_ids, !message.token_ids.empty());
  field("text", message.text, !message.text.empty());
  field("logprobs", logprob_columns{message.logprobs}, !message.logprobs.empty());
  field("prompt_logprobs", logprob_columns{message.prompt_logprobs}, !message.prompt_logprobs.empty());
}

/// An error as it is sent.
struct sent_error {
  explicit sent_error(const error& failure)
      : // An error without a code would be a bug of ours, and says so.
        code(failure.code == errc::none ? errc::internal : failure.code),
        // Four bytes more than are sent, so that a character at the cut is not taken for a broken one.
        clean(replace_invalid_utf8(std::string_view{failure.message}.substr(0, max_error_bytes + 4))),
        retry_after_ms(failure.retry_after_ms) {}

  errc code;
  std::string clean;
  std::uint32_t retry_after_ms;
};

template <class Fields>
void fields_of(const error& failure, Fields& field) {
  const sent_error sent(failure);
  field("code", static_cast<std::uint16_t>(sent.code));
  field("message", cut_utf8(sent.clean, max_error_bytes));
  field("retry_after_ms", sent.retry_after_ms, sent.retry_after_ms != 0);
}

template <class Fields>
void fields_of(const stop_cause& cause, Fields& field) {
  if (const auto* token = std::get_if<token_id>(&cause))
    field("stop_token", *token);
  else if (const auto* text = std::get_if<std::string>(&cause))
    field("stop_string", *text);
}

template <class Fields>
void fields_of(const choice_end& end, Fields& field) {
  field("choice", end.choice);
  field("reason", to_string(end.reason));
  fields_of(end.stopped_by, field);
  field("completion_tokens", end.completion_tokens);
  field("mean_logprob", end.mean_logprob.value_or(0.0f), end.mean_logprob.has_value());
}

template <class Fields>
void fields_of(const request_end& message, Fields& field) {
  field("id", message.id);
  field("reason", to_string(message.reason));
  fields_of(message.stopped_by, field);
  field("prompt_tokens", message.usage.prompt_tokens);
  field("completion_tokens", message.usage.completion_tokens);
  field("cached_prompt_tokens", message.usage.cached_prompt_tokens);
  field("first_token_ms", message.timings.first_token_ms);
  field("total_ms", message.timings.total_ms);
  field("choices", message.choices, !message.choices.empty());
  field("embedding", message.embedding, !message.embedding.empty());
  if (message.reason == finish_reason::error)
    fields_of(message.failure, field);
}

template <class Fields>
void fields_of(const step_deltas& message, Fields& field) {
  field("deltas", message.deltas, !message.deltas.empty());
  field("ends", message.ends, !message.ends.empty());
}

template <class Fields>
void fields_of(const pong& message, Fields& field) {
  field("nonce", message.nonce);
}

template <class Fields>
void fields_of(const protocol_error& message, Fields& field) {
  fields_of(message.failure, field);
}

template <class Fields>
void fields_of(const tier_status& tier, Fields& field) {
  each_field(tier, field);
}

template <class Fields>
void fields_of(const server_status& status, Fields& field) {
  each_field(status, field);
}

template <class Fields>
void fields_of(const admin_reply& message, Fields& field) {
  field("nonce", message.nonce);
  field("ok", message.ok());
  if (!message.ok())
    return fields_of(message.failure, field);
  if (message.status)
    field("status", *message.status);
}

} // namespace troupe::detail
