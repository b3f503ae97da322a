#include "model/sampling/logprobs.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "model/sampling/logarithm.hpp"
#include "model/sampling/sampler.hpp"
#include "model/sampling/selection.hpp"
#include "model/sampling/survivors.hpp"

namespace troupe {

namespace {

struct log_softmax {
  double largest, log_sum;
  float of(float logit) const { return static_cast<float>(static_cast<double>(logit) - largest - log_sum); }
};

std::vector<token_logprob::alternative> likeliest(const sampling::weighing& row, std::uint32_t top,
                                                  const log_softmax& probabilities, sampling_workspace& room) {
  auto& kept = room.kept;
  auto from = row;
  from.from = sampling::about_kth_largest(room.block_largest, top, row.largest, room.ranking);
  kept.count = room.kernels->collect(from, kept.values.data(), kept.ids.data());
  auto& items = room.ranking;
  items.clear();
  for (std::size_t i = 0; i < kept.count; ++i)
    items.push_back({kept.values[i], kept.ids[i], 1});
  if (items.size() > top) {
    const auto limit = sampling::shortest_prefix(items, top);
    items.clear();
    for (std::size_t i = 0; i < kept.count; ++i)
      if (limit.keeps(kept.values[i], kept.ids[i]))
        items.push_back({kept.values[i], kept.ids[i], 1});
  }
  std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.value > b.value; });
  std::vector<token_logprob::alternative> out;
  out.reserve(items.size());
  for (const auto& item : items)
    out.push_back({item.id, probabilities.of(item.value)});
  return out;
}

} // namespace

expected<token_logprob> logprob_of(std::span<const float> logits, token_id token, std::uint32_t top,
                                   sampling_workspace& room) {
  if (logits.size() != room.row.size() || token < 0 || static_cast<std::size_t>(token) >= logits.size())
    return fail(errc::internal, "The logprob of token " + std::to_string(token) + " was asked for in a row of " +
                                  std::to_string(logits.size()) + " logits.");
  const auto largest = room.kernels->scan(logits.data(), logits.size(), room.block_largest.data());
  if (!std::isfinite(largest))
    return tl::unexpected(damaged_logits());
  const sampling::weighing row{logits.data(),
                               logits.size(),
                               room.block_largest.data(),
                               largest,
                               sampling::exponent_scale(1.0f),
                               std::numeric_limits<float>::lowest()};
  const auto total = room.kernels->weigh(row);
  const log_softmax probabilities{
    largest, sampling::logarithm(static_cast<double>(total) / static_cast<double>(sampling::one))};
  const auto logit = logits[static_cast<std::size_t>(token)];
  token_logprob out;
  out.token = token;
  out.logprob = probabilities.of(logit);
  out.rank = static_cast<std::uint32_t>(room.kernels->count_over(logits.data(), logits.size(), logit)) + 1;
  if (top > 0)
    out.top = likeliest(row, top, probabilities, room);
  return out;
}

} // namespace troupe
