// The `input` of /v1/responses.
#include "protocol/limits.hpp"
#include "serve/api/chat_messages.hpp"

namespace troupe::serve {
namespace {

// --- messages --------------------------------------------------------------------------------------------------------

struct message_item {
  std::string role;
  const json* content = nullptr;
};

constexpr field_rule<message_item> message_item_rules[] = {
  {"type", kind::word<"message">, &read_word<message_item, "message">},
  {"role", kind::word<"user", "assistant", "system", "developer">,
   [](const place& at, message_item& to) {
     return word_at<"user", "assistant", "system", "developer">(at).map(
       [&](std::string&& role) { to.role = role == "developer" ? "system" : std::move(role); });
   },
   "", is_needed},
  {"content", kind::anything,
   [](const place& at, message_item& to) -> expected<void> {
     to.content = &at.value; // How its parts are called depends on the role.
     return {};
   },
   "", is_needed},
  {"id", kind::text, &read_ignored<std::string>},
  {"status", kind::text, &read_ignored<std::string>},
  {"phase", kind::text, nullptr, "an assistant's messages are of one kind"},
};

// --- thoughts --------------------------------------------------------------------------------------------------------

struct reasoning_item {
  std::string text;
};

constexpr field_rule<reasoning_item> reasoning_rules[] = {
  {"type", kind::word<"reasoning">, &read_word<reasoning_item, "reasoning">, "", is_needed},
  {"id", kind::text, &read_ignored<std::string>},
  {"content", kind::text_content<"reasoning_text">,
   [](const place& at, reasoning_item& to) { return read_text_content(at, to.text, "reasoning_text"); },
   "for templates that know it"},
  {"summary", kind::list<kind::anything, 0>,
   [](const place& at, reasoning_item&) -> expected<void> {
     if (at.value.is_array() && at.value.empty())
       return {};
     return refused_field(at.path, "thoughts are taken as they were");
   }},
  {"status", kind::text, &read_ignored<std::string>},
  {"encrypted_content", kind::text, nullptr, "thoughts are not encrypted"},
};

// --- calls -----------------------------------------------------------------------------------------------------------

struct call_item {
  std::string call_id, name;
  json arguments = json::object();
};

constexpr field_rule<call_item> call_rules[] = {
  {"type", kind::word<"function_call">, &read_word<call_item, "function_call">, "", is_needed},
  {"call_id", kind::text, &read_member<&call_item::call_id>, "", is_needed},
  {"name", kind::filled_text<any_length>, &read_filled<&call_item::name>, "", is_needed},
  {"arguments", kind::either<kind::json_text, kind::word<"">>,
   [](const place& at, call_item& to) { return read_arguments(at, to.arguments); }, "JSON, an object; empty: {}",
   is_needed},
  {"id", kind::text, &read_ignored<std::string>},
  {"status", kind::text, &read_ignored<std::string>},
  {"async", kind::boolean, nullptr, "results are the client's"},
  {"caller", kind::object, nullptr, "functions are called by the model alone"},
  {"namespace", kind::text, nullptr, "functions have names alone"},
};

struct output_item {
  std::string call_id, output;
};

constexpr field_rule<output_item> output_rules[] = {
  {"type", kind::word<"function_call_output">, &read_word<output_item, "function_call_output">, "", is_needed},
  {"call_id", kind::text, &read_member<&output_item::call_id>, "", is_needed},
  {"output", kind::text_content<"input_text">,
   [](const place& at, output_item& to) { return read_text_content(at, to.output, "input_text"); }, "", is_needed},
  {"id", kind::text, &read_ignored<std::string>},
  {"status", kind::text, &read_ignored<std::string>},
  {"name", kind::text, nullptr, "the call says which function it was"},
  {"caller", kind::object, nullptr, "functions are called by the model alone"},
  {"namespace", kind::text, nullptr, "functions have names alone"},
};

// --- all of them -----------------------------------------------------------------------------------------------------

/// What an assistant says in several items: the last message, where it still goes on.
class item_reader {
public:
  explicit item_reader(chat_fields& to) : to_(to) {}

  expected<void> read(const place& at) {
    const bool has_type = at.value.is_object() && !at.value.value("type", json()).is_null();
    const auto type = has_type ? type_of(at) : expected<std::string>("message");
    if (!type)
      return tl::unexpected(type.error());
    if (*type == "message")
      return read_as<message_item>(at, message_item_rules, &item_reader::add_said);
    if (*type == "reasoning")
      return read_as<reasoning_item>(at, reasoning_rules, &item_reader::add_thought);
    if (*type == "function_call")
      return read_as<call_item>(at, call_rules, &item_reader::add_call);
    if (*type == "function_call_output")
      return read_as<output_item>(at, output_rules, &item_reader::add_output);
    return refused_type(at, *type, "message, reasoning, function_call and function_call_output are");
  }

  void end_turn() {
    if (turn_.is_object())
      add_message(std::exchange(turn_, json()), to_);
  }

private:
  template <class Item>
  expected<void> read_as(const place& at, field_table<Item> rules,
                         expected<void> (item_reader::*add)(const place&, Item&&)) {
    Item item;
    if (auto read = read_object<Item>(at, rules, item); !read)
      return read;
    return (this->*add)(at, std::move(item));
  }

  /// The assistant's message that goes on, which has none of `members` yet.
  json& turn_without(std::initializer_list<const char*> members) {
    for (const char* member : members)
      if (turn_.is_object() && turn_.contains(member) && turn_[member] != "")
        end_turn();
    if (!turn_.is_object())
      turn_ = {{"role", "assistant"}, {"content", ""}};
    return turn_;
  }

  expected<void> add_said(const place& at, message_item&& item) {
    std::string text;
    const bool assistant = item.role == "assistant";
    if (auto read =
          read_text_content({at.path + ".content", *item.content}, text, assistant ? "output_text" : "input_text");
        !read)
      return read;
    if (assistant) {
      turn_without({"content", "tool_calls"})["content"] = std::move(text);
      return {};
    }
    end_turn();
    add_message({{"role", std::move(item.role)}, {"content", std::move(text)}}, to_);
    return {};
  }

  expected<void> add_thought(const place&, reasoning_item&& item) {
    turn_without({"reasoning_content", "content", "tool_calls"})["reasoning_content"] = std::move(item.text);
    return {};
  }

  expected<void> add_call(const place&, call_item&& item) {
    turn_without({})["tool_calls"].push_back(
      call_json(std::move(item.call_id), std::move(item.name), std::move(item.arguments)));
    return {};
  }

  expected<void> add_output(const place&, output_item&& item) {
    end_turn();
    add_message({{"role", "tool"}, {"content", std::move(item.output)}, {"tool_call_id", std::move(item.call_id)}},
                to_);
    return {};
  }

  chat_fields& to_;
  json turn_; ///< Null: none goes on.
};

} // namespace

expected<void> read_input_items(const place& at, chat_fields& to) {
  if (at.value.is_string()) {
    add_message({{"role", "user"}, {"content", at.value}}, to);
    return {};
  }
  if (!at.value.is_array())
    return wrong_kind(at, "a string or a list of items");
  if (auto ok = check_count(at, "items"); !ok)
    return ok;
  item_reader reader(to);
  for (std::size_t i = 0; i < at.value.size(); ++i)
    if (auto read = reader.read(at.item(i)); !read)
      return read;
  reader.end_turn();
  return {};
}

json kind::input_items() {
  const auto message = members<message_item_rules>();
  const auto of_role = [&](json role, json content) {
    return variant_of(variant_of(message, {{}, {}, "role", std::move(role)}),
                      {{}, {}, "content", std::move(content)});
  };
  auto item = any_of({of_role(word<"user", "system", "developer">(), text_content<"input_text">()),
                      of_role(word<"assistant">(), text_content<"output_text">()), members<reasoning_rules>(),
                      members<call_rules>(), members<output_rules>()});
  item["title"] = "item";
  return any_of({text(), list_of(std::move(item), max_chat_messages, 1)});
}

} // namespace troupe::serve
