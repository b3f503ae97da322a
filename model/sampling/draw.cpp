#include "model/sampling/draw.hpp"

#include <algorithm>
#include <cmath>

#include "model/sampling/noise.hpp"

namespace troupe::sampling {

static_assert(block_tokens == noise_block_tokens);

namespace {

/// The best so far, and how far others may be under it. Scores are float64.
class leader {
public:
  leader(float largest, float temperature, std::uint64_t key)
      : key_(key), inverse_(1.0 / temperature), top_(largest * inverse_),
        // What float32 weights and the rounding of scores may be wrong by.
        slack_(1e-4 + std::fabs(top_) * 0x1p-49) {}

  void begin(float value, token_id token) {
    token_ = token;
    raise(value * inverse_ + noise_in(token / static_cast<token_id>(block_tokens)).of(token));
  }

  block_noise noise_in(token_id block) const { return {key_, mix_block(static_cast<std::uint64_t>(block))}; }

  /// Whether a noise could lift this value over the best.
  bool may_lift(float value, double noise) const { return value * inverse_ + noise + slack_ >= score_; }

  void challenge(float value, token_id token, const block_noise& noise) {
    const auto score = value * inverse_ + noise.of(token);
    if (score < score_ || (score == score_ && token > token_))
      return;
    token_ = token;
    raise(score);
  }

  drawn_token found() const { return {token_, score_}; }
  /// The weight of a token times this is exp(its score without noise - the best score), or more.
  double lift() const { return lift_; }

private:
  void raise(double score) {
    score_ = score;
    lift_ = std::exp(top_ - score_ + slack_);
  }

  std::uint64_t key_;
  double inverse_, top_, slack_;
  token_id token_ = 0;
  double score_ = 0, lift_ = 0;
};

} // namespace

drawn_token draw_kept(float temperature, std::uint64_t key, sampling_workspace& room) {
  const auto& kept = room.kept;
  const auto values = std::span(kept.values).first(kept.count);
  const auto largest = room.kernels->scan(values.data(), values.size(), room.block_largest.data());
  room.kernels->float_weights(values.data(), values.size(), largest, exponent_scale(temperature),
                              room.kept_weights.data());
  for (std::size_t i = 0; i < kept.count; ++i)
    room.kept_mixed[i] = room.mixed_blocks[static_cast<std::size_t>(kept.ids[i]) / block_tokens];
  leader best(largest, temperature, key);
  const auto first = room.find_largest(values, largest);
  best.begin(values[first], kept.ids[first]);
  const noise_search where{room.kept_mixed.data(), room.kept_weights.data(), kept.count, key};
  for (std::size_t i = 0; (i = room.kernels->search(where, i, best.lift())) < kept.count; ++i)
    best.challenge(values[i], kept.ids[i], best.noise_in(kept.ids[i] / static_cast<token_id>(block_tokens)));
  return best.found();
}

drawn_token draw(std::span<const float> row, token_id first, float largest, const survivors& left, float temperature,
                 std::uint64_t key, sampling_workspace& room) {
  if (left.as == survivors::form::kept)
    return draw_kept(temperature, key, room);
  const auto blocks = blocks_of(row.size()), first_block = static_cast<std::size_t>(first) / block_tokens;
  room.kernels->float_weights(room.block_largest.data(), blocks, largest, exponent_scale(temperature),
                              room.block_weights.data());
  leader best(largest, temperature, key);
  const auto likeliest =
    left.as == survivors::form::near_centre ? left.some : static_cast<token_id>(room.find_largest(row, largest));
  best.begin(row[static_cast<std::size_t>(likeliest)], first + likeliest);
  const noise_search where{room.mixed_blocks.data() + first_block, room.block_weights.data(), blocks, key};
  for (std::size_t block = 0; (block = room.kernels->search(where, block, best.lift())) < blocks; ++block) {
    const auto noise = best.noise_in(static_cast<token_id>(first_block + block));
    const auto most = noise.largest();
    const auto end = std::min(row.size(), (block + 1) * block_tokens);
    for (auto i = block * block_tokens; i < end; ++i)
      if (const auto index = static_cast<token_id>(i); best.may_lift(row[i], most) && left.keeps(row[i], index))
        best.challenge(row[i], first + index, noise);
  }
  return best.found();
}

} // namespace troupe::sampling
