#include "model/sampling.hpp"

#include <algorithm>
#include <cmath>

namespace troupe {

namespace {

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit changes every output bit with probability
// near one half.
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

std::uint64_t key_of(const sequence_sampling& sampling, std::uint32_t position) {
  return mix(mix(sampling.seed) ^ mix((std::uint64_t{sampling.choice} << 32) | position));
}

double noise_of(std::uint64_t key, token_id token) {
  const auto bits = mix(key ^ mix(static_cast<std::uint64_t>(token))) >> 12;
  const auto uniform =
    (static_cast<double>(bits) + 0.5) * 0x1p-52; // in (0, 1), ends excluded: 53 bits would round to 1
  return -std::log(-std::log(uniform));
}

} // namespace

token_id argmax(std::span<const float> logits) {
  return static_cast<token_id>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

double gumbel_noise(const sequence_sampling& sampling, std::uint32_t position, token_id token) {
  return noise_of(key_of(sampling, position), token);
}

token_id sample(std::span<const float> logits, const sequence_sampling& sampling, std::uint32_t position) {
  const auto top = argmax(logits);
  if (sampling.temperature <= 0.0f)
    return top;
  const auto key = key_of(sampling, position);
  const auto scale = 1.0 / sampling.temperature;
  // The likeliest token goes first, so that those which no noise could lift over it are passed by without two
  // logarithms.
  auto best = top;
  auto best_score = logits[static_cast<std::size_t>(top)] * scale + noise_of(key, top);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto score = logits[i] * scale;
    if (score + max_gumbel_noise < best_score)
      continue;
    const auto token = static_cast<token_id>(i);
    const auto noisy = score + noise_of(key, token);
    if (noisy > best_score || (noisy == best_score && token < best)) {
      best = token;
      best_score = noisy;
    }
  }
  return best;
}

} // namespace troupe
