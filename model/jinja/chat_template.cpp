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
  made->source_ = source;
  return made;
}

expected<text_parts> chat_template::render(std::span<const chat_message> messages,
                                           const chat_template_options& options) const {
  auto list = nlohmann::ordered_json::array();
  for (const chat_message& message : messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  return render(nlohmann::ordered_json{{"messages", std::move(list)}}, options);
}

expected<text_parts> chat_template::render(const nlohmann::ordered_json& variables,
                                           const chat_template_options& options) const {
  // The names that transformers gives a template, with what it passes where there are no tools or documents.
  nlohmann::ordered_json all = {{"messages", nullptr},
                                {"tools", nullptr},
                                {"documents", nullptr},
                                {"add_generation_prompt", options.add_generation_prompt}};
  all.update(variables);
  all["bos_token"] = options.bos_token;
  all["eos_token"] = options.eos_token;
  return program_->render(all, {"bos_token", "eos_token"}, options.now);
}

} // namespace troupe
