// `troupe tokenize`: stdin to token ids.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model/gguf/file.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

int tokenize(const tokenize_flags& flags) {
  auto file = open_model(flags.model);
  if (!file)
    return report(file.error());
  auto tokens = tokenizer::from_gguf(**file);
  if (!tokens)
    return report(tokens.error());
  auto text = read_stdin();
  if (!text)
    return report(text.error());
  const auto ids = (*tokens)->encode({{*text, true}});
  const auto line = flags.json ? nlohmann::json{{"ids", ids}}.dump() : fmt::format("{}", fmt::join(ids, " "));
  return write_stdout(line + "\n") ? 0 : report({errc::io, "Cannot write to stdout: it is closed or full."});
}

} // namespace troupe::cli
