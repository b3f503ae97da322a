#include "tests/support/tiny_model.hpp"

#include <string>

#include "tests/support/gguf_writer.hpp"
#include "tests/support/quantise.hpp"

namespace troupe::test {

namespace {

/// Plain arithmetic and no library distribution: those differ between implementations.
class random_source {
public:
  explicit random_source(std::uint64_t seed) : state_(seed) {}

  /// About normal, of mean 0 and standard deviation 1: the sum of twelve uniform numbers.
  float normal() {
    float sum = -6.0f;
    for (int i = 0; i < 12; ++i)
      sum += static_cast<float>(next() >> 40) * 0x1p-24f;
    return sum;
  }

private:
  std::uint64_t next() { // splitmix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  std::uint64_t state_;
};

std::string utf8(std::uint32_t code) {
  if (code < 0x80)
    return {static_cast<char>(code)};
  return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
}

/// GPT-2's alphabet: a byte that prints stands for itself, any other for the next code point from 256 on. First those
/// that print, in order, as in the vocabularies of the field.
std::vector<std::string> byte_tokens() {
  std::vector<std::string> printing;
  std::vector<std::string> others;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    if (prints)
      printing.push_back(utf8(byte));
    else
      others.push_back(utf8(256 + static_cast<std::uint32_t>(others.size())));
  }
  printing.insert(printing.end(), others.begin(), others.end());
  return printing;
}

constexpr const char* chat_template =
  "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
  "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
  "' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n"
  "' + message['content'] + '<|im_end|>' + '\n"
  "'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n"
  "' }}{% endif %}";

struct vocabulary {
  std::vector<std::string> tokens{"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  std::vector<std::int32_t> types{3, 3, 3}; // Control; 1 is normal.
  std::vector<std::string> merges{"Ġ t", "Ġ a", "i n", "h e", "Ġ Ġ", "r e", "o n", "e r", "Ġt he", "a t"};
};

vocabulary make_vocabulary() {
  vocabulary out;
  for (auto& token : byte_tokens())
    out.tokens.push_back(std::move(token));
  for (const auto& merge : out.merges) {
    const auto space = merge.find(' ');
    out.tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  out.types.resize(out.tokens.size(), 1);
  return out;
}

void add_vocabulary(gguf_writer& to, const vocabulary& words) {
  to.add("tokenizer.ggml.add_space_prefix", false)
    .add("tokenizer.ggml.add_bos_token", false)
    .add("tokenizer.ggml.model", "gpt2")
    .add("tokenizer.ggml.pre", "smollm")
    .add("tokenizer.ggml.tokens", words.tokens)
    .add("tokenizer.ggml.token_type", words.types)
    .add("tokenizer.ggml.merges", words.merges)
    .add("tokenizer.ggml.bos_token_id", std::uint32_t{1})
    .add("tokenizer.ggml.eos_token_id", std::uint32_t{2})
    .add("tokenizer.ggml.unknown_token_id", std::uint32_t{0})
    .add("tokenizer.ggml.padding_token_id", std::uint32_t{2})
    .add("tokenizer.chat_template", chat_template);
}

void add_architecture(gguf_writer& to, const tiny_model_options& options, std::uint32_t vocabulary_size) {
  to.add("general.architecture", "llama")
    .add("general.type", "model")
    .add("general.name", "Troupe's tiny test model")
    .add("general.license", "apache-2.0")
    .add("llama.block_count", options.layers)
    .add("llama.context_length", options.context)
    .add("llama.embedding_length", options.width)
    .add("llama.feed_forward_length", options.feed_forward)
    .add("llama.attention.head_count", options.heads)
    .add("llama.attention.head_count_kv", options.kv_heads)
    .add("llama.rope.freq_base", options.rope_base)
    .add("llama.attention.layer_norm_rms_epsilon", 1e-5f)
    .add("llama.vocab_size", vocabulary_size)
    .add("llama.rope.dimension_count", options.head_size);
  if (options.heads * options.head_size != options.width)
    to.add("llama.attention.key_length", options.head_size).add("llama.attention.value_length", options.head_size);
}

/// Adds tensors of random weights, in the order in which they are asked for.
class weights {
public:
  weights(gguf_writer& to, std::uint64_t seed) : to_(to), random_(seed) {}

  /// Rows of `columns` weights each, of standard deviation `deviation`.
  void matrix(const std::string& name, gguf::tensor_type type, std::uint32_t columns, std::uint32_t rows,
              float deviation) {
    std::vector<float> values(std::size_t{columns} * rows);
    for (auto& value : values)
      value = random_.normal() * deviation;
    to_.add_tensor(name, type, {columns, rows}, quantise(type, values));
  }

  void norm(const std::string& name, std::uint32_t columns) {
    std::vector<float> values(columns);
    for (auto& value : values)
      value = 1.0f + 0.1f * random_.normal();
    to_.add_tensor(name, gguf::tensor_type::f32, {columns}, quantise(gguf::tensor_type::f32, values));
  }

private:
  gguf_writer& to_;
  random_source random_;
};

/// The deviation at which a product over `inputs` keeps the size of what goes in. Newton's method, because its bits
/// are the same everywhere.
float keeping_size(std::uint32_t inputs) {
  float root = static_cast<float>(inputs);
  for (int i = 0; i < 30; ++i)
    root = 0.5f * (root + static_cast<float>(inputs) / root);
  return 1.0f / root;
}

void add_layer(weights& to, const tiny_model_options& options, std::uint32_t layer) {
  // What the layers add is several times the embedding, or a tied model would only repeat its last token.
  constexpr float emphasis = 4.0f;
  const auto prefix = "blk." + std::to_string(layer) + ".";
  const auto query = options.heads * options.head_size;
  const auto key = options.kv_heads * options.head_size;
  const auto plain = keeping_size(options.width);
  to.norm(prefix + "attn_norm.weight", options.width);
  to.matrix(prefix + "ffn_down.weight", options.type, options.feed_forward, options.width,
            emphasis * keeping_size(options.feed_forward));
  to.matrix(prefix + "ffn_gate.weight", options.type, options.width, options.feed_forward, plain);
  to.matrix(prefix + "ffn_up.weight", options.type, options.width, options.feed_forward, plain);
  to.norm(prefix + "ffn_norm.weight", options.width);
  to.matrix(prefix + "attn_k.weight", options.type, options.width, key, plain);
  to.matrix(prefix + "attn_output.weight", options.type, query, options.width, emphasis * keeping_size(query));
  to.matrix(prefix + "attn_q.weight", options.type, options.width, query, plain);
  to.matrix(prefix + "attn_v.weight", options.type, options.width, key, plain);
}

} // namespace

std::vector<std::byte> tiny_model(const tiny_model_options& options) {
  using enum gguf::tensor_type;
  const auto words = make_vocabulary();
  const auto count = static_cast<std::uint32_t>(words.tokens.size());
  gguf_writer file;
  add_architecture(file, options, count);
  add_vocabulary(file, words);
  file.add("general.quantization_version", std::uint32_t{2});

  weights to(file, options.seed);
  const auto embedding = options.type == f32 || options.type == f16 ? options.type : q8_0;
  to.matrix("token_embd.weight", embedding, options.width, count, 0.5f);
  for (std::uint32_t layer = 0; layer < options.layers; ++layer)
    add_layer(to, options, layer);
  to.norm("output_norm.weight", options.width);
  if (!options.tied_embeddings)
    to.matrix("output.weight", embedding, options.width, count, 0.5f);
  return file.finish();
}

temporary_file tiny_model_file(const tiny_model_options& options) {
  return temporary_file(tiny_model(options));
}

} // namespace troupe::test
