#include "model/sampling/noise.hpp"

#include <algorithm>

#include "model/sampling/logarithm.hpp"

namespace troupe {

namespace {

double exponential_from(std::uint64_t random) {
  const auto uniform =
    (static_cast<double>(random >> 12) + 0.5) * 0x1p-52; // in (0, 1), ends excluded: 53 bits would round to 1
  return -sampling::logarithm(uniform);
}

} // namespace

block_noise::block_noise(std::uint64_t key, std::uint64_t mixed) : key_(key) {
  const auto random = mix(key ^ mixed);
  least_ = exponential_from(random) / noise_block_tokens;
  whose_ = random % noise_block_tokens; // Bits that the exponential does not use.
}

double block_noise::largest() const {
  return -sampling::logarithm(least_);
}

double block_noise::of(token_id token) const {
  const auto id = static_cast<std::uint64_t>(token);
  if (id % noise_block_tokens == whose_)
    return largest();
  return -sampling::logarithm(least_ + exponential_from(mix(key_ ^ mix(id))));
}

double gumbel_noise(const sequence_sampling& sampling, std::uint32_t position, token_id token) {
  const auto block = static_cast<std::uint64_t>(token) / noise_block_tokens;
  return block_noise(noise_key(sampling, position), mix_block(block)).of(token);
}

token_id argmax(std::span<const float> logits) {
  return static_cast<token_id>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

token_id sample(std::span<const float> logits, const sequence_sampling& sampling, std::uint32_t position) {
  const auto top = argmax(logits);
  if (sampling.temperature <= 0.0f)
    return top;
  const auto scale = 1.0 / sampling.temperature;
  // The likeliest token goes first, so that those which no noise could lift over it are passed by without two
  // logarithms.
  auto best = top;
  auto best_score = logits[static_cast<std::size_t>(top)] * scale + gumbel_noise(sampling, position, top);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto score = logits[i] * scale;
    if (score + max_gumbel_noise < best_score)
      continue;
    const auto token = static_cast<token_id>(i);
    const auto noisy = score + gumbel_noise(sampling, position, token);
    if (noisy > best_score || (noisy == best_score && token < best)) {
      best = token;
      best_score = noisy;
    }
  }
  return best;
}

} // namespace troupe
