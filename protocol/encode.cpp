// Values to msgpack. Each `fields_of` is the table of one message's fields: it is gone through once to count those
// that are sent, which a msgpack map says first, and once to write them. A field with its default is left out where
// docs/protocol.md gives a default.
#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"
#include "protocol/utf8.hpp"
#include "protocol/wire_writer.hpp"

namespace troupe {
namespace {

using detail::wire_writer;

/// Tables call it with a field's name, its value, and whether it is sent.
struct field_counter {
  std::size_t count = 0;

  template <std::size_t N, class T>
  void operator()(const char (&)[N], const T&, bool sent = true) {
    count += sent;
  }
};

struct field_writer {
  wire_writer& out;

  template <std::size_t N, class T>
  void operator()(const char (&name)[N], const T& value, bool sent = true);
};

template <class Message>
void write_fields(wire_writer& out, const Message& message) {
  field_writer writer{out};
  fields_of(message, writer);
}

/// A message within another: its fields alone.
template <class Message>
void write_map(wire_writer& out, const Message& message) {
  field_counter counter;
  fields_of(message, counter);
  out.map(counter.count);
  write_fields(out, message);
}

/// The same with its type, as the messages of frames have it.
template <std::size_t N, class Message>
void write_frame(wire_writer& out, const char (&type)[N], const Message& message) {
  field_counter counter;
  fields_of(message, counter);
  out.map(counter.count + 1);
  out.name("type");
  out.name(type);
  write_fields(out, message);
}

// The tables.

template <class Fields>
void fields_of(const hello& message, Fields& field) {
  field("version", message.version);
}

template <class Fields>
void fields_of(const chat_message& message, Fields& field) {
  field("role", message.role);
  field("content", message.content);
}

template <class Fields>
void fields_of(const logit_bias_entry& entry, Fields& field) {
  field("token", entry.token);
  field("bias", entry.bias);
}

template <class Fields>
void fields_of(const sampling_parameters& sampling, Fields& field) {
  static const sampling_parameters absent;
  auto unless_absent = [&](const auto& name, auto part) {
    field(name, sampling.*part, sampling.*part != absent.*part);
  };
  unless_absent("temperature", &sampling_parameters::temperature);
  unless_absent("seed", &sampling_parameters::seed);
  unless_absent("top_k", &sampling_parameters::top_k);
  unless_absent("top_p", &sampling_parameters::top_p);
  unless_absent("min_p", &sampling_parameters::min_p);
  unless_absent("typical_p", &sampling_parameters::typical_p);
  unless_absent("repetition_penalty", &sampling_parameters::repetition_penalty);
  unless_absent("presence_penalty", &sampling_parameters::presence_penalty);
  unless_absent("frequency_penalty", &sampling_parameters::frequency_penalty);
  unless_absent("logit_bias", &sampling_parameters::logit_bias);
  unless_absent("allowed_tokens", &sampling_parameters::allowed_tokens);
  unless_absent("bad_words", &sampling_parameters::bad_words);
  unless_absent("max_tokens", &sampling_parameters::max_tokens);
  unless_absent("min_tokens", &sampling_parameters::min_tokens);
  unless_absent("ignore_eos", &sampling_parameters::ignore_eos);
  unless_absent("stop", &sampling_parameters::stop);
  unless_absent("stop_tokens", &sampling_parameters::stop_tokens);
  unless_absent("logprobs", &sampling_parameters::logprobs);
  unless_absent("prompt_logprobs", &sampling_parameters::prompt_logprobs);
}

template <class Fields>
void fields_of(const scheduling_parameters& wishes, Fields& field) {
  field("priority", wishes.priority, wishes.priority != 0);
  field("ttft_ms", wishes.ttft_ms, wishes.ttft_ms != 0);
  field("itl_ms", wishes.itl_ms, wishes.itl_ms != 0);
  field("cache_salt", wishes.cache_salt, !wishes.cache_salt.empty());
}

template <class Fields>
void fields_of(const generate_request& message, Fields& field) {
  field("id", message.id);
  if (const auto* text = std::get_if<prompt_text>(&message.prompt))
    field("prompt", *text);
  else if (const auto* tokens = std::get_if<prompt_tokens>(&message.prompt))
    field("tokens", *tokens);
  else
    field("messages", std::get<prompt_messages>(message.prompt));
  fields_of(message.sampling, field);
  fields_of(message.scheduling, field);
  field("n", message.n, message.n != 1);
  field("best_of", message.best_of, message.best_of != 0);
  field("echo", message.echo, message.echo);
  field("credit", message.credit, message.credit != unlimited_credit);
}

template <class Fields>
void fields_of(const cancel_request& message, Fields& field) {
  field("id", message.id);
}

template <class Fields>
void fields_of(const credit_grant& message, Fields& field) {
  field("id", message.id);
  field("tokens", message.tokens);
}

template <class Fields>
void fields_of(const pause_request& message, Fields& field) {
  field("id", message.id);
}

template <class Fields>
void fields_of(const resume_request& message, Fields& field) {
  field("id", message.id);
}

template <class Fields>
void fields_of(const ping& message, Fields& field) {
  field("nonce", message.nonce);
}

template <class Fields>
void fields_of(const admin_request& message, Fields& field) {
  field("nonce", message.nonce);
  field("command", to_string(message.command));
}

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

void write(wire_writer& out, const logprob_columns& columns) {
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
void fields_of(const choice_end& end, Fields& field) {
  field("choice", end.choice);
  field("reason", to_string(end.reason));
  field("completion_tokens", end.completion_tokens);
  field("mean_logprob", end.mean_logprob.value_or(0.0f), end.mean_logprob.has_value());
}

template <class Fields>
void fields_of(const request_end& message, Fields& field) {
  field("id", message.id);
  field("reason", to_string(message.reason));
  field("prompt_tokens", message.usage.prompt_tokens);
  field("completion_tokens", message.usage.completion_tokens);
  field("cached_prompt_tokens", message.usage.cached_prompt_tokens);
  field("first_token_ms", message.timings.first_token_ms);
  field("total_ms", message.timings.total_ms);
  field("choices", message.choices, !message.choices.empty());
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
void fields_of(const server_status& status, Fields& field) {
  field("open_requests", status.open_requests);
  field("waiting", status.waiting);
  field("running", status.running);
  field("paused", status.paused);
  field("refused", status.refused);
  field("kv_blocks", status.kv_blocks);
  field("kv_free", status.kv_free);
  field("kv_cached", status.kv_cached);
  field("kv_leased", status.kv_leased);
  field("kv_owned", status.kv_owned);
  field("prefix_queries", status.prefix_queries);
  field("prefix_hit_tokens", status.prefix_hit_tokens);
  field("preemptions", status.preemptions);
  field("steps", status.steps);
  field("draining", status.draining);
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

// Values.

template <class T>
void write(wire_writer& out, const T& value) {
  if constexpr (std::is_same_v<T, bool>)
    out.boolean(value);
  else if constexpr (std::is_floating_point_v<T>)
    out.number(value);
  else if constexpr (std::is_integral_v<T>)
    out.integer(static_cast<std::int64_t>(value));
  else if constexpr (std::is_convertible_v<const T&, std::string_view>)
    out.text(value);
  else
    write_map(out, value);
}

void write(wire_writer& out, std::uint64_t value) {
  out.whole(value);
}

template <class T>
void write(wire_writer& out, const std::vector<T>& values) {
  out.array(values.size());
  for (const T& each : values)
    write(out, each);
}

template <std::size_t N, class T>
void field_writer::operator()(const char (&name)[N], const T& value, bool sent) {
  if (!sent)
    return;
  out.name(name);
  write(out, value);
}

// Frames.

void write_message(wire_writer& out, const hello& message) {
  write_frame(out, "hello", message);
}
void write_message(wire_writer& out, const generate_request& message) {
  write_frame(out, "generate_request", message);
}
void write_message(wire_writer& out, const cancel_request& message) {
  write_frame(out, "cancel_request", message);
}
void write_message(wire_writer& out, const credit_grant& message) {
  write_frame(out, "credit_grant", message);
}
void write_message(wire_writer& out, const pause_request& message) {
  write_frame(out, "pause_request", message);
}
void write_message(wire_writer& out, const resume_request& message) {
  write_frame(out, "resume_request", message);
}
void write_message(wire_writer& out, const ping& message) {
  write_frame(out, "ping", message);
}
void write_message(wire_writer& out, const admin_request& message) {
  write_frame(out, "admin_request", message);
}
void write_message(wire_writer& out, const welcome& message) {
  write_frame(out, "welcome", message);
}
void write_message(wire_writer& out, const token_delta& message) {
  write_frame(out, "token_delta", message);
}
void write_message(wire_writer& out, const request_end& message) {
  write_frame(out, "request_end", message);
}
void write_message(wire_writer& out, const step_deltas& message) {
  write_frame(out, "step_deltas", message);
}
void write_message(wire_writer& out, const pong& message) {
  write_frame(out, "pong", message);
}
void write_message(wire_writer& out, const protocol_error& message) {
  write_frame(out, "protocol_error", message);
}
void write_message(wire_writer& out, const admin_reply& message) {
  write_frame(out, "admin_reply", message);
}

template <class Message>
std::string encode_any(const Message& message) {
  std::string bytes;
  wire_writer out(bytes);
  std::visit([&](const auto& each) { write_message(out, each); }, message);
  bytes.resize(out.size());
  return bytes;
}

/// How much of a frame's limits a message takes: about so many bytes, and at most so many values.
struct share {
  std::size_t bytes = 0;
  std::size_t values = 0;
};

share share_of(const token_delta& delta) {
  share result{64 + delta.text.size() + 5 * delta.token_ids.size(), 6};
  for (const auto* entries : {&delta.logprobs, &delta.prompt_logprobs})
    if (!entries->empty()) {
      result.bytes += 64 + entries->size() * (15 + 10 * logprob_columns{*entries}.width());
      result.values += 6;
    }
  return result;
}

share share_of(const request_end& end) {
  return {256 + end.failure.message.size() + 64 * end.choices.size(), 16 + 5 * end.choices.size()};
}

template <class Message>
void write_all(wire_writer& out, const std::vector<const Message*>& messages) {
  out.array(messages.size());
  for (const Message* each : messages)
    write_map(out, *each);
}

} // namespace

std::string encode(const client_message& message) {
  return encode_any(message);
}

std::string encode(const server_message& message) {
  return encode_any(message);
}

bool delivery_encoder::take(std::size_t bytes, std::size_t values) {
  const bool fits = bytes_ + bytes <= max_step_bytes && values_ + values <= max_frame_values - 16;
  if (!fits && !(deltas_.empty() && ends_.empty()))
    return false;
  bytes_ += bytes;
  values_ += values;
  return true;
}

bool delivery_encoder::take(const token_delta& delta) {
  const share more = share_of(delta);
  if (!take(more.bytes, more.values))
    return false;
  deltas_.push_back(&delta);
  return true;
}

bool delivery_encoder::take(const request_end& end) {
  const share more = share_of(end);
  if (!take(more.bytes, more.values))
    return false;
  ends_.push_back(&end);
  return true;
}

bool delivery_encoder::take(const step_deltas& step) {
  for (; within_ < step.deltas.size(); ++within_)
    if (!take(step.deltas[within_]))
      return false;
  for (; within_ < step.deltas.size() + step.ends.size(); ++within_)
    if (!take(step.ends[within_ - step.deltas.size()]))
      return false;
  return true;
}

/// Takes what comes next of steps, as much as one frame should have.
void delivery_encoder::collect() {
  deltas_.clear();
  ends_.clear();
  bytes_ = values_ = 0;
  for (; !left_.empty(); left_ = left_.subspan(1), within_ = 0) {
    const server_message& next = left_.front();
    bool taken = false;
    if (const auto* step = std::get_if<step_deltas>(&next))
      taken = take(*step);
    else if (const auto* delta = std::get_if<token_delta>(&next))
      taken = take(*delta);
    else if (const auto* end = std::get_if<request_end>(&next))
      taken = take(*end);
    if (!taken)
      return;
  }
}

std::optional<std::string_view> delivery_encoder::next() {
  collect();
  wire_writer out(storage_);
  if (deltas_.size() + ends_.size() > 1) {
    out.map(1 + !deltas_.empty() + !ends_.empty());
    out.name("type");
    out.name("step_deltas");
    if (!deltas_.empty()) {
      out.name("deltas");
      write_all(out, deltas_);
    }
    if (!ends_.empty()) {
      out.name("ends");
      write_all(out, ends_);
    }
  } else if (!deltas_.empty()) {
    write_message(out, *deltas_.front());
  } else if (!ends_.empty()) {
    write_message(out, *ends_.front());
  } else if (!left_.empty()) {
    std::visit([&](const auto& each) { write_message(out, each); }, left_.front());
    left_ = left_.subspan(1);
  } else {
    return {};
  }
  return out.written();
}

} // namespace troupe
