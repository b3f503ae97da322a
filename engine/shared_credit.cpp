#include "engine/shared_credit.hpp"

#include <algorithm>

namespace troupe {

shared_credit::shared_credit(std::uint32_t choices, std::uint32_t credit)
    : shares_(choices), unlimited_(credit == unlimited_credit) {
  std::vector<credit_share> out; // Read by `unused_by`.
  if (!unlimited_)
    split(credit, out);
}

void shared_credit::add(std::uint32_t tokens, std::vector<credit_share>& shares) {
  if (unlimited_)
    return;
  std::uint64_t left = 0;
  for (const auto& s : shares_)
    if (!s.ended)
      left += s.given - s.used;
  if (left + tokens < unlimited_credit)
    return split(tokens, shares);
  unlimited_ = true;
  for (std::uint32_t choice = 0; choice < shares_.size(); ++choice)
    if (!shares_[choice].ended)
      shares.push_back({choice, unlimited_credit});
}

void shared_credit::end(std::uint32_t choice, std::vector<credit_share>& shares) {
  if (shares_.empty() || shares_[choice].ended)
    return;
  auto& s = shares_[choice];
  s.ended = true;
  if (!unlimited_ && s.given > s.used)
    split(s.given - s.used, shares);
}

void shared_credit::split(std::uint64_t tokens, std::vector<credit_share>& out) {
  std::vector<std::uint32_t> order;
  for (std::uint32_t choice = 0; choice < shares_.size(); ++choice)
    if (!shares_[choice].ended)
      order.push_back(choice);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return shares_[a].given < shares_[b].given; });
  // Those with the least are raised to the level of the next one, as long as the tokens last.
  std::size_t raised = 0;
  std::uint64_t sum = 0;
  while (raised < order.size() && (raised == 0 || shares_[order[raised]].given * raised < sum + tokens))
    sum += shares_[order[raised++]].given;
  if (raised == 0)
    return;
  order.resize(raised);
  const auto level = (sum + tokens) / raised;
  const auto above = (sum + tokens) % raised; // So many get one more: the lowest choices.
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < raised; ++i) {
    auto& given = shares_[order[i]].given;
    const auto wanted = level + (i < above ? 1 : 0);
    if (wanted > given)
      out.push_back({order[i], static_cast<std::uint32_t>(wanted - given)});
    given = std::max(given, wanted);
  }
}

} // namespace troupe
