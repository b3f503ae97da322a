// What a client in C++ reads.
#include <concepts>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "protocol/codec.hpp"
#include "protocol/field_reader.hpp"
#include "protocol/frame.hpp"
#include "protocol/status_fields.hpp"
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

/// Columns of one length, and `top` columns of a whole multiple of it.
std::vector<token_logprob> read_logprobs(field_reader& fields) {
  const auto tokens = fields.tokens("tokens");
  const auto logprobs = fields.numbers("logprobs");
  const auto ranks = fields.tokens("ranks");
  const auto top_tokens = fields.tokens_or_none("top_tokens");
  const auto top_logprobs = fields.has("top_logprobs") ? fields.numbers("top_logprobs") : std::vector<float>{};
  const std::size_t width = tokens.empty() ? 0 : top_tokens.size() / tokens.size();
  if (logprobs.size() != tokens.size() || ranks.size() != tokens.size() ||
      top_tokens.size() != tokens.size() * width || top_logprobs.size() != top_tokens.size())
    fields.refuse(errc::invalid_argument,
                  fmt::format("Field '{}' has {} values, and another column not as many for each of them.",
                              fields.path("tokens"), tokens.size()));
  std::vector<token_logprob> entries;
  if (fields.failed())
    return entries;
  entries.resize(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    entries[i] = {tokens[i], logprobs[i], static_cast<std::uint32_t>(ranks[i]), {}};
    for (std::size_t j = i * width; j < (i + 1) * width; ++j)
      entries[i].top.push_back({top_tokens[j], top_logprobs[j]});
  }
  return entries;
}

token_delta read_delta(field_reader& fields) {
  token_delta message;
  message.id = fields.integer<request_id>("id");
  message.choice = fields.integer_or<std::uint32_t>("choice", 0);
  message.position = fields.integer_or<std::uint32_t>("position", 0);
  message.token_ids = fields.tokens_or_none("token_ids");
  message.text = fields.text_or_none("text");
  if (fields.has("logprobs"))
    fields.map("logprobs", [&](field_reader& columns) { message.logprobs = read_logprobs(columns); });
  if (fields.has("prompt_logprobs"))
    fields.map("prompt_logprobs", [&](field_reader& columns) { message.prompt_logprobs = read_logprobs(columns); });
  if (!message.logprobs.empty() && message.logprobs.size() != message.token_ids.size())
    fields.refuse(errc::invalid_argument,
                  fmt::format("Field '{}' is about {} tokens, but there are {}.", fields.path("logprobs"),
                              message.logprobs.size(), message.token_ids.size()));
  return message;
}

finish_reason read_reason(field_reader& fields) {
  const std::string_view name = fields.text_view("reason");
  for (auto reason : {finish_reason::stop, finish_reason::length, finish_reason::cancelled, finish_reason::error})
    if (name == to_string(reason))
      return reason;
  fields.refuse(errc::invalid_argument, fmt::format("Field '{}' is {}, but must be stop, length, cancelled or error.",
                                                    fields.path("reason"), in_quotes(name)));
  return finish_reason::error;
}

double read_milliseconds(field_reader& fields, std::string_view name) {
  const double milliseconds = fields.number(name);
  if (milliseconds < 0)
    fields.refuse(errc::invalid_argument,
                  fmt::format("Field '{}' is {}, but must not be below 0.", fields.path(name), milliseconds));
  return milliseconds;
}

error read_failure(field_reader& fields) {
  constexpr auto highest = static_cast<std::uint16_t>(errc::internal);
  const auto code = fields.integer<std::uint16_t>("code", 1);
  if (!fields.failed() && code > highest)
    fields.refuse(errc::invalid_argument,
                  fmt::format("Field '{}' is {}, but must be from 1 to {}.", fields.path("code"), code, highest));
  auto sentence = fields.text("message");
  return {static_cast<errc>(code), std::move(sentence), fields.integer_or<std::uint32_t>("retry_after_ms", 0)};
}

stop_cause read_stop(field_reader& fields) {
  if (fields.has("stop_token"))
    return fields.token("stop_token");
  if (fields.has("stop_string"))
    return fields.text("stop_string");
  return {};
}

choice_end read_choice(field_reader& fields) {
  choice_end choice;
  choice.choice = fields.integer<std::uint32_t>("choice");
  choice.reason = read_reason(fields);
  choice.stopped_by = read_stop(fields);
  choice.completion_tokens = fields.integer<std::uint32_t>("completion_tokens");
  if (fields.has("mean_logprob"))
    choice.mean_logprob =
      fields.real("mean_logprob", std::numeric_limits<float>::lowest(), std::numeric_limits<float>::max());
  return choice;
}

request_end read_end(field_reader& fields) {
  request_end message;
  message.id = fields.integer<request_id>("id");
  message.reason = read_reason(fields);
  message.stopped_by = read_stop(fields);
  message.usage.prompt_tokens = fields.integer<std::uint32_t>("prompt_tokens");
  message.usage.completion_tokens = fields.integer<std::uint32_t>("completion_tokens");
  message.usage.cached_prompt_tokens = fields.integer<std::uint32_t>("cached_prompt_tokens");
  message.timings.first_token_ms = read_milliseconds(fields, "first_token_ms");
  message.timings.total_ms = read_milliseconds(fields, "total_ms");
  fields.maps_or_none("choices", "choice, reason and completion_tokens",
                      [&](field_reader& choice) { message.choices.push_back(read_choice(choice)); });
  if (fields.has("embedding"))
    message.embedding = fields.numbers("embedding");
  if (message.reason == finish_reason::error && !fields.failed())
    message.failure = read_failure(fields);
  return message;
}

step_deltas read_step(field_reader& fields) {
  step_deltas message;
  fields.maps_or_none("deltas", "the fields of token_delta",
                      [&](field_reader& delta) { message.deltas.push_back(read_delta(delta)); });
  fields.maps_or_none("ends", "the fields of request_end",
                      [&](field_reader& end) { message.ends.push_back(read_end(end)); });
  return message;
}

/// Sets the members that `each_field` names.
struct status_filler {
  field_reader& from;

  void operator()(std::string_view name, std::string& text) const { text = from.text(name); }
  void operator()(std::string_view name, bool& flag) const { flag = from.boolean(name); }
  template <std::integral Count>
  void operator()(std::string_view name, Count& count) const {
    count = from.integer<Count>(name);
  }
  void operator()(std::string_view name, std::vector<tier_status>& tiers) const {
    from.maps(name, "counts of a tier",
              [&](field_reader& tier) { each_field(tiers.emplace_back(), status_filler{tier}); });
  }
};

admin_reply read_admin_reply(field_reader& fields) {
  admin_reply message;
  message.nonce = fields.integer<std::uint64_t>("nonce");
  if (!fields.boolean("ok") && !fields.failed())
    message.failure = read_failure(fields);
  else if (fields.has("status"))
    fields.map("status", [&](field_reader& status) { each_field(message.status.emplace(), status_filler{status}); });
  return message;
}

pong read_pong(field_reader& fields) {
  return {.nonce = fields.integer<std::uint64_t>("nonce")};
}

template <class Message>
expected<server_message> finished_server(const field_reader& fields, Message message) {
  if (auto read = fields.finish(); !read)
    return tl::unexpected<error>(std::move(read).error());
  return server_message{std::move(message)};
}

expected<server_message> read_server_message(detail::frame_map& map) {
  field_reader fields{map, "the frame"};
  const std::string_view type = fields.text_view("type");
  if (fields.failed())
    return finished_server(fields, pong{});
  field_reader body{map, type.substr(0, 40)};
  if (type == welcome::type)
    return finished_server(body, read_welcome(body));
  if (type == token_delta::type)
    return finished_server(body, read_delta(body));
  if (type == request_end::type)
    return finished_server(body, read_end(body));
  if (type == pong::type)
    return finished_server(body, read_pong(body));
  if (type == protocol_error::type)
    return finished_server(body, protocol_error{read_failure(body)});
  if (type == step_deltas::type)
    return finished_server(body, read_step(body));
  if (type == admin_reply::type)
    return finished_server(body, read_admin_reply(body));
  return fail(errc::invalid_argument,
              fmt::format("Field 'type' is {}, but a server sends welcome, step_deltas, token_delta, request_end, "
                          "pong, protocol_error or admin_reply.",
                          in_quotes(type)));
}

} // namespace

expected<server_message> decode_server(std::string_view bytes) {
  detail::frame_identity identity;
  return detail::read_frame(bytes, identity).and_then([](detail::frame&& frame) {
    return read_server_message(frame.fields);
  });
}

} // namespace troupe
