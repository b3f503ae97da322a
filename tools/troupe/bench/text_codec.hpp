// Text to tokens and back, by whoever can: a model's file here, or a server.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.hpp"
#include "protocol/messages.hpp"

namespace troupe {
class tokenizer;
}

namespace troupe::cli {

class text_codec {
public:
  virtual ~text_codec() = default;

  /// Without special tokens around it. Errors: those of who is asked.
  virtual expected<std::vector<token_id>> encode(std::string_view text) = 0;
  virtual expected<std::string> decode(const std::vector<token_id>& tokens) = 0;

  /// Ids that random text may be made of; never empty.
  const std::vector<token_id>& ordinary_tokens() const { return ordinary_; }
  /// So many the server puts around a prompt by itself.
  std::uint32_t added_tokens() const { return added_; }

protected:
  std::vector<token_id> ordinary_;
  std::uint32_t added_ = 0;
};

/// By a tokenizer in this process. Its ordinary tokens are those that are valid UTF-8 by themselves and nothing special.
/// Errors: unsupported, where there are none.
expected<std::unique_ptr<text_codec>> make_local_codec(std::shared_ptr<const tokenizer> tokens);

} // namespace troupe::cli
