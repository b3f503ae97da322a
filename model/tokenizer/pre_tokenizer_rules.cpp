// The table of pre-tokenizers: how the text of each family of models is cut into words.
//
// Source of each pattern: the "pre_tokenizer" of the tokenizer.json that the model was published with; which name in
// tokenizer.ggml.pre stands for which of them: llama.cpp, src/llama-vocab.cpp. Changed against the source is only:
//  - `\s` is written out as the characters with the Unicode property White_Space, which is what it means to the
//    engines that the models were trained with. PCRE2's own `\s` has U+180E too.
//  - Where digits are cut off before GPT-2's pattern runs, both are one pattern, which is twice as fast
//    (`digits_then_gpt2`); tests compare the two forms.
//  - `\s+$` has a look-behind, without which a long run of spaces costs its length squared.
#include "model/tokenizer/pre_tokenizer.hpp"

#define WHITE R"(\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})"
#define SPACE "[" WHITE "]"
#define NO_SPACE "[^" WHITE "]"

// The end of most patterns: line ends with the white space before them; white space up to the last one before a word,
// which goes with the word; what is left.
#define SPACES SPACE "+(?!" NO_SPACE ")|" SPACE "+"
#define LINES_AND_SPACES SPACE R"(*[\r\n]+|)" SPACES
#define PUNCTUATION " ?[^" WHITE R"(\p{L}\p{N}]+)"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

namespace troupe {
namespace {

// GPT-2: openai/gpt-2, src/encoder.py.
#define GPT2 R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+|)" PUNCTUATION "|" SPACES
constexpr const char* gpt2[] = {GPT2};

// Digits one by one, then GPT-2's pattern on what lies between them, whose white space therefore ends before a digit
// as it does at the end of a text. HuggingFaceTB/SmolLM2-135M, bigcode/starcoder2-3b, CohereForAI/c4ai-command-r-v01.
constexpr const char* digits_then_gpt2[] = {
  R"(\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|)" PUNCTUATION "|" SPACE "+(?![^" WHITE R"(\p{N}])|)" SPACE "+"};

// Llama 3: meta-llama/Meta-Llama-3-8B.
constexpr const char* llama3[] = {
  CONTRACTION R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)" PUNCTUATION R"([\r\n]*|)" LINES_AND_SPACES};

// Qwen 2: Qwen/Qwen2-7B. As Llama 3, but digits one by one.
#define QWEN2 CONTRACTION R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)" PUNCTUATION R"([\r\n]*|)" LINES_AND_SPACES
constexpr const char* qwen2[] = {QWEN2};

// Qwen 3.5: combining marks are part of words.
constexpr const char* qwen35[] = {
  CONTRACTION R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^)" WHITE R"(\p{L}\p{M}\p{N}]+[\r\n]*|)" LINES_AND_SPACES};

// GPT-4o (o200k_base): openai/tiktoken, tiktoken_ext/openai_public.py. Words are cut where a lower-case letter is
// followed by an upper-case one.
#define FIRST R"([^\r\n\p{L}\p{N}]?)"
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
constexpr const char* gpt4o[] = {
  FIRST UPPER "*" LOWER "+" CONTRACTION "?|" FIRST UPPER "+" LOWER "*" CONTRACTION R"(?|\p{N}{1,3}|)"
  PUNCTUATION R"([\r\n/]*|)" LINES_AND_SPACES};

// Tekken: mistralai/Mistral-Nemo-Base-2407.
constexpr const char* tekken[] = {
  FIRST UPPER "*" LOWER "+|" FIRST UPPER "+" LOWER R"(*|\p{N}|)" PUNCTUATION R"([\r\n/]*|)" LINES_AND_SPACES};

// DeepSeek Coder: deepseek-ai/deepseek-coder-6.7b-base.
constexpr const char* deepseek_coder[] = {
  R"([\r\n])", SPACE R"(?\p{L}+)", SPACE R"(?\p{P}+)",
  R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)", R"(\p{N})"};

// DeepSeek LLM: deepseek-ai/deepseek-llm-7b-base.
constexpr const char* deepseek_llm[] = {
  R"([\r\n])",
  SPACE "?"
  "[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}"
  "\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}"
  "\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}"
  "\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"
  "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}"
  "\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-"
  "\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}"
  "\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}"
  "\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}"
  "\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}"
  "\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}"
  "\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}"
  "\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}"
  "\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-"
  "\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]+",
  SPACE R"(?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)",
  "(?<!" SPACE ")" SPACE R"(++\z)",
  R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)",
  R"(\p{N}+)"};

// DeepSeek V3: deepseek-ai/DeepSeek-V3.
constexpr const char* deepseek_v3[] = {
  R"(\p{N}{1,3})",
  R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)",
  R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)"
  LINES_AND_SPACES};

// Falcon: tiiuae/falcon-7b.
constexpr const char* falcon[] = {R"([\p{P}\$\+<=>\^~\|`]+)", GPT2, "[0-9][0-9][0-9]"};

// What llama.cpp does where a file says "default".
constexpr const char* standard[] = {R"([\p{P}\$\+<=>\^~\|]+)", GPT2, R"(\p{N}+)", "[0-9][0-9][0-9]"};

// BLOOM: bigscience/bloom. Viking: LumiOpen/Viking-7B.
#define BLOOM " ?[^(" WHITE R"(|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)"
constexpr const char* bloom[] = {BLOOM};
constexpr const char* viking[] = {BLOOM, R"(\p{N})"};

// Ling: inclusionAI/Ling-lite.
constexpr const char* bailing[] = {
  R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}|)" PUNCTUATION R"([\r\n]*|)" SPACE R"(*[\r\n]|)" SPACES};

// Seed-Coder: ByteDance-Seed/Seed-Coder-8B-Base.
constexpr const char* seed_coder[] = {
  CONTRACTION R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^)" WHITE R"(\p{L}\p{N}\r\n]+|)" LINES_AND_SPACES};

constexpr pre_tokenizer_rule rules[] = {
  {"smollm", digits_then_gpt2},
  {"starcoder", digits_then_gpt2},
  {"refact", digits_then_gpt2},
  {"command-r", digits_then_gpt2},
  {"codeshell", digits_then_gpt2},
  {"exaone", digits_then_gpt2},
  {"minerva-7b", digits_then_gpt2},
  {"gpt-2", gpt2},
  {"phi-2", gpt2},
  {"gigachat", gpt2},
  {"mellum", gpt2},
  {"mpt", gpt2},
  {"olmo", gpt2},
  {"jais", gpt2},
  {"trillion", gpt2},
  {"granite-docling", gpt2},
  {"exaone4", gpt2},
  {"llama-bpe", llama3, true, true},
  {"llama3", llama3, true, true},
  {"llama-v3", llama3, true, true},
  {"falcon3", llama3, true, true},
  {"falcon-h1", llama3, true, true},
  {"lfm2", llama3, true, true},
  {"dbrx", llama3},
  {"smaug-bpe", llama3},
  {"chatglm-bpe", llama3},
  {"glm4", llama3, true},
  {"qwen2", qwen2},
  {"deepseek-r1-qwen", qwen2},
  {"stablelm2", qwen2},
  {"megrez", qwen2},
  {"hunyuan", qwen2},
  {"grok-2", qwen2},
  {"qwen35", qwen35},
  {"gpt-4o", gpt4o},
  {"llama4", gpt4o},
  {"tekken", tekken, true, true},
  {"deepseek-coder", deepseek_coder},
  {"deepseek-llm", deepseek_llm},
  {"deepseek-v3", deepseek_v3},
  {"falcon", falcon},
  {"bloom", bloom},
  {"poro-chat", bloom},
  {"gpt3-finnish", bloom},
  {"viking", viking},
  {"bailingmoe", bailing},
  {"seed-coder", seed_coder},
  {"default", standard},
};

} // namespace

std::span<const pre_tokenizer_rule> pre_tokenizer_rules() { return rules; }

const pre_tokenizer_rule* find_pre_tokenizer_rule(std::string_view name) {
  for (const auto& rule : rules)
    if (rule.name == name)
      return &rule;
  return nullptr;
}

} // namespace troupe
