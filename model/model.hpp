// Everything that one model file gives: the program, the tokenizer and the chat template.
//
// Immutable once loaded; shared by all actors of a process. The weights stay in the file until a backend packs them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "model/architecture.hpp"
#include "model/gguf/file.hpp"
#include "model/jinja/chat_template.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "protocol/messages.hpp"

namespace troupe {

struct model {
  std::string name; ///< general.name, or the file's name
  std::shared_ptr<const gguf::file> file;
  model_program program;
  std::shared_ptr<const tokenizer> tokens;
  std::shared_ptr<const chat_template> chat; ///< nullptr where the file has none.

  /// Tokens that end an answer.
  std::vector<token_id> end_tokens() const;
};

/// Errors: those of the parts, with the path in front.
expected<std::shared_ptr<const model>> load_model(const std::filesystem::path& path);
expected<std::shared_ptr<const model>> load_model(std::shared_ptr<const gguf::file> file, std::string name);

/// A prompt as the text that is to be encoded: the template's rendering of messages, with the opening of the answer;
/// text as it stands. `now` is for templates that print the date, in seconds since 1970. Errors: unsupported
/// (messages to a model without a template), those of the template; of a `chat_prompt` malformed (no JSON) and
/// invalid_argument (JSON without messages).
expected<text_parts> prompt_text_of(const model& model, const prompt& prompt, std::int64_t now);

/// Token ids as they stand, checked against the vocabulary. Errors: invalid_argument.
expected<void> check_tokens(const model& model, const prompt_tokens& tokens);

/// The ids that go in front of encoded text (the model's BOS where its metadata asks for one and the text does not
/// bring it).
std::vector<token_id> prefix_of(const model& model, const prompt& prompt);

} // namespace troupe
