#include "tools/troupe/bench/server_codec.hpp"

#include <random>
#include <set>

#include <nlohmann/json.hpp>

namespace troupe::cli {

namespace {

using json = nlohmann::ordered_json;

constexpr int probe_words = 4000; ///< Random text, of which the tokens are taken.

std::string random_words(std::mt19937& random) {
  std::string text;
  for (int word = 0; word < probe_words; ++word) {
    text += word ? " " : "";
    for (auto letters = 1 + random() % 8; letters > 0; --letters)
      text += static_cast<char>('a' + random() % 26);
  }
  return text;
}

std::string text_of(const json& body) {
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

class server_codec : public text_codec {
public:
  server_codec(const server_access& server, const std::string& model) : connection_(server), model_(model) {}

  expected<void> begin() {
    auto probe = encode_as(false, "a");
    if (!probe || probe->empty()) { // llama-server takes a prompt for no content.
      llama_ = true;
      probe = encode_as(false, "a");
    }
    if (!probe && probe.error().code == errc::cancelled)
      return tl::unexpected(probe.error());
    if (!probe || probe->empty())
      return fail(errc::unsupported, "The server does not tokenize" +
                                       (probe ? "" : " (" + probe.error().message + ")") +
                                       ": name its model's GGUF file with --tokenizer.");
    const auto with_added = encode_as(true, "a");
    if (!with_added)
      return tl::unexpected(with_added.error());
    added_ = static_cast<std::uint32_t>(with_added->size() - std::min(with_added->size(), probe->size()));
    std::mt19937 random(1);
    const auto ids = encode(random_words(random));
    if (!ids)
      return tl::unexpected(ids.error());
    const std::set<token_id> different(ids->begin(), ids->end());
    ordinary_.assign(different.begin(), different.end());
    return {};
  }

  expected<std::vector<token_id>> encode(std::string_view text) override { return encode_as(false, text); }

  expected<std::string> decode(const std::vector<token_id>& tokens) override {
    json body{{"tokens", tokens}};
    if (!llama_)
      body["model"] = model_;
    const auto reply = connection_.ask_json("/detokenize", text_of(body));
    if (!reply)
      return tl::unexpected(reply.error());
    const auto found = reply->find(llama_ ? "content" : "prompt");
    if (found == reply->end() || !found->is_string())
      return fail(errc::malformed, "The server's /detokenize answers without the text.");
    return found->get<std::string>();
  }

private:
  expected<std::vector<token_id>> encode_as(bool with_added, std::string_view text) {
    const auto body = llama_ ? json{{"content", text}, {"add_special", with_added}}
                             : json{{"model", model_}, {"prompt", text}, {"add_special_tokens", with_added}};
    const auto reply = connection_.ask_json("/tokenize", text_of(body));
    if (!reply)
      return tl::unexpected(reply.error());
    std::vector<token_id> ids;
    if (const auto found = reply->find("tokens"); found != reply->end() && found->is_array())
      for (const auto& id : *found)
        if (id.is_number_unsigned())
          ids.push_back(id.get<token_id>());
    return ids;
  }

  http_connection connection_;
  const std::string model_;
  bool llama_ = false;
};

} // namespace

expected<std::unique_ptr<text_codec>> make_server_codec(const server_access& server, const std::string& model) {
  auto codec = std::make_unique<server_codec>(server, model);
  if (auto begun = codec->begin(); !begun)
    return tl::unexpected(begun.error());
  return codec;
}

} // namespace troupe::cli
