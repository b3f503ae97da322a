#include "model/tokenizer/tokenizer.hpp"
#include "protocol/utf8.hpp"
#include "tools/troupe/bench/text_codec.hpp"

namespace troupe::cli {

namespace {

class local_codec : public text_codec {
public:
  explicit local_codec(std::shared_ptr<const tokenizer> tokens) : tokens_(std::move(tokens)) {
    for (token_id id = 0; id < static_cast<token_id>(tokens_->size()); ++id)
      if (const auto bytes = tokens_->bytes_of(id);
          !bytes.empty() && !tokens_->is_special(id) && is_valid_utf8(bytes))
        ordinary_.push_back(id);
    added_ = tokens_->adds_bos() ? 1 : 0;
  }

  expected<std::vector<token_id>> encode(std::string_view text) override { return tokens_->encode(text); }
  expected<std::string> decode(const std::vector<token_id>& tokens) override {
    return replace_invalid_utf8(tokens_->decode(tokens)); // Cut tokens may be cut characters.
  }

private:
  std::shared_ptr<const tokenizer> tokens_;
};

} // namespace

expected<std::unique_ptr<text_codec>> make_local_codec(std::shared_ptr<const tokenizer> tokens) {
  auto codec = std::make_unique<local_codec>(std::move(tokens));
  if (codec->ordinary_tokens().empty())
    return fail(errc::unsupported, "The model's vocabulary has no token that is text by itself: name another one.");
  return codec;
}

} // namespace troupe::cli
