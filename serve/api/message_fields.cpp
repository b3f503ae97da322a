// The body of Anthropic's /v1/messages.
#include "serve/api/chat_messages.hpp"
#include "serve/api/response_fields.hpp"

namespace troupe::serve {
namespace {

expected<void> as_shared(const place& at, anthropic_fields& to) {
  return read_as_in(shared_call_table(), at.path, at, to.call);
}

expected<void> read_chat(const place& at, anthropic_fields& to) {
  if (at.value.is_array())
    for (std::size_t i = 0; i < at.value.size(); ++i)
      if (const auto& one = at.value[i]; one.is_object() && one.contains("role"))
        if (const auto& role = one["role"]; role.is_string() && role != "user" && role != "assistant")
          return wrong_value({at.item(i).path + ".role", role}, "must be user or assistant");
  return read_messages(at, to.call.chat);
}

expected<void> read_system(const place& at, anthropic_fields& to) {
  return read_text_content(at, to.system.emplace());
}

expected<void> read_stops(const place& at, anthropic_fields& to) {
  return read_into(at, to.call.request.sampling.stop);
}

struct user_fields {
  std::string user_id;
};

constexpr field_rule<user_fields> metadata_rules[] = {
  {"user_id", "string", &read_member<&user_fields::user_id>},
};

expected<void> read_metadata(const place& at, anthropic_fields&) {
  user_fields ignored;
  return read_object<user_fields>(at, metadata_rules, ignored);
}

expected<void> read_service_tier(const place& at, anthropic_fields&) {
  if (at.value == "auto" || at.value == "standard_only")
    return {};
  return refused_field(at.path, "only auto and standard_only are taken");
}

expected<void> read_thinking(const place& at, anthropic_fields&) {
  if (at.value.is_object() && at.value.size() == 1 && at.value.contains("type") && at.value["type"] == "disabled")
    return {};
  return refused_field(at.path, "the model thinks as it has learned to; only {\"type\": \"disabled\"} is taken");
}

expected<void> read_nothing(const place& at, anthropic_fields&) {
  return at.value.is_object() ? expected<void>() : wrong_kind(at, "an object");
}

expected<void> read_no_tools(const place& at, anthropic_fields&) {
  if (at.value.is_array() && at.value.empty())
    return {};
  return refused_field(at.path, "tools are called by way of /v1/chat/completions");
}

constexpr field_rule<anthropic_fields> rules[] = {
  {"model", "string", &as_shared},
  {"messages", "list of messages", &read_chat},
  {"max_tokens", "integer, 1 or more", &as_shared, "needed"},
  {"system", "string or list of parts of text", &read_system},
  {"stop_sequences", "list of 16 strings", &read_stops},
  {"stream", "boolean", &as_shared},
  {"temperature", "number", &as_shared},
  {"top_p", "number", &as_shared},
  {"top_k", "integer", &as_shared},
  {"metadata", "object", &read_metadata, "nothing is done with it"},
  {"service_tier", "string", &read_service_tier, "only auto and standard_only"},
  {"thinking", "object", &read_thinking, "only as disabled"},
  {"cache_control", "object", &read_nothing, "prefixes are cached by themselves"},
  {"tools", "list", &read_no_tools, "only an empty one"},
  {"tool_choice", "object", nullptr, "tools are called by way of /v1/chat/completions"},
  {"container", "string", nullptr, "there are none"},
  {"diagnostics", "object", nullptr, "there are none"},
  {"inference_geo", "string", nullptr, "the server is where it is"},
  {"output_config", "object", nullptr, "guided decoding is not there yet"},
  {"speed", "string", nullptr, "it is as fast as it can be"},
  {"user_profile_id", "string", nullptr, "nothing is known of users"},
  {"workspace_id", "string", nullptr, "there are none"},
  {"mcp_servers", "list", nullptr, "the server calls no others"},
};

} // namespace

expected<anthropic_fields> read_anthropic(const json& body) {
  anthropic_fields fields;
  const field_table<anthropic_fields> tables[] = {rules};
  if (auto read = read_members<anthropic_fields>("", body, tables, fields); !read)
    return tl::unexpected(std::move(read.error()));
  auto& messages = fields.call.chat.messages;
  if (messages.empty())
    return fail(errc::invalid_argument, "Field 'messages' is missing. Send at least one message.");
  if (!fields.call.max_tokens)
    return fail(errc::invalid_argument, "Field 'max_tokens' is missing. Say how long the answer may be.");
  if (fields.system)
    messages.insert(messages.begin(), json{{"role", "system"}, {"content", std::move(*fields.system)}});
  return fields;
}

} // namespace troupe::serve
