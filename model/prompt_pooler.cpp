#include "model/prompt_pooler.hpp"

#include <cmath>

namespace troupe {

void prompt_pooler::join(const sequence_joined& joined) {
  if (joined.slot < sums_.size())
    sums_[joined.slot].clear();
}

void prompt_pooler::pool(const batch_state::rows& rows, std::span<const float> hidden, std::size_t width,
                         step_result& result) {
  for (const auto& part : rows.pooled_parts) {
    if (part.slot >= sums_.size())
      sums_.resize(part.slot + 1);
    auto& sum = sums_[part.slot];
    sum.resize(width);
    for (std::uint32_t row = part.first_hidden; row < part.first_hidden + part.count; ++row)
      for (std::size_t i = 0; i < width; ++i)
        sum[i] += hidden[row * width + i];
    if (!part.ends)
      continue;
    double squares = 0;
    for (const double each : sum)
      squares += each * each;
    if (!std::isfinite(squares) || squares == 0)
      result.failures.push_back({part.row,
                                 {errc::internal, "The model has computed a hidden state that has no direction: its "
                                                  "file may be damaged."}});
    else
      for (auto& values = result.embeddings.emplace_back(row_embedding{part.row, {}}).values; const double each : sum)
        values.push_back(static_cast<float>(each / std::sqrt(squares)));
    sum.clear();
  }
}

} // namespace troupe
