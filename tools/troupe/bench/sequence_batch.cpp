#include "tools/troupe/bench/sequence_batch.hpp"

#include <algorithm>

namespace troupe::cli {

sequence_batch::sequence_batch(backend& on, const model_program& program, std::uint32_t count, std::uint32_t capacity,
                               std::uint32_t seed)
    : on_(on), vocabulary_(program.vocabulary), random_(seed) {
  const std::uint32_t each = (capacity + tokens_per_block - 1) / tokens_per_block;
  for (std::uint32_t s = 0; s < count; ++s) {
    blocks_.emplace_back();
    for (std::uint32_t b = 0; b < each; ++b)
      blocks_.back().push_back(s * each + b);
  }
  logits_.resize(std::size_t{count} * vocabulary_);
}

void sequence_batch::step(std::uint32_t rows, std::uint32_t max_rows) {
  const auto count = static_cast<std::uint32_t>(blocks_.size());
  const std::uint32_t rows_at_once = std::min(rows, max_rows), at_once = max_rows / rows_at_once;
  for (std::uint32_t left = rows; left != 0;) {
    const std::uint32_t now = std::min(left, rows_at_once);
    for (std::uint32_t first = 0; first < count; first += at_once)
      forward(first, std::min(at_once, count - first), now);
    length_ += now;
    left -= now;
  }
}

void sequence_batch::forward(std::uint32_t first, std::uint32_t count, std::uint32_t rows) {
  std::vector<token_id> tokens(std::size_t{count} * rows);
  for (auto& token : tokens)
    token = static_cast<token_id>(random_() % vocabulary_);
  std::vector<batch_span> spans;
  std::vector<std::uint32_t> logit_rows;
  for (std::uint32_t s = 0; s < count; ++s) {
    spans.push_back({s * rows, rows, length_, blocks_[first + s]});
    logit_rows.push_back((s + 1) * rows - 1);
  }
  on_.forward({tokens, spans, logit_rows}, std::span(logits_).first(std::size_t{count} * vocabulary_));
}

} // namespace troupe::cli
