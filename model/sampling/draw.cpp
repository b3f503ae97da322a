#include "model/sampling/draw.hpp"

#include <bit>
#include <cmath>

#include "model/sampling/noise.hpp"

namespace troupe::sampling {

namespace {

/// Tokens by index, which ascends with the id.
struct contest {
  std::span<const float> values;
  const std::uint64_t* mixed;
  float largest, temperature;
  std::uint64_t key;
};

/// The best so far, and how far others may be under it. Scores are float64.
class leader {
public:
  leader(const contest& among, std::size_t first)
      : among_(among), inverse_(1.0 / among.temperature), top_(among.largest * inverse_), index_(first),
        score_(score_of(first)) {
    // What float32 weights and the rounding of scores may be wrong by.
    slack_ = 1e-4 + std::fabs(top_) * 0x1p-49;
    raise();
  }

  void challenge(std::size_t index) {
    const auto score = score_of(index);
    if (score < score_ || (score == score_ && index > index_))
      return;
    index_ = index;
    score_ = score;
    raise();
  }

  std::size_t index() const { return index_; }
  /// The weight of a token times this is exp(its score without noise - the best score), or more.
  double lift() const { return lift_; }

private:
  double score_of(std::size_t index) const {
    return static_cast<double>(among_.values[index]) * inverse_ + noise_of(among_.key, among_.mixed[index]);
  }
  void raise() { lift_ = std::exp(top_ - score_ + slack_); }

  const contest& among_;
  double inverse_, top_;
  std::size_t index_;
  double score_, slack_ = 0, lift_ = 0;
};

/// `first` takes part; another token only if keeps(index).
template <class Keeps>
std::size_t winner_of(const contest& among, std::size_t first, sampling_workspace& room, Keeps keeps) {
  const auto count = among.values.size(), blocks = blocks_of(count);
  room.kernels->float_weights(room.block_largest.data(), blocks, among.largest, exponent_scale(among.temperature),
                              room.block_weights.data());
  leader best(among, first);
  const noise_search where{among.mixed, room.block_weights.data(), count, among.key};
  std::uint32_t tokens = 0;
  for (std::size_t block = 0; (block = room.kernels->search(where, block, best.lift(), tokens)) < blocks; ++block)
    for (; tokens; tokens &= tokens - 1)
      if (const auto index = block * block_tokens + static_cast<std::size_t>(std::countr_zero(tokens)); keeps(index))
        best.challenge(index);
  return best.index();
}

token_id draw_kept(float temperature, std::uint64_t key, sampling_workspace& room) {
  const auto& kept = room.kept;
  const auto scanned = room.kernels->scan(kept.values.data(), kept.count, room.block_largest.data());
  for (std::size_t i = 0; i < kept.count; ++i)
    room.kept_mixed[i] = room.mixed[static_cast<std::size_t>(kept.ids[i])];
  const contest among{std::span(kept.values).first(kept.count), room.kept_mixed.data(), scanned.largest, temperature,
                      key};
  const auto first = room.kernels->find(kept.values.data(), kept.count, scanned.largest);
  return kept.ids[winner_of(among, first, room, [](std::size_t) { return true; })];
}

} // namespace

token_id draw(std::span<const float> row, float largest, const survivors& left, float temperature, std::uint64_t key,
              sampling_workspace& room) {
  if (left.as == survivors::form::kept)
    return draw_kept(temperature, key, room);
  const contest among{row, room.mixed.data(), largest, temperature, key};
  const auto first = left.as == survivors::form::near_centre ? static_cast<std::size_t>(left.some)
                                                             : room.kernels->find(row.data(), row.size(), largest);
  const auto keeps = [&](std::size_t i) { return left.keeps(row[i], static_cast<token_id>(i)); };
  return static_cast<token_id>(winner_of(among, first, room, keeps));
}

} // namespace troupe::sampling
