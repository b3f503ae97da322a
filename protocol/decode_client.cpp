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

hello read_hello(field_reader& fields) {
  return {.version = fields.integer<std::uint32_t>("version")};
}

prompt_messages read_messages(field_reader& fields) {
  prompt_messages messages;
  fields.maps("messages", "role and content", [&](field_reader& message) {
    auto role = message.text("role");
    messages.push_back({std::move(role), message.text("content")});
  });
  return messages;
}

prompt read_prompt(field_reader& fields) {
  const bool text = fields.has("prompt");
  const bool tokens = fields.has("tokens");
  const bool messages = fields.has("messages");
  const bool chat = fields.has("chat");
  const int given = text + tokens + messages + chat;
  if (given != 1)
    fields.refuse(
      errc::invalid_argument,
      fmt::format("generate_request has {} of the fields 'prompt', 'tokens', 'messages' and 'chat'. Send one.",
                  given == 0 ? "none" : "more than one"));
  else if (tokens)
    return fields.tokens("tokens");
  else if (messages)
    return read_messages(fields);
  else if (chat)
    return chat_prompt{fields.text("chat")};
  else
    return fields.text("prompt");
  return prompt_text{};
}

void read_sampling(field_reader& fields, sampling_parameters& sampling) {
  const sampling_parameters absent;
  // What most requests have comes first: once every field has been taken, asking for others costs nothing.
  sampling.max_tokens = fields.integer_or<std::uint32_t>("max_tokens", absent.max_tokens);
  sampling.temperature = fields.real_or("temperature", absent.temperature, 0, max_temperature);
  sampling.seed = fields.integer_or<std::uint64_t>("seed", absent.seed);
  sampling.ignore_eos = fields.boolean_or("ignore_eos", absent.ignore_eos);
  sampling.stop = fields.texts_or_none("stop");
  sampling.top_p = fields.real_or("top_p", absent.top_p, 0, 1);
  sampling.top_k = fields.integer_or<std::uint32_t>("top_k", absent.top_k);
  sampling.min_p = fields.real_or("min_p", absent.min_p, 0, 1);
  sampling.typical_p = fields.real_or("typical_p", absent.typical_p, 0, 1);
  sampling.repetition_penalty =
    fields.real_or("repetition_penalty", absent.repetition_penalty, min_repetition_penalty, max_repetition_penalty);
  sampling.presence_penalty = fields.real_or("presence_penalty", absent.presence_penalty, -max_penalty, max_penalty);
  sampling.frequency_penalty =
    fields.real_or("frequency_penalty", absent.frequency_penalty, -max_penalty, max_penalty);
  fields.maps_or_none("logit_bias", "token and bias", [&](field_reader& entry) {
    const token_id token = entry.token("token");
    sampling.logit_bias.push_back({token, entry.real("bias", -max_bias, max_bias)});
  });
  sampling.allowed_tokens = fields.tokens_or_none("allowed_tokens");
  sampling.bad_words = fields.texts_or_none("bad_words");
  sampling.min_tokens = fields.integer_or<std::uint32_t>("min_tokens", absent.min_tokens);
  sampling.stop_tokens = fields.tokens_or_none("stop_tokens");
  sampling.logprobs = fields.integer_or("logprobs", absent.logprobs, 0, max_logprobs);
  sampling.prompt_logprobs = fields.integer_or("prompt_logprobs", absent.prompt_logprobs, 0, max_logprobs);
}

void read_scheduling(field_reader& fields, scheduling_parameters& scheduling) {
  scheduling.priority = fields.integer_or("priority", 0, -max_priority, max_priority);
  scheduling.ttft_ms = fields.integer_or<std::uint32_t>("ttft_ms", 0);
  scheduling.itl_ms = fields.integer_or<std::uint32_t>("itl_ms", 0);
  scheduling.cache_salt = fields.text_or_none("cache_salt");
}

pooling read_pooling(field_reader& fields) {
  if (!fields.has("embed"))
    return pooling::none;
  const std::string_view name = fields.text_view("embed");
  for (auto how : {pooling::last, pooling::mean})
    if (name == to_string(how))
      return how;
  fields.refuse(errc::invalid_argument,
                fmt::format("Field 'embed' is {}, but must be last or mean.", in_quotes(name)));
  return pooling::none;
}

generate_request read_generate(field_reader& fields) {
  generate_request request;
  request.id = fields.integer<request_id>("id");
  request.prompt = read_prompt(fields);
  read_sampling(fields, request.sampling);
  request.credit = fields.integer_or<std::uint32_t>("credit", unlimited_credit);
  read_scheduling(fields, request.scheduling);
  request.n = fields.integer_or<std::uint32_t>("n", request.n, 1);
  request.best_of = fields.integer_or<std::uint32_t>("best_of", request.best_of, 1);
  request.echo = fields.boolean_or("echo", request.echo);
  request.origin.traceparent = fields.text_or_none("traceparent");
  request.embed = read_pooling(fields);
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

admin_request read_admin_request(field_reader& fields) {
  admin_request request{.nonce = fields.integer<std::uint64_t>("nonce")};
  const std::string_view name = fields.text_view("command");
  for (auto command :
       {admin_command::status, admin_command::check, admin_command::reset_prefix_cache, admin_command::drain})
    if (name == to_string(command)) {
      request.command = command;
      return request;
    }
  fields.refuse(
    errc::invalid_argument,
    fmt::format("Field 'command' is {}, but must be status, check, reset_prefix_cache or drain.", in_quotes(name)));
  return request;
}

template <class Message>
expected<client_message> finished_client(const field_reader& fields, Message message) {
  if (auto read = fields.finish(); !read)
    return tl::unexpected<error>(std::move(read).error());
  return client_message{std::move(message)};
}

expected<client_message> read_client_message(detail::frame_map& map) {
  field_reader fields{map, "the frame"};
  const std::string_view type = fields.text_view("type");
  if (fields.failed())
    return finished_client(fields, hello{});
  field_reader body{map, type.substr(0, 40)};
  if (type == hello::type) {
    hello greeting = read_hello(body);
    // Another version's hello may have fields that this one does not know; it is refused for its version instead.
    if (!body.failed() && greeting.version != protocol_version)
      return client_message{greeting};
    return finished_client(body, greeting);
  }
  if (type == generate_request::type) {
    generate_request request = read_generate(body);
    if (auto read = body.finish(); !read)
      return tl::unexpected<error>(std::move(read).error());
    if (auto valid = validate(request); !valid)
      return tl::unexpected<error>(std::move(valid).error());
    return client_message{std::move(request)};
  }
  if (type == cancel_request::type)
    return finished_client(body, read_cancel(body));
  if (type == credit_grant::type)
    return finished_client(body, read_credit(body));
  if (type == ping::type)
    return finished_client(body, read_ping(body));
  if (type == pause_request::type)
    return finished_client(body, pause_request{.id = body.integer<request_id>("id")});
  if (type == resume_request::type)
    return finished_client(body, resume_request{.id = body.integer<request_id>("id")});
  if (type == admin_request::type)
    return finished_client(body, read_admin_request(body));
  return fail(errc::invalid_argument,
              fmt::format("Field 'type' is {}, but a client sends hello, generate_request, cancel_request, "
                          "credit_grant, pause_request, resume_request, ping or admin_request.",
                          in_quotes(type)));
}

} // namespace

decoded<client_message> decode_client(std::string_view bytes) {
  detail::frame_identity identity;
  expected<client_message> message =
    detail::read_frame(bytes, identity).and_then([](detail::frame&& frame) { return read_client_message(frame.fields); });
  if (message)
    return std::move(*message);
  // The id of a cancel_request names a request that exists: a bad cancel must not end it.
  const bool names_request = identity.type == generate_request::type;
  return tl::unexpected<decode_error>(
    decode_error{std::move(message).error(), names_request ? identity.id : std::nullopt});
}

} // namespace troupe
