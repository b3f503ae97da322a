#include "model/sampling/noise.hpp"

#include <algorithm>

#include "model/sampling/logarithm.hpp"

namespace troupe {

double noise_of(std::uint64_t key, std::uint64_t mixed_token) {
  const auto bits = mix(key ^ mixed_token) >> 12;
  const auto uniform =
    (static_cast<double>(bits) + 0.5) * 0x1p-52; // in (0, 1), ends excluded: 53 bits would round to 1
  return -sampling::logarithm(-sampling::logarithm(uniform));
}

double gumbel_noise(const sequence_sampling& sampling, std::uint32_t position, token_id token) {
  return noise_of(noise_key(sampling, position), mix(static_cast<std::uint64_t>(token)));
}

token_id argmax(std::span<const float> logits) {
  return static_cast<token_id>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

token_id sample(std::span<const float> logits, const sequence_sampling& sampling, std::uint32_t position) {
  const auto top = argmax(logits);
  if (sampling.temperature <= 0.0f)
    return top;
  const auto key = noise_key(sampling, position);
  const auto scale = 1.0 / sampling.temperature;
  // The likeliest token goes first, so that those which no noise could lift over it are passed by without two
  // logarithms.
  auto best = top;
  auto best_score =
    logits[static_cast<std::size_t>(top)] * scale + noise_of(key, mix(static_cast<std::uint64_t>(top)));
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto score = logits[i] * scale;
    if (score + max_gumbel_noise < best_score)
      continue;
    const auto token = static_cast<token_id>(i);
    const auto noisy = score + noise_of(key, mix(i));
    if (noisy > best_score || (noisy == best_score && token < best)) {
      best = token;
      best_score = noisy;
    }
  }
  return best;
}

} // namespace troupe
