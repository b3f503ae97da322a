#include "gpu/backend/decode_batch.hpp"

#include <algorithm>
#include <bit>

namespace troupe::gpu {

std::uint32_t rows_rung(std::uint32_t rows, std::uint32_t most) {
  const auto up_to = [&](std::uint32_t each) { return (rows + each - 1) / each * each; };
  return std::min(most, rows <= 8 ? std::bit_ceil(rows) : rows <= 64 ? up_to(8) : up_to(most_padding));
}

std::uint32_t longest_rung(std::uint32_t positions, std::uint32_t most) {
  return std::min(most, std::bit_ceil(std::max(positions, 256u)));
}

std::optional<decode_shape> decode_batch::shape_of(const forward_batch& batch) const {
  const auto rows = static_cast<std::uint32_t>(batch.tokens.size());
  if (batch.spans.size() != rows || batch.logit_rows.size() != rows || !batch.hidden_rows.empty())
    return std::nullopt;
  std::uint32_t longest = 0;
  for (const auto& span : batch.spans)
    longest = std::max(longest, span.first_position + 1);
  return decode_shape{rows_rung(rows, max_rows_), longest_rung(longest, max_positions_), sampling_kind::none};
}

const forward_batch& decode_batch::pad(const forward_batch& batch, const decode_shape& shape) {
  tokens_.assign(batch.tokens.begin(), batch.tokens.end());
  spans_.assign(batch.spans.begin(), batch.spans.end());
  logit_rows_.assign(batch.logit_rows.begin(), batch.logit_rows.end());
  for (std::uint32_t position = 0; tokens_.size() < shape.rows; ++position) {
    const auto row = static_cast<std::uint32_t>(tokens_.size());
    tokens_.push_back(0);
    spans_.push_back({row, 1, position, scratch_});
    logit_rows_.push_back(row);
  }
  padded_ = {tokens_, spans_, logit_rows_};
  return padded_;
}

} // namespace troupe::gpu
