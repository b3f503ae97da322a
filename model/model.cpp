#include "model/model.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "model/continued_chat.hpp"
#include "model/strict_json.hpp"
#include "protocol/limits.hpp"

namespace troupe {

std::vector<token_id> model::end_tokens() const {
  std::vector<token_id> result;
  for (std::size_t i = 0; i < tokens->size(); ++i)
    if (const auto id = static_cast<token_id>(i); tokens->ends_generation(id))
      result.push_back(id);
  return result;
}

expected<std::shared_ptr<const model>> load_model(std::shared_ptr<const gguf::file> file, std::string name) {
  auto result = std::make_shared<model>();
  result->file = std::move(file);
  auto program = make_program(*result->file);
  if (!program)
    return tl::unexpected(program.error());
  result->program = std::move(*program);
  result->name = result->program.name.empty() ? std::move(name) : result->program.name;
  auto tokens = tokenizer::from_gguf(*result->file);
  if (!tokens)
    return tl::unexpected(tokens.error());
  result->tokens = std::move(*tokens);
  if (result->tokens->size() != result->program.vocabulary)
    return fail(errc::malformed, "The tokenizer has " + std::to_string(result->tokens->size()) +
                                   " tokens, but the embedding has " + std::to_string(result->program.vocabulary) +
                                   " rows.");
  if (result->file->has("tokenizer.chat_template")) {
    auto source = result->file->get<std::string_view>("tokenizer.chat_template");
    if (!source)
      return tl::unexpected(source.error());
    auto chat = chat_template::parse(*source);
    if (!chat)
      return fail(chat.error().code, "The model's chat template cannot be used: " + chat.error().message);
    result->chat = std::move(*chat);
  }
  return result;
}

expected<std::shared_ptr<const model>> load_model(const std::filesystem::path& path) {
  auto file = gguf::open(path);
  if (!file)
    return tl::unexpected(file.error());
  auto result = load_model(std::move(*file), path.stem().string());
  if (!result)
    return fail(result.error().code, path.string() + ": " + result.error().message);
  return result;
}

namespace {

std::string text_of(const model& model, std::optional<token_id> token) {
  return token ? std::string(model.tokens->bytes_of(*token)) : std::string();
}

expected<nlohmann::ordered_json> variables_of(const chat_prompt& chat) {
  auto variables = parse_strict_json(chat.variables);
  if (!variables)
    return fail(variables.error().code, "Field 'chat': " + variables.error().message);
  const auto refuse = [](const char* what) { return fail(errc::invalid_argument, std::string("Field 'chat' ") + what); };
  if (!variables->is_object())
    return refuse("is no JSON object.");
  if (variables->size() > max_chat_variables)
    return refuse("has too many members.");
  if (variables->contains("bos_token") || variables->contains("eos_token"))
    return refuse("has a bos_token or eos_token, which are the model's. Leave it out.");
  if (const auto goes_on = variables->find(continue_final_message); goes_on != variables->end() && !goes_on->is_boolean())
    return refuse("has a continue_final_message that is no boolean.");
  const auto messages = variables->find("messages");
  if (messages == variables->end() || !messages->is_array() || messages->empty())
    return refuse("has no list of messages.");
  if (!std::all_of(messages->begin(), messages->end(), [](const auto& each) { return each.is_object(); }))
    return refuse("has a message that is no object.");
  return variables;
}

} // namespace

expected<text_parts> prompt_text_of(const model& model, const prompt& prompt, std::int64_t now) {
  if (auto* text = std::get_if<prompt_text>(&prompt))
    return text_parts{{*text, false}};
  if (std::holds_alternative<prompt_tokens>(prompt))
    return fail(errc::internal, "A prompt of token ids has no text.");
  if (!model.chat)
    return fail(errc::unsupported, "This model has no chat template: send the prompt as text or tokens (--raw).");
  chat_template_options options;
  options.bos_token = text_of(model, model.tokens->bos());
  options.eos_token = text_of(model, model.tokens->eos());
  options.now = now;
  if (auto* messages = std::get_if<prompt_messages>(&prompt))
    return model.chat->render(*messages, options);
  auto variables = variables_of(std::get<chat_prompt>(prompt));
  if (!variables)
    return tl::unexpected(variables.error());
  const bool goes_on = variables->value(continue_final_message, false);
  variables->erase(continue_final_message);
  options.add_generation_prompt = !goes_on;
  auto rendered = model.chat->render(*variables, options);
  return goes_on && rendered ? up_to_final_content(std::move(*rendered), (*variables)["messages"]) : std::move(rendered);
}

expected<void> check_tokens(const model& model, const prompt_tokens& tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || static_cast<std::size_t>(tokens[i]) >= model.tokens->size())
      return fail(errc::invalid_argument, "tokens[" + std::to_string(i) + "] is " + std::to_string(tokens[i]) +
                                            ", but the vocabulary has ids 0 to " +
                                            std::to_string(model.tokens->size() - 1) + ".");
  return {};
}

std::vector<token_id> prefix_of(const model& model, const prompt& prompt) {
  if (std::holds_alternative<prompt_text>(prompt) && model.tokens->adds_bos() && model.tokens->bos())
    return {*model.tokens->bos()};
  return {};
}

} // namespace troupe
