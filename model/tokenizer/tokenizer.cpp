#include "model/tokenizer/tokenizer.hpp"

#include <limits>
#include <utility>

#include <fmt/format.h>

#include "model/tokenizer/encoding.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/vocabulary.hpp"

namespace troupe {
namespace {

std::string known_names() {
  std::string names;
  for (const auto& rule : pre_tokenizer_rules())
    names.append(names.empty() ? "" : ", ").append(rule.name);
  return names;
}

expected<std::optional<token_id>> optional_id(const gguf::file& file, std::string_view key) {
  if (!file.has(key))
    return std::optional<token_id>();
  auto id = file.get<std::int32_t>(key);
  if (!id)
    return tl::unexpected(id.error());
  return std::optional<token_id>(*id);
}

// Reads one key into `out`; false where that failed, with the error in `failure`.
template <class T>
bool read(const gguf::file& file, std::string_view key, T& out, error& failure) {
  auto value = file.get<T>(key);
  if (value)
    out = std::move(*value);
  else
    failure = value.error();
  return value.has_value();
}

} // namespace

struct tokenizer::contents {
  vocabulary tokens;
  pre_tokenizer rules;
  std::optional<token_id> bos;
  std::optional<token_id> eos;
  bool adds_bos;
};

tokenizer::tokenizer(std::unique_ptr<const contents> what) : contents_(std::move(what)) {}
tokenizer::~tokenizer() = default;

expected<std::shared_ptr<const tokenizer>> tokenizer::from_gguf(const gguf::file& file) {
  auto model = file.get<std::string_view>("tokenizer.ggml.model");
  if (!model)
    return tl::unexpected(model.error());
  if (*model != "gpt2")
    return fail(errc::unsupported,
                fmt::format("tokenizer.ggml.model is \"{}\"; \"gpt2\" (byte-level BPE) is supported.", *model));
  if (!file.has("tokenizer.ggml.pre"))
    return fail(errc::unsupported,
                fmt::format("The file has no tokenizer.ggml.pre, without which text cannot be cut into words as the "
                            "model expects; convert it again with a newer converter. Known are: {}.",
                            known_names()));
  tokenizer_source source;
  error failure;
  if (!read(file, "tokenizer.ggml.pre", source.pre, failure) ||
      !read(file, "tokenizer.ggml.tokens", source.tokens, failure) ||
      !read(file, "tokenizer.ggml.token_type", source.types, failure) ||
      !read(file, "tokenizer.ggml.merges", source.merges, failure))
    return tl::unexpected(failure);
  for (auto [name, out] :
       {std::pair{"bos", &source.bos}, {"eos", &source.eos}, {"eot", &source.eot}, {"eom", &source.eom}}) {
    auto id = optional_id(file, fmt::format("tokenizer.ggml.{}_token_id", name));
    if (!id)
      return tl::unexpected(id.error());
    *out = *id;
  }
  if (file.has("tokenizer.ggml.add_bos_token")) {
    bool value = false;
    if (!read(file, "tokenizer.ggml.add_bos_token", value, failure))
      return tl::unexpected(failure);
    source.add_bos = value;
  }
  if (file.has("tokenizer.ggml.add_eos_token")) {
    bool value = false;
    if (!read(file, "tokenizer.ggml.add_eos_token", value, failure))
      return tl::unexpected(failure);
    if (value)
      return fail(errc::unsupported, "tokenizer.ggml.add_eos_token is true; prompts that end with an end-of-sequence "
                                     "token are not supported.");
  }
  return create(source);
}

expected<std::shared_ptr<const tokenizer>> tokenizer::create(const tokenizer_source& source) {
  const auto* rule = find_pre_tokenizer_rule(source.pre);
  if (!rule)
    return fail(errc::unsupported,
                fmt::format("tokenizer.ggml.pre is \"{}\". Known are: {}.", source.pre, known_names()));
  auto rules = pre_tokenizer::compile(rule->stages);
  if (!rules)
    return tl::unexpected(rules.error());
  auto tokens = vocabulary::create(source, rule->whole_words);
  if (!tokens)
    return tl::unexpected(tokens.error());
  auto adds_bos = source.add_bos.value_or(rule->adds_bos && source.bos);
  if (adds_bos && !source.bos)
    return fail(errc::malformed,
                "tokenizer.ggml.add_bos_token is true, but there is no tokenizer.ggml.bos_token_id.");
  return std::shared_ptr<const tokenizer>(new tokenizer(std::make_unique<const contents>(
    contents{std::move(*tokens), std::move(*rules), source.bos, source.eos, adds_bos})));
}

std::vector<token_id> tokenizer::encode(const text_parts& parts) const {
  encoding run(contents_->tokens, contents_->rules, trusted_text(parts));
  run.advance(std::numeric_limits<std::size_t>::max());
  return run.take();
}

std::vector<token_id> tokenizer::encode(std::string_view text, bool trusted) const {
  encoding run(contents_->tokens, contents_->rules, trusted_text(text, trusted));
  run.advance(std::numeric_limits<std::size_t>::max());
  return run.take();
}

bool tokenizer::has_byte(unsigned char byte) const {
  return contents_->tokens.token_of_byte(byte) != no_token;
}
std::string_view tokenizer::bytes_of(token_id token) const {
  return contents_->tokens.bytes_of(token);
}

std::string tokenizer::decode(std::span<const token_id> tokens) const {
  std::string text;
  for (auto token : tokens)
    text += bytes_of(token);
  return text;
}

bool tokenizer::is_special(token_id token) const {
  return contents_->tokens.is_control(token);
}
bool tokenizer::ends_generation(token_id token) const {
  return contents_->tokens.ends_generation(token);
}
std::optional<token_id> tokenizer::bos() const {
  return contents_->bos;
}
std::optional<token_id> tokenizer::eos() const {
  return contents_->eos;
}
bool tokenizer::adds_bos() const {
  return contents_->adds_bos;
}
std::size_t tokenizer::size() const {
  return contents_->tokens.size();
}
std::size_t tokenizer::longest_token_bytes() const {
  return contents_->tokens.longest_token_bytes();
}

// The run refers to the tokenizer, which must go last.
struct encoder::state {
  std::shared_ptr<const tokenizer> tokens;
  encoding run;
};

encoder::encoder(std::shared_ptr<const tokenizer> tokens, text_parts parts) {
  const auto& contents = *tokens->contents_;
  state_.reset(new state{std::move(tokens), {contents.tokens, contents.rules, trusted_text(parts)}});
}

encoder::~encoder() = default;
encoder::encoder(encoder&&) noexcept = default;
encoder& encoder::operator=(encoder&&) noexcept = default;

bool encoder::advance(std::size_t bytes) {
  return state_->run.advance(bytes);
}
std::size_t encoder::count() const {
  return state_->run.count();
}
std::vector<token_id> encoder::take() {
  return state_->run.take();
}

} // namespace troupe
