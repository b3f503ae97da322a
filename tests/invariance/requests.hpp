// The requests whose answers must not depend on anything but themselves: short and long prompts, many with the same
// beginning, greedy ones and such with every kind of sampling, several answers, and logprobs of answers and prompts.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/model.hpp"

namespace troupe::test {

inline constexpr const char* prose =
  "The lighthouse stood on the last rock of the coast, and every evening the keeper climbed its stairs to light the "
  "lamp. In winter the waves came up to the door, and he did not leave the tower for weeks. He wrote down in a large "
  "book which ships had passed, where they came from, and what the weather had been. Question: why do ships need a "
  "lighthouse when they have maps? Answer: because a map does not say where the ship is. One night the lamp went "
  "out. "
  "The keeper lit seven candles, put them in front of the old mirror and waited. A fishing boat, two sailors and a "
  "boy "
  "on board, saw the weak light, turned away from the rocks and reached the harbour at 4:35 in the morning. The list "
  "of what they brought home: 1. forty kilograms of herring, 2. a broken oar, 3. a letter in a bottle. def "
  "count(items): "
  "return sum(1 for item in items if item is not None). Later the boy became a teacher and told his pupils that "
  "light is the cheapest present.";

/// With TROUPE_INVARIANCE_SCALE=3, three times as many requests, whose answers are three times as long.
inline std::uint32_t scale() {
  const char* given = std::getenv("TROUPE_INVARIANCE_SCALE");
  const int value = given != nullptr && *given != '\0' ? std::atoi(given) : 1;
  if (value < 1 || value > 100)
    throw std::invalid_argument("TROUPE_INVARIANCE_SCALE is not a number from 1 to 100");
  return static_cast<std::uint32_t>(value);
}

inline std::uint32_t generated_for(const generate_request& request) {
  return std::max(request.n, request.best_of);
}

inline constexpr std::uint32_t long_answer = 36; ///< So many tokens; others have up to 16.

/// 5 to 150 tokens.
inline std::uint32_t prompt_length(std::uint32_t number) {
  constexpr std::uint32_t lengths[] = {5, 24, 16, 33, 7, 48, 17, 64, 31, 15, 40, 23, 32, 9, 20, 18};
  constexpr std::uint32_t long_ones[] = {150, 129, 112, 144};
  return number % 16 == 11 ? long_ones[number / 16 % 4] : lengths[number * 5 % 16];
}

/// Eight ways to sample, by its number.
inline void set_sampling(generate_request& request, std::uint32_t number) {
  auto& s = request.sampling;
  s.seed = 1000 + number;
  switch (number % 8) {
  case 0:
    break; // greedy
  case 1:
    s.temperature = 0.8f;
    s.repetition_penalty = number % 32 == 1 ? 1.0f : 1.15f;
    s.presence_penalty = number % 32 == 1 ? 0.0f : 0.4f;
    break;
  case 2:
    s.temperature = 1.0f;
    s.top_p = 0.9f;
    s.logprobs = 2;
    break;
  case 3:
    s.temperature = 1.1f;
    s.top_k = 40;
    s.min_p = 0.02f;
    s.bad_words = {"the", "light"};
    break;
  case 4:
    s.repetition_penalty = 1.2f;
    s.frequency_penalty = 0.3f;
    request.echo = number % 16 == 4;
    break;
  case 5:
    s.temperature = 0.9f;
    s.top_p = 0.95f;
    s.presence_penalty = 0.5f;
    s.repetition_penalty = 1.1f;
    request.n = number % 16 == 5 ? 3 : 2;
    request.best_of = number % 16 == 5 ? 0 : 3;
    break;
  case 6:
    s.logprobs = 3;
    s.prompt_logprobs = number % 16 == 6 ? 2 : 0;
    break;
  default:
    s.temperature = 0.7f;
    s.typical_p = 0.9f;
    s.logit_bias = {{198, 2.0f}, {28, -1.5f}};
    s.stop = {"\n\n"};
    s.logprobs = 0;
  }
}

/// 64 for each step of `scale()`. Their ids are 0 and on.
inline std::vector<generate_request> all_requests(const model& source) {
  const auto text = source.tokens->encode({{prose, false}});
  std::vector<generate_request> all(64 * scale());
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    auto& request = all[i];
    request.id = i;
    // Six beginnings are shared by many, and what is one's second block is another's first.
    const auto start = i / 3 % 6 * (tokens_per_block / 2) + i / 64;
    const auto length = prompt_length(i);
    if (start + length > text.size())
      throw std::length_error("the prose is too short: it has " + std::to_string(text.size()) + " tokens");
    request.prompt = prompt_tokens(text.begin() + start, text.begin() + start + length);
    request.sampling.max_tokens = (i % 8 == 1 || i % 8 == 2 ? long_answer : 12 + i % 5) * scale();
    request.sampling.min_tokens = 12;
    request.sampling.ignore_eos = i % 4 == 1;
    set_sampling(request, i);
  }
  return all;
}

inline bool has_long_answer(const generate_request& request) {
  return request.sampling.max_tokens >= long_answer * scale();
}

inline const prompt_tokens& tokens_of(const generate_request& request) {
  return std::get<prompt_tokens>(request.prompt);
}

} // namespace troupe::test
