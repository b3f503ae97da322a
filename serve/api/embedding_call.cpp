// /v1/embeddings: its fields and its call.
#include <bit>
#include <charconv>
#include <iterator>

#include <openssl/evp.h>

#include "protocol/limits.hpp"
#include "serve/api/api.hpp"
#include "serve/api/embedding_fields.hpp"
#include "serve/api/errors.hpp"
#include "serve/api/progress.hpp"
#include "serve/api/requests.hpp"

namespace troupe::serve {
namespace {

expected<void> read_input(const place& at, embedding_fields& to) {
  return read_as_in(completion_table(), "prompt", at, to.call);
}

expected<void> as_shared(const place& at, embedding_fields& to) {
  return read_as_in(shared_call_table(), at.path, at, to.call);
}

expected<void> as_completion(const place& at, embedding_fields& to) {
  return read_as_in(completion_table(), at.path, at, to.call);
}

expected<void> read_encoding(const place& at, embedding_fields& to) {
  return word_at<"float", "base64">(at).map([&](const std::string& word) { to.base64 = word == "base64"; });
}

expected<void> read_pooling(const place& at, embedding_fields& to) {
  return word_at<"last", "mean">(at).map(
    [&](const std::string& word) { to.call.request.embed = word == "mean" ? pooling::mean : pooling::last; });
}

constexpr field_rule<embedding_fields> embedding_rules[] = {
  {"input", kind::prompts, &read_input, "up to 1,024 inputs", is_needed},
  {"model", kind::text, &as_shared, "absent: the model that is served; another one is a 404"},
  {"encoding_format", kind::word<"float", "base64">, &read_encoding, "base64: of float32, the lowest byte first"},
  {"dimensions", kind::integer, nullptr, "an embedding is as wide as the model's hidden states"},
  {"user", kind::text, &as_shared, "nothing is done with it"},
  {"pooling", kind::word<"last", "mean">, &read_pooling, "absent: last; mean finds no prefix in the cache"},
  {"priority", kind::integer_in<-max_priority, max_priority>, &as_shared, "where the server's policy is `priority`"},
  {"cache_salt", kind::text_up_to<max_salt_bytes>, &as_shared},
  {"add_special_tokens", kind::only<true>, &as_completion},
  {"normalize", kind::only<true>, &read_only<true, embedding_fields>, "embeddings have length 1"},
  {"use_activation", kind::only<true>, &read_only<true, embedding_fields>, "vLLM's newer name for normalize"},
  {"messages", kind::list<kind::anything>, nullptr, "send text as `input`"},
  {"truncate_prompt_tokens", kind::integer, nullptr, "a prompt is taken as a whole or refused"},
  {"truncation_side", kind::text, nullptr, "a prompt is taken as a whole or refused"},
  {"embed_dtype", kind::text, nullptr, "embeddings are float32"},
  {"endianness", kind::text, nullptr, "the lowest byte comes first"},
  {"request_id", kind::text, nullptr, "ids are given by the server"},
};

std::string base64_of(const std::vector<float>& values) {
  static_assert(std::endian::native == std::endian::little);
  const auto bytes = std::as_bytes(std::span(values));
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0'); // With the zero that OpenSSL writes behind it.
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  text.pop_back();
  return text;
}

/// Each as short as a float32 can be told; through JSON's doubles they would be twice as long.
void append_numbers(const std::vector<float>& values, std::string& out) {
  char text[32];
  for (std::size_t i = 0; i < values.size(); ++i) {
    out += i > 0 ? "," : "";
    out.append(text, std::to_chars(text, std::end(text), values[i]).ptr);
  }
}

class embedding_call final : public api_call {
public:
  embedding_call(const api_context& context, bool base64, std::vector<generate_request>&& requests)
      : model_(context.model_name), base64_(base64), progress_(requests.size()), requests_(std::move(requests)),
        embeddings_(requests_.size()) {}

  std::vector<generate_request> take_requests() override { return std::move(requests_); }
  bool streams() const override { return false; }
  void take(std::size_t, token_delta&&, std::string&) override {} // There are no tokens.

  void take(std::size_t request, const request_end& end, std::string&) override {
    progress_.end(end);
    auto& text = embeddings_[request];
    text = base64_ ? "\"" : "[";
    if (base64_)
      text += base64_of(end.embedding);
    else
      append_numbers(end.embedding, text);
    text += base64_ ? '"' : ']';
  }

  bool failed() const override { return progress_.failed(); }

  http_answer whole() override {
    if (progress_.failed())
      return openai_error(progress_.failure());
    http_answer answer;
    auto& out = answer.body;
    out = R"({"object":"list","data":[)";
    for (std::size_t i = 0; i < embeddings_.size(); ++i) {
      fmt::format_to(std::back_inserter(out), R"({}{{"object":"embedding","index":{},"embedding":)", i > 0 ? "," : "",
                     i);
      out += embeddings_[i];
      out += '}';
    }
    const auto tokens = progress_.used().prompt_tokens;
    const json rest = {{"model", model_}, {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
    out += "]," + to_text(rest).substr(1);
    return answer;
  }

private:
  std::string model_;
  bool base64_;
  call_progress progress_;
  std::vector<generate_request> requests_; ///< Until they are taken.
  std::vector<std::string> embeddings_;    ///< As JSON: each is formatted when it comes, not all of them at the end.
};

expected<api_call_ptr> make_embedding_call(const api_context& context, std::string_view text) {
  auto body = parse_body(text);
  if (!body)
    return tl::unexpected(std::move(body.error()));
  embedding_fields fields;
  fields.call.request.sampling = {};
  fields.call.request.embed = pooling::last;
  const field_table<embedding_fields> tables[] = {embedding_table()};
  if (auto read = read_members<embedding_fields>("", *body, tables, fields); !read)
    return tl::unexpected(std::move(read.error()));
  auto requests = make_requests(context, std::move(fields.call));
  if (!requests)
    return tl::unexpected(rename_field(std::move(requests.error()), "prompt", "input"));
  return std::make_unique<embedding_call>(context, fields.base64, std::move(*requests));
}

} // namespace

field_table<embedding_fields> embedding_table() {
  return embedding_rules;
}

json kind::embedding_body() {
  return schema_of(rows_of(embedding_table()));
}

api_outcome embeddings(const api_context& context, std::string_view body) {
  auto call = make_embedding_call(context, body);
  if (!call)
    return {openai_error(call.error()), nullptr};
  return {{}, std::move(*call)};
}

} // namespace troupe::serve
