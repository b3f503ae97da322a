// What the server reads.
#include <utility>

#include <fmt/format.h>

#include "protocol/codec.hpp"
#include "protocol/field_reader.hpp"
#include "protocol/frame.hpp"
#include "protocol/limits.hpp"
#include "protocol/utf8.hpp"
#include "protocol/validate.hpp"

namespace troupe {
namespace {

using detail::field_reader;

constexpr std::string_view generate_type = "generate_request";

hello read_hello(field_reader& fields) {
  return {.version = fields.integer<std::uint32_t>("version")};
}

prompt read_prompt(field_reader& fields) {
  const bool text = fields.has("prompt");
  const bool tokens = fields.has("tokens");
  const bool messages = fields.has("messages");
  if (text + tokens + messages != 1)
    fields.refuse(errc::invalid_argument,
                  fmt::format("generate_request has {} of the fields 'prompt', 'tokens' and 'messages'. Send one.",
                              text + tokens + messages == 0 ? "none" : "more than one"));
  else if (tokens)
    return fields.tokens("tokens");
  else if (messages)
    return fields.messages("messages");
  else
    return fields.text("prompt");
  return prompt_text{};
}

/// A float of 64 bits may be over what one of 32 holds: such a one must stay out of range instead of being converted.
float read_temperature(field_reader& fields, float absent) {
  const double temperature = fields.number_or("temperature", absent);
  if (!fields.failed() && (temperature < 0 || temperature > max_temperature))
    fields.refuse(errc::invalid_argument, fmt::format("Field 'temperature' is {}, but must be from 0 (greedy) to {}.",
                                                      temperature, max_temperature));
  return fields.failed() ? absent : static_cast<float>(temperature);
}

generate_request read_generate(field_reader& fields) {
  generate_request request;
  const sampling_parameters defaults;
  request.id = fields.integer<request_id>("id");
  request.prompt = read_prompt(fields);
  request.sampling.temperature = read_temperature(fields, defaults.temperature);
  request.sampling.seed = fields.integer_or<std::uint64_t>("seed", defaults.seed);
  request.sampling.max_tokens = fields.integer_or<std::uint32_t>("max_tokens", defaults.max_tokens, 1);
  request.sampling.ignore_eos = fields.boolean_or("ignore_eos", defaults.ignore_eos);
  request.sampling.stop = fields.texts_or_none("stop");
  request.credit = fields.integer_or<std::uint32_t>("credit", unlimited_credit);
  return request;
}

cancel_request read_cancel(field_reader& fields) {
  return {.id = fields.integer<request_id>("id")};
}

credit_grant read_credit(field_reader& fields) {
  return {.id = fields.integer<request_id>("id"), .tokens = fields.integer<std::uint32_t>("tokens", 1)};
}

ping read_ping(field_reader& fields) {
  return {.nonce = fields.integer<std::uint64_t>("nonce")};
}

template <class Message>
expected<client_message> finished(const field_reader& fields, Message message) {
  if (auto read = fields.finish(); !read)
    return tl::unexpected<error>(std::move(read).error());
  return client_message{std::move(message)};
}

expected<client_message> read_message(detail::frame_map& map) {
  field_reader fields{map, "the frame"};
  const std::string_view type = fields.text_view("type");
  if (fields.failed())
    return finished(fields, hello{});
  field_reader body{map, std::string{type.substr(0, 40)}};
  if (type == "hello") {
    hello greeting = read_hello(body);
    // Another version's hello may have fields that this one does not know; it is refused for its version instead.
    if (!body.failed() && greeting.version != protocol_version)
      return client_message{greeting};
    return finished(body, greeting);
  }
  if (type == generate_type) {
    generate_request request = read_generate(body);
    if (auto read = body.finish(); !read)
      return tl::unexpected<error>(std::move(read).error());
    if (auto valid = validate(request); !valid)
      return tl::unexpected<error>(std::move(valid).error());
    return client_message{std::move(request)};
  }
  if (type == "cancel_request")
    return finished(body, read_cancel(body));
  if (type == "credit_grant")
    return finished(body, read_credit(body));
  if (type == "ping")
    return finished(body, read_ping(body));
  return fail(errc::invalid_argument,
              fmt::format("Field 'type' is {}, but a client sends hello, generate_request, cancel_request, "
                          "credit_grant or ping.",
                          in_quotes(type)));
}

} // namespace

decoded<client_message> decode_client(std::string_view bytes) {
  detail::frame_identity identity;
  expected<client_message> message = detail::read_frame(bytes, identity).and_then([](detail::frame&& frame) {
    return read_message(frame.fields);
  });
  if (message)
    return std::move(*message);
  // The id of a cancel_request names a request that exists: a bad cancel must not end it.
  const bool names_request = identity.type == generate_type;
  return tl::unexpected<decode_error>(
    decode_error{std::move(message).error(), names_request ? identity.id : std::nullopt});
}

} // namespace troupe
