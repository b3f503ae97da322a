#include "model/jinja/chat_template.hpp"

#include <nlohmann/json.hpp>

#include "model/jinja/program.hpp"

namespace troupe {

expected<std::shared_ptr<const chat_template>> chat_template::parse(std::string_view source) {
  auto parsed = jinja::program::parse(source);
  if (!parsed)
    return tl::unexpected(parsed.error());
  std::shared_ptr<chat_template> made(new chat_template);
  made->program_ = std::make_shared<const jinja::program>(std::move(*parsed));
  return made;
}

expected<text_parts> chat_template::render(std::span<const chat_message> messages,
                                           const chat_template_options& options) const {
  auto list = nlohmann::ordered_json::array();
  for (const chat_message& message : messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  // The names that transformers gives a template, with what it passes where there are no tools or documents.
  nlohmann::ordered_json variables = {{"messages", std::move(list)},
                                      {"tools", nullptr},
                                      {"documents", nullptr},
                                      {"add_generation_prompt", options.add_generation_prompt},
                                      {"bos_token", options.bos_token},
                                      {"eos_token", options.eos_token}};
  return program_->render(variables, {"bos_token", "eos_token"}, options.now);
}

} // namespace troupe
