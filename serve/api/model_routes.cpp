// What is known of the model without its engine: /v1/models, /tokenize, /detokenize, /v1/messages/count_tokens.
#include <numeric>

#include "protocol/utf8.hpp"
#include "serve/api/api.hpp"
#include "serve/api/chat_messages.hpp"
#include "serve/api/chat_plan.hpp"
#include "serve/api/errors.hpp"
#include "serve/api/identity.hpp"
#include "serve/api/limits.hpp"
#include "serve/api/requests.hpp"
#include "serve/api/response_fields.hpp"

namespace troupe::serve {
namespace {

json model_json(const api_context& context, std::string_view name) {
  return {{"id", name},
          {"object", "model"},
          {"created", context.started},
          {"owned_by", "troupe"},
          {"root", context.model_name},
          {"parent", nullptr},
          {"max_model_len", context.context_length}};
}

http_answer answer_of(const json& body) {
  http_answer answer;
  answer.body = to_text(body);
  return answer;
}

struct tokenize_fields {
  call_fields call; ///< model, and what a chat has.
  std::optional<std::string> text;
  std::optional<bool> add_special_tokens; ///< As the model's file says, where text does not say.
  bool token_strings = false;
};

expected<void> as_in_chat(const place& at, tokenize_fields& to) {
  return read_as_in(chat_table(), at.path, at, to.call);
}

constexpr field_rule<tokenize_fields> tokenize_rules[] = {
  {"model", kind::text, [](const place& at, tokenize_fields& to) { return read_into(at, to.call.model); }},
  {"prompt", kind::text, &read_member<&tokenize_fields::text>},
  {"add_special_tokens", kind::boolean, &read_member<&tokenize_fields::add_special_tokens>},
  {"return_token_strs", kind::boolean, &read_member<&tokenize_fields::token_strings>},
  {"messages", kind::message_list, &as_in_chat},
  {"tools", kind::tool_list, &as_in_chat},
  {"add_generation_prompt", kind::boolean, &as_in_chat},
  {"chat_template_kwargs", kind::object, &as_in_chat},
  {"continue_final_message", kind::boolean, &as_in_chat},
  {"chat_template", kind::text, nullptr, "the model's own template is used"},
};

struct detokenize_fields {
  std::optional<std::string> model;
  prompt_tokens tokens;
};

constexpr field_rule<detokenize_fields> detokenize_rules[] = {
  {"model", kind::text, &read_member<&detokenize_fields::model>},
  {"tokens", kind::list<kind::token_id>, &read_member<&detokenize_fields::tokens>, "", is_needed},
};

template <class Fields>
expected<Fields> read(std::string_view text, field_table<Fields> table) {
  Fields fields;
  auto body = parse_body(text);
  if (!body)
    return tl::unexpected(std::move(body.error()));
  const field_table<Fields> tables[] = {table};
  if (auto ok = read_members<Fields>("", *body, tables, fields); !ok)
    return tl::unexpected(std::move(ok.error()));
  return fields;
}

/// A prompt's tokens. `field` is where it came from.
expected<std::vector<token_id>> tokens_of(const model& source, const prompt& whole, bool with_prefix,
                                          std::string_view field) {
  auto parts = prompt_text_of(source, whole, seconds_now());
  if (!parts)
    return tl::unexpected(std::move(parts.error()));
  const auto bytes = std::accumulate(parts->begin(), parts->end(), std::size_t{0},
                                     [](std::size_t sum, const text_part& part) { return sum + part.text.size(); });
  if (bytes > max_tokenize_bytes)
    return fail(errc::limit_exceeded, fmt::format("Field '{}' comes to {} bytes, but at most {} are allowed.", field,
                                                  bytes, max_tokenize_bytes));
  auto ids = with_prefix ? prefix_of(source, whole) : std::vector<token_id>();
  const auto more = source.tokens->encode(*parts);
  ids.insert(ids.end(), more.begin(), more.end());
  return ids;
}

expected<std::vector<token_id>> tokens_of_chat(const api_context& context, chat_fields&& chat) {
  auto plan = plan_chat(context, std::move(chat));
  if (!plan)
    return tl::unexpected(std::move(plan.error()));
  return tokens_of(*context.source, plan->made, true, "messages");
}

expected<json> tokens_json(const api_context& context, std::string_view text) {
  auto fields = read<tokenize_fields>(text, tokenize_rules);
  if (!fields)
    return tl::unexpected(std::move(fields.error()));
  if (auto known = check_model(context, fields->call.model); !known)
    return tl::unexpected(std::move(known.error()));
  const bool chat = !fields->call.chat.messages.empty();
  if (chat == fields->text.has_value())
    return fail(errc::invalid_argument, "Field 'prompt' or 'messages' must be there, and not both.");
  if (chat && fields->add_special_tokens.value_or(false))
    return refused_field("add_special_tokens", "the template of a chat brings them");
  const auto ids = chat
                     ? tokens_of_chat(context, std::move(fields->call.chat))
                     : tokens_of(*context.source, *fields->text, fields->add_special_tokens.value_or(true), "prompt");
  if (!ids)
    return tl::unexpected(ids.error());
  json strings;
  if (fields->token_strings)
    for (const auto id : *ids)
      strings.push_back(replace_invalid_utf8(context.source->tokens->bytes_of(id)));
  return json{
    {"count", ids->size()}, {"max_model_len", context.context_length}, {"tokens", *ids}, {"token_strs", strings}};
}

expected<json> count_json(const api_context& context, std::string_view text) {
  const auto body = parse_body(text);
  if (!body)
    return tl::unexpected(body.error());
  auto fields = read_anthropic_prompt(*body);
  if (!fields)
    return tl::unexpected(std::move(fields.error()));
  if (auto known = check_model(context, fields->call.model); !known)
    return tl::unexpected(std::move(known.error()));
  const auto ids = tokens_of_chat(context, std::move(fields->call.chat));
  if (!ids)
    return tl::unexpected(ids.error());
  return json{{"input_tokens", ids->size()}};
}

expected<json> text_json(const api_context& context, std::string_view text) {
  auto fields = read<detokenize_fields>(text, detokenize_rules);
  if (!fields)
    return tl::unexpected(std::move(fields.error()));
  if (auto known = check_model(context, fields->model); !known)
    return tl::unexpected(std::move(known.error()));
  if (auto known = check_tokens(*context.source, fields->tokens); !known)
    return fail(known.error().code, "Field 'tokens': " + known.error().message);
  return json{{"prompt", replace_invalid_utf8(context.source->tokens->decode(fields->tokens))}};
}

api_outcome outcome_of(const expected<json>& body) {
  return {body ? answer_of(*body) : openai_error(body.error()), nullptr};
}

} // namespace

http_answer models(const api_context& context) {
  auto list = json::array({model_json(context, context.model_name)});
  for (const auto& alias : context.aliases)
    list.push_back(model_json(context, alias));
  return answer_of({{"object", "list"}, {"data", std::move(list)}});
}

http_answer model_named(const api_context& context, std::string_view name) {
  if (auto known = check_model(context, std::string(name)); !known)
    return openai_error(known.error());
  return answer_of(model_json(context, name));
}

api_outcome count_tokens(const api_context& context, std::string_view body) {
  const auto count = count_json(context, body);
  return {count ? answer_of(*count) : anthropic_error(count.error()), nullptr};
}

api_outcome tokenize(const api_context& context, std::string_view body) {
  return outcome_of(tokens_json(context, body));
}

api_outcome detokenize(const api_context& context, std::string_view body) {
  return outcome_of(text_json(context, body));
}

json kind::tokenize_body() {
  return schema_of(rows_of(tokenize_rules));
}

json kind::detokenize_body() {
  return schema_of(rows_of(detokenize_rules));
}

} // namespace troupe::serve
