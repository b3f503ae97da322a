// A model's chat template: messages to the text of a prompt.
//
// Templates are programs from a stranger's file, run by a bounded interpreter of Jinja (model/jinja/): limits on
// steps, output bytes, nesting and memory (limits.hpp); no access to anything but its arguments. A `chat_template` is
// immutable: any thread may render, also at once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "model/text.hpp"
#include "protocol/messages.hpp"

namespace troupe {

namespace jinja {
class program;
}

struct chat_template_options {
  bool add_generation_prompt = true;
  std::string bos_token, eos_token; ///< What the template sees under these names.
  std::int64_t now = 0;             ///< Seconds since the epoch, for strftime_now.
};

class chat_template {
public:
  /// Parses. Errors: malformed (line and column, what was expected).
  static expected<std::shared_ptr<const chat_template>> parse(std::string_view source);

  /// Renders; text that came out of `messages` is untrusted, whatever string methods and filters it went through.
  /// Errors: invalid_argument (the template's own raise_exception, with its text), limit_exceeded, malformed (a name
  /// or type that the template uses wrongly, with its line), unsupported (a filter or test that there is not).
  expected<text_parts> render(std::span<const chat_message> messages, const chat_template_options& options) const;

  /// The same for an object of variables: `messages` with whatever members, `tools`, `documents` and others. Those of
  /// the options are absent ones' defaults, and the tokens are the options' alone.
  expected<text_parts> render(const nlohmann::ordered_json& variables, const chat_template_options& options) const;

  const jinja::program& program() const { return *program_; }
  const std::string& source() const { return source_; }

private:
  chat_template() = default;
  std::shared_ptr<const jinja::program> program_;
  std::string source_;
};

} // namespace troupe
