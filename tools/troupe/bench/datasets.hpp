// What a benchmark asks: conversations, most of them of one request. The data sets and their options have the names and
// the meaning of vLLM's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tools/troupe/bench/text_codec.hpp"

namespace troupe::cli {

struct dataset_flags {
  std::string name = "random";          ///< --dataset-name: one of `dataset_names`
  std::filesystem::path path;           ///< --dataset-path: JSON as ShareGPT has it
  std::uint32_t requests = 1000;        ///< --num-prompts
  std::uint64_t seed = 0;               ///< --seed
  std::uint32_t random_input = 1024;    ///< --random-input-len, in tokens
  std::uint32_t random_output = 128;    ///< --random-output-len
  double random_range = 0;              ///< --random-range-ratio: lengths vary by this share, 0 to less than 1
  std::uint32_t random_prefix = 0;      ///< --random-prefix-len: tokens that all prompts begin with
  std::uint32_t repeated_prefix = 256;  ///< --prefix-repetition-prefix-len
  std::uint32_t repeated_suffix = 256;  ///< --prefix-repetition-suffix-len
  std::uint32_t repeated_prefixes = 10; ///< --prefix-repetition-num-prefixes
  std::uint32_t repeated_output = 128;  ///< --prefix-repetition-output-len
  std::optional<std::uint32_t> sharegpt_output; ///< --sharegpt-output-len: otherwise as long as the file's answers
  std::uint32_t turns = 4;                      ///< --multi-turn-turns: requests of a conversation
};

inline constexpr const char* dataset_names[] = {"random", "sharegpt", "prefix_repetition", "multi-turn"};

/// What a user says, and how long the answer may be.
struct turn {
  std::string text;
  std::uint32_t prompt_tokens = 0; ///< Of this text alone, with what the server adds.
  std::uint32_t output_tokens = 0;
};

/// Each turn is sent when the one before it has been answered, with all that was said before.
using conversation = std::vector<turn>;

/// Asked before each request is made, with how many there are: whether to go on.
using workload_watch = std::function<bool(std::uint32_t done)>;

/// All requests together are `flags.requests` (but "prefix_repetition" has as many for each prefix, as vLLM has it, and so
/// perhaps fewer). The same seed makes the same of the same codec. Errors: invalid_argument (lengths that cannot be, a
/// data set without its file), cancelled (`goes_on` says no), those of the codec and of `read_sharegpt`.
expected<std::vector<conversation>> make_workload(
  const dataset_flags& flags, text_codec& codec, const workload_watch& goes_on = [](std::uint32_t) { return true; });

std::uint32_t requests_of(const std::vector<conversation>& work);

/// A text, and what it is encoded as.
struct exact_text {
  std::string text;
  std::vector<token_id> ids;
};

/// A text that is encoded as exactly so many tokens, or close to that where ten attempts do not do: that of `ids`, with what
/// is too much cut off and what lacks drawn at random. Errors: those of the codec.
expected<exact_text> make_exact(text_codec& codec, std::vector<token_id> ids, std::uint32_t tokens,
                                std::mt19937_64& random);

/// [{"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}]: the texts of each that has two at
/// least. Errors: not_found, io, malformed (no JSON, another shape), each with the path.
expected<std::vector<std::vector<std::string>>> read_sharegpt(const std::filesystem::path& path);

} // namespace troupe::cli
