// Values to msgpack. Every map says its number of fields first, so each function below counts what it writes.
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include <msgpack.hpp>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"
#include "protocol/utf8.hpp"

namespace troupe {
namespace {

/// What msgpack::packer writes to.
struct string_stream {
  std::string& bytes;
  void write(const char* data, std::size_t size) { bytes.append(data, size); }
};

using packer = msgpack::packer<string_stream>;

/// A map under construction whose first field is its type.
class map_writer {
public:
  map_writer(packer& out, std::string_view type, std::uint32_t fields) : out_(out) {
    out_.pack_map(fields + 1);
    field("type", type);
  }

  template <class T>
  map_writer& field(std::string_view name, const T& value) {
    out_.pack(name);
    out_.pack(value);
    return *this;
  }

private:
  packer& out_;
};

void write_messages(packer& out, const prompt_messages& messages) {
  out.pack_array(static_cast<std::uint32_t>(messages.size()));
  for (const chat_message& message : messages) {
    out.pack_map(2);
    out.pack("role").pack(message.role);
    out.pack("content").pack(message.content);
  }
}

void write(packer& out, const hello& message) {
  map_writer(out, "hello", 1).field("version", message.version);
}

void write(packer& out, const generate_request& message) {
  map_writer map(out, "generate_request", 8);
  map.field("id", message.id);
  if (const auto* text = std::get_if<prompt_text>(&message.prompt)) {
    map.field("prompt", *text);
  } else if (const auto* tokens = std::get_if<prompt_tokens>(&message.prompt)) {
    map.field("tokens", *tokens);
  } else {
    out.pack("messages");
    write_messages(out, std::get<prompt_messages>(message.prompt));
  }
  map.field("temperature", message.sampling.temperature)
    .field("seed", message.sampling.seed)
    .field("max_tokens", message.sampling.max_tokens)
    .field("ignore_eos", message.sampling.ignore_eos)
    .field("stop", message.sampling.stop)
    .field("credit", message.credit);
}

void write(packer& out, const cancel_request& message) {
  map_writer(out, "cancel_request", 1).field("id", message.id);
}

void write(packer& out, const credit_grant& message) {
  map_writer(out, "credit_grant", 2).field("id", message.id).field("tokens", message.tokens);
}

void write(packer& out, const ping& message) {
  map_writer(out, "ping", 1).field("nonce", message.nonce);
}

void write(packer& out, const welcome& message) {
  map_writer(out, "welcome", 4)
    .field("version", message.version)
    .field("server", message.server)
    .field("model", message.model)
    .field("context_length", message.context_length);
}

void write(packer& out, const token_delta& message) {
  map_writer(out, "token_delta", 4)
    .field("id", message.id)
    .field("position", message.position)
    .field("token_ids", message.token_ids)
    .field("text", message.text);
}

void write_failure(map_writer& map, const error& failure) {
  // An error without a code would be a bug of ours, and says so.
  const errc code = failure.code == errc::none ? errc::internal : failure.code;
  // Four bytes more than are sent, so that a character at the cut is not taken for a broken one.
  const std::string clean = replace_invalid_utf8(std::string_view{failure.message}.substr(0, max_error_bytes + 4));
  map.field("code", static_cast<std::uint16_t>(code)).field("message", cut_utf8(clean, max_error_bytes));
}

void write(packer& out, const request_end& message) {
  const bool failed = message.reason == finish_reason::error;
  map_writer map(out, "request_end", failed ? 8 : 6);
  map.field("id", message.id)
    .field("reason", to_string(message.reason))
    .field("prompt_tokens", message.usage.prompt_tokens)
    .field("completion_tokens", message.usage.completion_tokens)
    .field("first_token_ms", message.timings.first_token_ms)
    .field("total_ms", message.timings.total_ms);
  if (failed)
    write_failure(map, message.failure);
}

void write(packer& out, const pong& message) {
  map_writer(out, "pong", 1).field("nonce", message.nonce);
}

void write(packer& out, const protocol_error& message) {
  map_writer map(out, "protocol_error", 2);
  write_failure(map, message.failure);
}

template <class Message>
std::string encode_any(const Message& message) {
  std::string bytes;
  string_stream stream{bytes};
  packer out{stream};
  std::visit([&](const auto& each) { write(out, each); }, message);
  return bytes;
}

} // namespace

std::string encode(const client_message& message) {
  return encode_any(message);
}

std::string encode(const server_message& message) {
  return encode_any(message);
}

} // namespace troupe
