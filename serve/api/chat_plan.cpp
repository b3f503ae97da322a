#include "serve/api/chat_plan.hpp"

#include <algorithm>
#include <utility>

#include "model/continued_chat.hpp"
#include "serve/api/requests.hpp"

namespace troupe::serve {
namespace {

prompt plain_prompt(json&& messages) {
  prompt_messages list;
  for (auto& message : messages)
    list.push_back(
      {std::move(message["role"].get_ref<std::string&>()), std::move(message["content"].get_ref<std::string&>())});
  return list;
}

/// Whether the message that the answer goes on with ends within a thought.
reasoning_format reasoning_after(std::string_view message) {
  const auto opened = message.rfind("<think>");
  return opened != message.npos && message.find("</think>", opened) == message.npos ? reasoning_format::opened
                                                                                    : reasoning_format::none;
}

/// Whether a prompt for this chat ends within a thought: a short one with the same variables is rendered.
reasoning_format reasoning_of(const model& source, std::string_view text, const json& variables) {
  if (text.find("</think>") == std::string_view::npos)
    return reasoning_format::none;
  json probe = variables;
  probe["messages"] = json::array({{{"role", "user"}, {"content", "x"}}});
  const auto parts = prompt_text_of(source, chat_prompt{to_text(probe)}, 0);
  std::string end;
  if (parts && !parts->empty())
    end = parts->back().text;
  end.erase(end.find_last_not_of(" \r\n\t") + 1);
  return end.ends_with("<think>") ? reasoning_format::opened : reasoning_format::marked;
}

/// How the answer is opened.
expected<void> check_opening(const chat_fields& fields) {
  if (!fields.continue_final)
    return {};
  if (fields.messages.back()["role"] != "assistant")
    return fail(errc::invalid_argument,
                "Field 'continue_final_message' is true, but the last message is not the assistant's.");
  if (fields.messages.back()["content"].get_ref<const std::string&>().find_first_not_of(" \t\r\n") ==
      std::string::npos)
    return fail(errc::invalid_argument, "Field 'messages' ends with an empty one: there is nothing to go on with.");
  if (fields.add_generation_prompt.value_or(false))
    return fail(errc::invalid_argument,
                "Field 'add_generation_prompt' opens a new message, but 'continue_final_message' goes on "
                "with the last one. Leave one of them out.");
  return {};
}

} // namespace

expected<chat_plan> plan_chat(const api_context& context, chat_fields&& fields) {
  if (!context.source->chat)
    return fail(errc::unsupported, "Field 'messages' is not supported: this model has no chat template. Use "
                                   "/v1/completions.");
  const std::string_view text = context.source->chat->source();
  chat_plan plan;
  if (auto possible = check_opening(fields); !possible)
    return tl::unexpected(std::move(possible.error()));
  if (fields.add_generation_prompt)
    fields.variables["add_generation_prompt"] = *fields.add_generation_prompt;
  if (fields.effort) {
    if (text.find("reasoning_effort") == std::string_view::npos)
      return refused_field("reasoning_effort", "the model's template has no place for it");
    fields.variables["reasoning_effort"] = *fields.effort;
  }
  if (!fields.tools.is_null() && !fields.tools_off) {
    const auto known = tool_format_of_template(text);
    const auto format = context.tool_format.empty() ? known : tool_format_of(context.tool_format);
    if (!format || *format == tool_format::none || text.find("tools") == std::string_view::npos)
      return refused_field("tools", "the model's template has no place for them, or none that is known here");
    plan.tools = *format;
    fields.variables["tools"] = std::move(fields.tools);
  }
  if (fields.continue_final) {
    plan.reasoning = reasoning_after(fields.messages.back()["content"].get_ref<const std::string&>());
    fields.variables[continue_final_message] = true;
  } else {
    plan.reasoning = reasoning_of(*context.source, text, fields.variables);
  }
  if (fields.plain && fields.variables.empty()) {
    plan.made = plain_prompt(std::move(fields.messages));
  } else {
    fields.variables["messages"] = std::move(fields.messages);
    plan.made = chat_prompt{to_text(fields.variables)};
  }
  return plan;
}

expected<planned_chat> make_chat(const api_context& context, call_fields&& fields) {
  // The engine ends an answer where the context is full.
  fields.request.sampling.max_tokens = fields.max_tokens.value_or(std::max(context.context_length, 1u));
  auto plan = plan_chat(context, std::move(fields.chat));
  if (!plan)
    return tl::unexpected(std::move(plan.error()));
  fields.prompts.push_back(std::move(plan->made));
  auto requests = make_requests(context, std::move(fields));
  if (!requests)
    return tl::unexpected(std::move(requests.error()));
  return planned_chat{std::move(*requests), plan->tools, plan->reasoning};
}

} // namespace troupe::serve
