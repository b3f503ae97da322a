#include "model/logit_parts.hpp"

#include <algorithm>

namespace troupe {

logit_parts::logit_parts(const model_program& program) : cuts_(program.logit_cuts) {
  if (cuts_.empty())
    cuts_ = {0, program.vocabulary};
  own_ = {cuts_[program.rank], cuts_[program.rank + 1], static_cast<unsigned>(cuts_.size() - 1)};
  for (std::size_t r = 0; r < own_.ranks; ++r)
    widest_ = std::max(widest_, cuts_[r + 1] - cuts_[r]);
}

void logit_parts::reserve(std::uint32_t rows) {
  if (!shared())
    return;
  rows_.reserve(rows);
  mine_.resize(std::size_t{rows} * widest_);
  all_.resize(mine_.size() * own_.ranks);
}

expected<void> logit_parts::gather(std::span<float> logits, std::span<const std::uint32_t> own_only,
                                   communicator& group, communicator::deadline until) {
  const std::size_t vocabulary = cuts_.back();
  rows_.clear();
  for (std::uint32_t row = 0; row < logits.size() / vocabulary; ++row)
    if (!own_only.empty() && own_only.front() == row)
      own_only = own_only.subspan(1);
    else
      rows_.push_back(row);
  if (rows_.empty())
    return {};
  for (std::size_t i = 0; i < rows_.size(); ++i)
    std::ranges::copy(logits.subspan(rows_[i] * vocabulary + own_.begin, own_.end - own_.begin), &mine_[i * widest_]);
  const std::size_t each = rows_.size() * widest_;
  if (auto done = group.all_gather(std::as_bytes(std::span(mine_).first(each)),
                                   std::as_writable_bytes(std::span(all_).first(each * own_.ranks)), until);
      !done)
    return done;
  for (std::size_t r = 0; r < own_.ranks; ++r)
    for (std::size_t i = 0; i < rows_.size(); ++i)
      std::copy_n(&all_[r * each + i * widest_], cuts_[r + 1] - cuts_[r], &logits[rows_[i] * vocabulary + cuts_[r]]);
  return {};
}

} // namespace troupe
