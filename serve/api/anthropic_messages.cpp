// The `messages` of Anthropic's /v1/messages.
#include "protocol/limits.hpp"
#include "serve/api/chat_messages.hpp"

namespace troupe::serve {
namespace {

/// One message, put together of its blocks.
struct turn {
  std::string role;
  std::optional<std::string> text, thought;
  json calls;                   ///< As templates know them; null without any.
  json results = json::array(); ///< Messages of the role "tool".
};

void add_text(std::optional<std::string>& to, std::string&& more) {
  to = to ? *to + '\n' + more : std::move(more);
}

// --- blocks ----------------------------------------------------------------------------------------------------------

template <class Block>
expected<void> read_cache_control(const place& at, Block&) {
  return at.value.is_object() ? expected<void>() : wrong_kind(at, "an object");
}

constexpr std::string_view cached = "prefixes are cached by themselves";
constexpr std::string_view no_toolsets = "there are no toolsets";

struct thinking_block {
  std::string thinking;
};

constexpr field_rule<thinking_block> thinking_block_rules[] = {
  {"type", kind::word<"thinking">, &read_word<thinking_block, "thinking">, "", is_needed},
  {"thinking", kind::text, &read_member<&thinking_block::thinking>, "for templates that know it", is_needed},
  {"signature", kind::text, &read_ignored<std::string>, "not checked"},
};

struct tool_use_block {
  std::string id, name;
  json input;
};

expected<void> read_input(const place& at, tool_use_block& to) {
  if (!at.value.is_object())
    return wrong_kind(at, "an object");
  to.input = at.value;
  return {};
}

constexpr field_rule<tool_use_block> tool_use_rules[] = {
  {"type", kind::word<"tool_use">, &read_word<tool_use_block, "tool_use">, "", is_needed},
  {"id", kind::text, &read_member<&tool_use_block::id>, "", is_needed},
  {"name", kind::filled_text<any_length>, &read_filled<&tool_use_block::name>, "", is_needed},
  {"input", kind::object, &read_input, "", is_needed},
  {"cache_control", kind::object, &read_cache_control<tool_use_block>, cached},
  {"caller", kind::object, nullptr, "functions are called by the model alone"},
  {"toolset_name", kind::text, nullptr, no_toolsets},
};

struct tool_result_block {
  std::string tool_use_id, content;
  bool is_error = false;
};

constexpr field_rule<tool_result_block> tool_result_rules[] = {
  {"type", kind::word<"tool_result">, &read_word<tool_result_block, "tool_result">, "", is_needed},
  {"tool_use_id", kind::text, &read_member<&tool_result_block::tool_use_id>, "", is_needed},
  {"content", kind::text_content<>,
   [](const place& at, tool_result_block& to) { return read_text_content(at, to.content); }},
  {"is_error", kind::boolean, &read_member<&tool_result_block::is_error>,
   "the model sees \"Error: \" before the content"},
  {"cache_control", kind::object, &read_cache_control<tool_result_block>, cached},
  {"toolset_name", kind::text, nullptr, no_toolsets},
};

expected<void> read_thinking(const place& at, turn& to) {
  thinking_block block;
  auto read = read_object<thinking_block>(at, thinking_block_rules, block);
  add_text(to.thought, std::move(block.thinking));
  return read;
}

expected<void> read_tool_use(const place& at, turn& to) {
  tool_use_block block;
  auto read = read_object<tool_use_block>(at, tool_use_rules, block);
  to.calls.push_back(call_json(std::move(block.id), std::move(block.name), std::move(block.input)));
  return read;
}

expected<void> read_tool_result(const place& at, turn& to) {
  tool_result_block block;
  auto read = read_object<tool_result_block>(at, tool_result_rules, block);
  to.results.push_back({{"role", "tool"},
                        {"content", (block.is_error ? "Error: " : "") + block.content},
                        {"tool_call_id", std::move(block.tool_use_id)}});
  return read;
}

expected<void> read_text(const place& at, turn& to) {
  std::string text;
  auto read = read_text_part(at, text);
  add_text(to.text, std::move(text));
  return read;
}

expected<void> read_block(const place& at, turn& to) {
  const auto type = type_of(at);
  if (!type)
    return tl::unexpected(type.error());
  const bool assistant = to.role == "assistant";
  if (*type == "text")
    return read_text(at, to);
  if (*type == "tool_result" && !assistant)
    return read_tool_result(at, to);
  if (*type == "tool_use" && assistant)
    return read_tool_use(at, to);
  if (*type == "thinking" && assistant)
    return read_thinking(at, to);
  return refused_type(at, *type, assistant ? "text, thinking and tool_use are" : "text and tool_result are");
}

// --- messages --------------------------------------------------------------------------------------------------------

struct anthropic_message {
  std::string role;
  const json* content = nullptr;
};

json content_of(std::vector<json> blocks) {
  return kind::any_of({kind::text(), kind::list_of(kind::any_of(std::move(blocks)), any_length)});
}

constexpr field_rule<anthropic_message> anthropic_message_rules[] = {
  {"role", kind::word<"user", "assistant">,
   [](const place& at, anthropic_message& to) {
     return word_at<"user", "assistant">(at).map([&](std::string&& role) { to.role = std::move(role); });
   },
   "", is_needed},
  {"content", kind::anything,
   [](const place& at, anthropic_message& to) -> expected<void> {
     to.content = &at.value; // What may be in it depends on the role.
     return {};
   },
   "", is_needed},
};

expected<void> read_content(const place& at, turn& to) {
  if (at.value.is_string())
    return read_into(at, to.text.emplace());
  if (!at.value.is_array())
    return wrong_kind(at, "a string or a list of blocks");
  for (std::size_t i = 0; i < at.value.size(); ++i)
    if (auto read = read_block(at.item(i), to); !read)
      return read;
  return {};
}

void add_turn(turn&& from, chat_fields& to) {
  for (auto& result : from.results)
    add_message(std::move(result), to);
  if (!from.text && !from.results.empty())
    return;
  json message = {{"role", std::move(from.role)}, {"content", std::move(from.text).value_or("")}};
  if (!from.calls.is_null())
    message["tool_calls"] = std::move(from.calls);
  if (from.thought)
    message["reasoning_content"] = std::move(*from.thought);
  add_message(std::move(message), to);
}

} // namespace

expected<void> read_anthropic_messages(const place& at, chat_fields& to) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of messages");
  if (auto ok = check_count(at, "messages"); !ok)
    return ok;
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    const auto here = at.item(i);
    anthropic_message message;
    if (auto read = read_object<anthropic_message>(here, anthropic_message_rules, message); !read)
      return read;
    turn whole;
    whole.role = std::move(message.role);
    if (auto read = read_content({here.path + ".content", *message.content}, whole); !read)
      return read;
    add_turn(std::move(whole), to);
  }
  return {};
}

json kind::anthropic_message_list() {
  const auto all = members<anthropic_message_rules>();
  const auto of_role = [&](json role, std::vector<json> blocks) {
    return variant_of(variant_of(all, {{}, {}, "role", std::move(role)}),
                      {{}, {}, "content", content_of(std::move(blocks))});
  };
  const auto text_block = text_part_of("text");
  auto message =
    any_of({of_role(word<"user">(), {text_block, members<tool_result_rules>()}),
            of_role(word<"assistant">(), {text_block, members<thinking_block_rules>(), members<tool_use_rules>()})});
  message["title"] = "message";
  return list_of(std::move(message), max_chat_messages, 1);
}

} // namespace troupe::serve
