// What a client in C++ reads.
#include <utility>

#include <fmt/format.h>

#include "protocol/codec.hpp"
#include "protocol/field_reader.hpp"
#include "protocol/frame.hpp"
#include "protocol/utf8.hpp"

namespace troupe {
namespace {

using detail::field_reader;

welcome read_welcome(field_reader& fields) {
  welcome message;
  message.version = fields.integer<std::uint32_t>("version");
  message.server = fields.text("server");
  message.model = fields.text("model");
  message.context_length = fields.integer<std::uint32_t>("context_length");
  return message;
}

token_delta read_delta(field_reader& fields) {
  token_delta message;
  message.id = fields.integer<request_id>("id");
  message.position = fields.integer<std::uint32_t>("position");
  message.token_ids = fields.tokens("token_ids");
  message.text = fields.text("text");
  return message;
}

finish_reason read_reason(field_reader& fields) {
  const std::string_view name = fields.text_view("reason");
  for (auto reason : {finish_reason::stop, finish_reason::length, finish_reason::cancelled, finish_reason::error})
    if (name == to_string(reason))
      return reason;
  fields.refuse(errc::invalid_argument,
                fmt::format("Field 'reason' is {}, but must be stop, length, cancelled or error.",
                            in_quotes(name)));
  return finish_reason::error;
}

double read_milliseconds(field_reader& fields, std::string_view name) {
  const double milliseconds = fields.number(name);
  if (milliseconds < 0)
    fields.refuse(errc::invalid_argument, fmt::format("Field '{}' is {}, but must not be below 0.", name,
                                                      milliseconds));
  return milliseconds;
}

error read_failure(field_reader& fields) {
  constexpr auto highest = static_cast<std::uint16_t>(errc::internal);
  const auto code = fields.integer<std::uint16_t>("code", 1);
  if (!fields.failed() && code > highest)
    fields.refuse(errc::invalid_argument,
                  fmt::format("Field 'code' is {}, but must be from 1 to {}.", code, highest));
  return {static_cast<errc>(code), fields.text("message")};
}

request_end read_end(field_reader& fields) {
  request_end message;
  message.id = fields.integer<request_id>("id");
  message.reason = read_reason(fields);
  message.usage.prompt_tokens = fields.integer<std::uint32_t>("prompt_tokens");
  message.usage.completion_tokens = fields.integer<std::uint32_t>("completion_tokens");
  message.timings.first_token_ms = read_milliseconds(fields, "first_token_ms");
  message.timings.total_ms = read_milliseconds(fields, "total_ms");
  if (message.reason == finish_reason::error && !fields.failed())
    message.failure = read_failure(fields);
  return message;
}

pong read_pong(field_reader& fields) {
  return {.nonce = fields.integer<std::uint64_t>("nonce")};
}

template <class Message>
expected<server_message> finished(const field_reader& fields, Message message) {
  if (auto read = fields.finish(); !read)
    return tl::unexpected<error>(std::move(read).error());
  return server_message{std::move(message)};
}

expected<server_message> read_message(detail::frame_map& map) {
  field_reader fields{map, "the frame"};
  const std::string_view type = fields.text_view("type");
  if (fields.failed())
    return finished(fields, pong{});
  field_reader body{map, std::string{type.substr(0, 40)}};
  if (type == "welcome")
    return finished(body, read_welcome(body));
  if (type == "token_delta")
    return finished(body, read_delta(body));
  if (type == "request_end")
    return finished(body, read_end(body));
  if (type == "pong")
    return finished(body, read_pong(body));
  if (type == "protocol_error")
    return finished(body, protocol_error{read_failure(body)});
  return fail(errc::invalid_argument,
              fmt::format("Field 'type' is {}, but a server sends welcome, token_delta, request_end, pong or "
                          "protocol_error.",
                          in_quotes(type)));
}

} // namespace

expected<server_message> decode_server(std::string_view bytes) {
  detail::frame_identity identity;
  return detail::read_frame(bytes, identity).and_then([](detail::frame&& frame) {
    return read_message(frame.fields);
  });
}

} // namespace troupe
