#include "serve/api/chat_plan.hpp"

#include <algorithm>
#include <utility>

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

} // namespace

expected<chat_plan> plan_chat(const api_context& context, chat_fields&& fields) {
  if (!context.source->chat)
    return fail(errc::unsupported, "Field 'messages' is not supported: this model has no chat template. Use "
                                   "/v1/completions.");
  const std::string_view text = context.source->chat->source();
  chat_plan plan;
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
  plan.reasoning = reasoning_of(*context.source, text, fields.variables);
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
